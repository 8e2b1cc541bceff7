# SPDX-License-Identifier: Apache-2.0
"""A transfer that moves between two uplinks; the report is in build/uplinks.json.

    tools/private.py -- python -m topo.uplinks.run [--target softswitch|bmv2]

The exit code is 0 when every expectation holds.
"""

from __future__ import annotations

import sys

from topo import plan
from topo.report import Report
from topo.stage import play, stage_main
from topo.uplinks import network, steps

CONFIG = plan.TOPO / "uplinks" / "p4ct.toml"
REPORT = plan.BUILD / "uplinks.json"


def run_uplinks(target: str) -> Report:
    """Everything from the first host to the report."""
    return play(
        target,
        CONFIG,
        REPORT,
        network.two_uplinks,
        network.bridge,
        (("the transfer", steps.transfer), ("the end", steps.empty)),
        steps.start_server,
    )


if __name__ == "__main__":
    sys.exit(stage_main("topo.uplinks.run", run_uplinks))
