# SPDX-License-Identifier: Apache-2.0
"""Two uplinks: traffic moves from one to the other by one next hop, under its connections."""
