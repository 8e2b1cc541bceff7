# SPDX-License-Identifier: Apache-2.0
"""`python -m p4ct`."""

from p4ct.cli import main

main()
