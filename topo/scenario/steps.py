# SPDX-License-Identifier: Apache-2.0
"""The scenario: its steps in order, and how one is carried out."""

from __future__ import annotations

from collections.abc import Callable

from topo.control import CommandFailed
from topo.processes import ProcessFailed
from topo.scenario import denied, lifecycle, operations, traffic
from topo.scenario.context import Context, StepFailed
from topo.switch_entries import ReadFailed

Step = Callable[[Context], None]

#: What is shown while a step runs, and the step.  The idle connection is opened early, so that its
#: timeouts run while other steps do.
STEPS: tuple[tuple[str, Step], ...] = (
    ("ping", traffic.pings),
    ("short HTTP connections", traffic.http),
    ("TCP iperf3", traffic.tcp),
    ("an idle connection begins", lifecycle.idle_begin),
    ("UDP iperf3", traffic.udp),
    ("IPv6 TCP", traffic.ipv6),
    ("connection to port 22", denied.port_22),
    ("ACK scan", denied.ack_scan),
    ("reset in the middle", lifecycle.reset),
    ("half-closed connection", lifecycle.half_close),
    ("policy change", denied.policy_change),
    ("the idle connection expires", lifecycle.idle_end),
    ("controller stopped, killed and started", operations.restart),
    ("waiting for the last connections to end", operations.empty),
)


def carry_out(context: Context, name: str, step: Step) -> None:
    """Run a step; what keeps it from reaching its verdict becomes a failed expectation."""
    try:
        step(context)
    except (StepFailed, CommandFailed, ProcessFailed, ReadFailed) as error:
        context.expect(name, False, str(error))
