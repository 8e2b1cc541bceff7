# SPDX-License-Identifier: Apache-2.0
"""Fragments and helpers with real traffic between Mininet hosts.

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
    "ping -s 4000 10.0.0.3",
    "ping -s 4000 fd00::3",
    "UDP of 4000 bytes to 10.0.0.3, offloaded",
    "UDP of 4000 bytes to fd00::3, offloaded",
    "fragments in order",
    "fragments out of order",
    "fragments repeated",
    "fragments with a gap",
    "fragments overlapping",
    "FTP PORT vm1->10.0.0.3",
    "FTP EPRT vm1->10.0.0.3",
    "FTP EPRT vm1->fd00::3",
    "FTP PASV ext->10.0.0.1",
    "FTP EPSV ext->10.0.0.1",
    "FTP EPSV ext->fd00::1",
    "FTP PORT vm2->10.0.0.3",
    "FTP EPRT vm2->10.0.0.3",
    "FTP PASV vm2->10.0.0.3",
    "FTP EPSV vm2->10.0.0.3",
    "FTP EPRT vm2->fd00::3",
    "FTP EPSV vm2->fd00::3",
    "a control connection stays in software",
    "its expectation ends with it",
    "without a helper no data connection",
    "TFTP vm1->10.0.0.3",
    "TFTP vm1->fd00::3",
    "nothing is left in the switch",
    "no process, interface or socket is left",
}


def test_conntrack_with_real_traffic() -> None:
    target = os.environ.get("P4CT_TEST_TARGET", "softswitch")
    command = [*PRIVATE, "topo.conntrack.run", "--target", target]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    report: dict[str, Any] = json.loads((ROOT / "build" / "conntrack.json").read_text("utf-8"))
    verdicts = {item["name"]: item["ok"] for item in report["expectations"]}
    assert verdicts == dict.fromkeys(EXPECTED, True)
