# SPDX-License-Identifier: Apache-2.0
"""What conntrack does beyond plain connections, with real traffic between Mininet hosts."""
