# SPDX-License-Identifier: Apache-2.0
"""What the cases stand on: the wire to a target, eswitch verbs, and the runner of targets."""
