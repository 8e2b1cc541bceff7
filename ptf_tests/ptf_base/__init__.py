# SPDX-License-Identifier: Apache-2.0
"""What the cases stand on: the wire to a target, eswitch verbs, and the runner of targets."""

import warnings

# ptf and scapy use old names of each other's and of logging's; no one here can change that.
warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"(ptf|scapy)\.")
