# SPDX-License-Identifier: Apache-2.0
"""The flow pipeline of the slow path: `ovs-ofctl` flows, MAC learning and the use of conntrack."""
