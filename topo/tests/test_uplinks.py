# SPDX-License-Identifier: Apache-2.0
"""A running TCP transfer moves to a second uplink, and back, by one next hop each time.

P4CT_TEST_TARGET=bmv2 chooses the other target.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
PRIVATE = [sys.executable, str(ROOT / "tools" / "private.py"), "--", sys.executable, "-m"]
EXPECTED = {
    "without a move the uplink's failure stops the transfer",
    "moved to the other uplink by one next hop",
    "moved back under traffic by one next hop",
    "the transfer ends as if nothing had been",
    "it goes by entries (99 %)",
    "nothing is left in the switch",
    "no process, interface or socket is left",
}


def test_a_transfer_moves_between_uplinks() -> None:
    target = os.environ.get("P4CT_TEST_TARGET", "softswitch")
    command = [*PRIVATE, "topo.uplinks.run", "--target", target]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    report: dict[str, Any] = json.loads((ROOT / "build" / "uplinks.json").read_text("utf-8"))
    verdicts = {item["name"]: item["ok"] for item in report["expectations"]}
    assert verdicts == dict.fromkeys(EXPECTED, True)
    assert report["target"] == target
    assert report["entries_left"] == 0
