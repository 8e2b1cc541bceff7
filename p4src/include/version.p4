// SPDX-License-Identifier: Apache-2.0
// Semantic version of the hardware contract.  A controller refuses a major version that it does
// not know.  Major: something was removed or changed its meaning.  Minor: something was added.
// Patch: neither.
//
// 2.1.0  packet-out WINDOW_MERGE; the policer has a class for connection attempts, in cells of its
//        own beyond the former ones; room for two rows of every vport.
// 2.0.0  VXLAN termination and encapsulation, NAT, window registers; ct_forward says whether the
//        window is checked, packet-out names a connection index.
// 1.0.0  flat and VLAN vports, IPv4 and IPv6 connections, stateless flows, next hops, policer.

#ifndef ESWITCH_VERSION_P4
#define ESWITCH_VERSION_P4

#define ESWITCH_VERSION "2.1.0"

#endif
