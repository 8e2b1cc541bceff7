# SPDX-License-Identifier: Apache-2.0
"""Two tenants with the same addresses on a target; the report is in build/tenants.json.

    tools/private.py -- python -m topo.tenants.run [--target softswitch|bmv2]

The exit code is 0 when every expectation holds.
"""

from __future__ import annotations

import sys

from topo import plan, switch_entries
from topo.report import Report
from topo.scenario.context import Context
from topo.stage import play, stage_main
from topo.tenants import network, steps

CONFIG = plan.TOPO / "tenants" / "p4ct.toml"
REPORT = plan.BUILD / "tenants.json"


def run_tenants(target: str) -> Report:
    """Everything from the first host to the report."""
    configured: dict[str, int] = {}

    def begin(context: Context) -> None:
        configured.update(switch_entries.count(tables=steps.ALL_TABLES))
        steps.start_servers(context)

    return play(
        target,
        CONFIG,
        REPORT,
        network.tenants,
        network.outside,
        (
            ("MTU", steps.mtu),
            ("same 5-tuple", steps.same_tuple),
            ("iperf3 through VXLAN", steps.iperf3),
            ("the end", lambda context: steps.empty(context, configured)),
        ),
        begin,
    )


if __name__ == "__main__":
    sys.exit(stage_main("topo.tenants.run", run_tenants))
