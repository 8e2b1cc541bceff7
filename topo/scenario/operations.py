# SPDX-License-Identifier: Apache-2.0
"""Steps about operating it: the controller stopped, killed and started again; nothing left."""

from __future__ import annotations

import signal
import subprocess
import time

from topo import control, plan, switch_entries
from topo.hosts import interfaces
from topo.plan import EXT, VM1
from topo.processes import others
from topo.scenario.context import Context, StepFailed
from topo.scenario.traffic import IPERF_PORT, iperf3_end

#: Seconds that the controller has to end on SIGTERM.
STOP_TIMEOUT = 10.0
START_TIMEOUT = 20.0
#: Exit codes after SIGTERM; simple_switch_grpc has no handler and dies of the signal itself.
ENDED_WHEN_ASKED = (0, -signal.SIGTERM)
#: Seconds within which the last connections and their entries have to be gone.
DRAIN_TIMEOUT = 30.0


def start_controller(context: Context) -> None:
    """Start the controller and wait until it has the switch set up."""
    context.controller.start()
    context.controller.wait_ready(control.ready, START_TIMEOUT)


def restart(context: Context) -> None:
    """Stop and kill the controller during a transfer; the transfer must not notice."""
    # What a controller removes between its last reading and its end is in nobody's count, so the
    # entries of earlier steps may not expire just then.
    control.wait_until(lambda: control.status()["entries"] == 0, DRAIN_TIMEOUT)
    seconds = context.sizes.restart_seconds
    command = ["iperf3", "--json", "-p", str(IPERF_PORT), "-t", str(seconds), "-c", EXT.ipv4]
    transfer = context.popen(VM1, command)
    try:
        time.sleep(2.0)
        context.report.add_counts(control.counts_of_this_life())
        stopped = context.controller.signal_and_wait(signal.SIGTERM, STOP_TIMEOUT)
        time.sleep(1.0)
        start_controller(context)
        time.sleep(1.0)
        kept = control.status()["connections"]["offloaded"]
        context.report.add_counts(control.counts_of_this_life())
        context.controller.signal_and_wait(signal.SIGKILL, STOP_TIMEOUT)
        time.sleep(1.0)
        start_controller(context)
        output, errors = transfer.communicate(timeout=seconds + 30.0)
    except subprocess.TimeoutExpired:
        raise StepFailed("iperf3 did not end: its transfer was cut") from None
    finally:
        if transfer.poll() is None:
            transfer.kill()
            transfer.communicate()
    end = iperf3_end(output, errors)
    slowest = min(end["intervals"]) / 1e6
    megabytes = end["sum_received"]["bytes"] / 1e6
    context.expect(
        "the controller ends on SIGTERM",
        stopped == 0,
        "did not end" if stopped is None else f"exit code {stopped}",
    )
    context.expect(
        "a transfer survives the controller's stop, kill and start",
        megabytes > 0 and slowest > 0 and kept > 0,
        f"{megabytes:,.0f} MB, {slowest:,.1f} MB in the slowest second, "
        f"{kept} offloaded connections found again after the stop",
    )


def empty(context: Context) -> None:
    """All traffic has ended: no connection, no entry, by the controller and by the switch."""
    context.stop_servers()

    def idle() -> bool:
        status = control.status()
        return status["entries"] == 0 and status["connections"]["active"] == 0

    control.wait_until(idle, DRAIN_TIMEOUT, 0.5)
    status = control.status()
    context.report.add_counts(status)
    counts = switch_entries.count()
    context.report.entries_left = sum(counts.values())
    context.expect(
        "nothing is left in the switch",
        context.report.entries_left == 0 and status["entries"] == 0,
        f"read over P4Runtime: {', '.join(f'{name} {n}' for name, n in counts.items())}; "
        f"controller: {status['entries']} entries, "
        f"{status['connections']['active']} connections",
    )


def shut_down(context: Context) -> None:
    """End everything in order, and look for what remains."""
    codes = {
        "p4ct": context.controller.stop(STOP_TIMEOUT),
        context.target.name: context.target.stop(STOP_TIMEOUT),
    }
    context.network.stop()
    remaining = interfaces() + others()
    if plan.SOCKET.exists():
        remaining.append(str(plan.SOCKET))
    context.expect(
        "no process, interface or socket is left",
        not remaining and all(code in ENDED_WHEN_ASKED for code in codes.values()),
        "; ".join(remaining)
        or "all gone; exit codes " + ", ".join(f"{name} {code}" for name, code in codes.items()),
    )
