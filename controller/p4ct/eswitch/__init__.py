# SPDX-License-Identifier: Apache-2.0
"""Typed access to the eswitch program: entries, contract and driver.

`entries` and `enums` are pure; `contract` and `driver` need P4Runtime.  Import the modules.
"""
