# SPDX-License-Identifier: Apache-2.0
"""Which connections the eswitch forwards by itself, and how their entries come and go."""
