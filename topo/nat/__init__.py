# SPDX-License-Identifier: Apache-2.0
"""NAT with real traffic: source, destination, ICMP, exhaustion, and routing by flows."""
