# SPDX-License-Identifier: Apache-2.0
"""The invariants 1 to 6 of the design, each tested end to end: real target, real controller."""
