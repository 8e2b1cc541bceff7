# SPDX-License-Identifier: Apache-2.0
"""Conntrack's further parts on a target, with real traffic; the report is in build/conntrack.json.

    tools/private.py -- python -m topo.conntrack.run [--target softswitch|bmv2]

The exit code is 0 when every expectation holds.
"""

from __future__ import annotations

import sys

from topo import plan
from topo.conntrack import fragments, helpers
from topo.hosts import Network
from topo.report import Report
from topo.scenario.context import Context
from topo.scenario.operations import empty
from topo.scenario.steps import Step
from topo.stage import play, stage_main

CONFIG = plan.TOPO / "conntrack" / "p4ct.toml"
REPORT = plan.BUILD / "conntrack.json"

STEPS: tuple[tuple[str, Step], ...] = (
    ("pings in fragments", fragments.pings),
    ("datagrams in fragments", fragments.udp),
    ("odd fragments", fragments.odd),
    ("servers for FTP and TFTP", helpers.serve),
    ("FTP", helpers.ftp),
    ("FTP with another address", helpers.translated_ftp),
    ("an open control connection", helpers.reason),
    ("FTP without a helper", helpers.without_helper),
    ("TFTP", helpers.tftp),
    ("waiting for the last connections to end", empty),
)


def hosts() -> Network:
    """The three hosts of the main job, started."""
    network = Network()
    network.start()
    return network


def nothing(_: Context) -> None:
    """The hosts need nothing before the controller starts."""


def run_conntrack(target: str) -> Report:
    """Everything from the first host to the report."""
    return play(target, CONFIG, REPORT, hosts, nothing, STEPS, fragments.serve)


if __name__ == "__main__":
    sys.exit(stage_main("topo.conntrack.run", run_conntrack))
