# SPDX-License-Identifier: Apache-2.0
"""The same random entries and packets on two targets: everything that can be seen must be equal."""
