# SPDX-License-Identifier: Apache-2.0
"""NAT on a target, with real traffic; the report is in build/nat.json.

    tools/private.py -- python -m topo.nat.run [--target softswitch|bmv2]

The exit code is 0 when every expectation holds.
"""

from __future__ import annotations

import sys

from topo import plan
from topo.hosts import Network
from topo.nat import steps
from topo.plan import EXT, VM1
from topo.report import Report
from topo.scenario.operations import empty
from topo.stage import play, stage_main

CONFIG = plan.TOPO / "nat" / "p4ct.toml"
REPORT = plan.BUILD / "nat.json"


def hosts() -> Network:
    """A VM and the outside, started."""
    network = Network((VM1, EXT))
    network.start()
    return network


def run_nat(target: str) -> Report:
    """Everything from the first host to the report."""
    return play(
        target,
        CONFIG,
        REPORT,
        hosts,
        steps.neighbours,
        (
            ("TCP out", steps.source),
            ("TCP in", steps.destination),
            ("ICMP", steps.icmp),
            ("a range that is too small", steps.exhaustion),
            ("waiting for the last connections to end", empty),
        ),
        steps.start_servers,
    )


if __name__ == "__main__":
    sys.exit(stage_main("topo.nat.run", run_nat))
