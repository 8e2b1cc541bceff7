# SPDX-License-Identifier: Apache-2.0
"""NAT with real traffic between Mininet hosts. P4CT_TEST_TARGET=bmv2: the other target."""

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
    "TCP to 10.0.0.3 comes from 10.0.0.100",
    "TCP to 10.0.0.3 goes by entries (95 %)",
    "TCP to fd00::3 comes from fd00::100",
    "TCP to fd00::3 goes by entries (95 %)",
    "port 8080 of 10.0.0.100 leads to vm1",
    "ping is translated and answered",
    "an ICMP error about a datagram to 10.0.0.3 reaches its sender",
    "an ICMP error about a datagram to fd00::3 reaches its sender",
    "a range of one port holds one connection",
    "and it has the address, the port and the mark of its flow",
    "nothing is left in the switch",
    "no process, interface or socket is left",
}


def test_nat_with_real_traffic() -> None:
    target = os.environ.get("P4CT_TEST_TARGET", "softswitch")
    command = [*PRIVATE, "topo.nat.run", "--target", target]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    report: dict[str, Any] = json.loads((ROOT / "build" / "nat.json").read_text("utf-8"))
    verdicts = {item["name"]: item["ok"] for item in report["expectations"]}
    assert verdicts == dict.fromkeys(EXPECTED, True)
