# SPDX-License-Identifier: Apache-2.0
"""A thin asyncio P4Runtime client and a P4Info index, for any program.  Import the modules."""
