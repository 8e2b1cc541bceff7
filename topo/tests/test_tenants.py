# SPDX-License-Identifier: Apache-2.0
"""Two tenants with the same addresses behind one uplink, in a VLAN and in VXLAN.

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
    "a ping as long as the tunnel's MTU",
    "a longer one without DF arrives in fragments",
    "a longer one with DF is told the MTU",
    "TCP in both tenants at once with one 5-tuple",
    "one connection in each zone",
    "both are offloaded",
    "each tenant's packets are counted by its own entries",
    "iperf3 through VXLAN goes by entries (99 %)",
    "its sender has learned the MTU",
    "only the configured rows are left in the switch",
    "no process, interface or socket is left",
}


def test_two_tenants_with_the_same_addresses() -> None:
    target = os.environ.get("P4CT_TEST_TARGET", "softswitch")
    command = [*PRIVATE, "topo.tenants.run", "--target", target]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    report: dict[str, Any] = json.loads((ROOT / "build" / "tenants.json").read_text("utf-8"))
    verdicts = {item["name"]: item["ok"] for item in report["expectations"]}
    assert verdicts == dict.fromkeys(EXPECTED, True)
    assert report["target"] == target
    assert report["entries_left"] == 0
    assert report["punts"]["MTU_EXCEEDED"] > 0
    assert report["duration_s"] < 40
