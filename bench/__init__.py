# SPDX-License-Identifier: Apache-2.0
"""Benchmarks: ratios of things measured side by side in one run; never tests with a time limit.

`forwarding` uses the commands p4ct, softswitch and simple_switch_grpc, and nothing else of the
project but the topology.  `slow_path` and `install` import p4ct: what a packet costs in Python, or
an entry over P4Runtime, cannot be measured from outside a process.  This folder is no part of any
package, and nothing imports it.
"""
