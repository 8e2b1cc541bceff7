# SPDX-License-Identifier: Apache-2.0
"""The main job: a Mininet topology, real traffic through the eswitch, and a report.

p4ct and the targets are used as commands only, the way an operator would.
"""
