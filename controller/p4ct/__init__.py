# SPDX-License-Identifier: Apache-2.0
"""Connection-tracking offload: the slow path, and its control of a P4 eswitch."""
