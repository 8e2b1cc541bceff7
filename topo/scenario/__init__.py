# SPDX-License-Identifier: Apache-2.0
"""The steps of the main job; topo.scenario.steps has them in order."""
