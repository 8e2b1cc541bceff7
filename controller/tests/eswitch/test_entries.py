# SPDX-License-Identifier: Apache-2.0
"""What the offload manager is written against stays free of the wire."""

import subprocess
import sys


def test_entries_need_neither_grpc_nor_protobuf():
    code = (
        "import sys, p4ct.eswitch.entries\n"
        "print([name for name in ('grpc', 'google.protobuf', 'asyncio') if name in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout == "[]\n"
