# SPDX-License-Identifier: Apache-2.0
"""The P4Runtime server (P4Runtime specification 1.5) in front of the data plane."""
