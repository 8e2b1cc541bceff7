# SPDX-License-Identifier: Apache-2.0
"""The same packets through the Linux kernel's conntrack and through p4ct's, compared after each."""
