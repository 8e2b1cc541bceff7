// SPDX-License-Identifier: Apache-2.0
// The default action of every table: nothing.  The step that applied the table sees the miss and
// punts.

#ifndef ESWITCH_ACTIONS_P4
#define ESWITCH_ACTIONS_P4

@id(ID_ACTION_MISS)
@name(".miss")
action miss() { }

#endif
