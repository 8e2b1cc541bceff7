# SPDX-License-Identifier: Apache-2.0
"""The `p4ct` command."""

from p4ct.cli.main import main

__all__ = ["main"]
