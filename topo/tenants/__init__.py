# SPDX-License-Identifier: Apache-2.0
"""Two tenants with the same addresses behind one uplink, one in a VLAN and one in VXLAN."""
