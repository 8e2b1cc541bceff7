# SPDX-License-Identifier: Apache-2.0
"""What has to hold when a vport moves to another uplink under a transfer, step by step."""

from __future__ import annotations

import subprocess

from topo import control, switch_entries
from topo.scenario.context import Context, StepFailed
from topo.scenario.operations import DRAIN_TIMEOUT
from topo.scenario.traffic import hardware_share, iperf3_end, the_connection
from topo.uplinks.network import EXT, UPLINKS, VM1, received, run

IPERF_PORT = 5201
SPORT = 40001
SECONDS = 7
#: Bytes that have to arrive by an uplink before it counts as the one in use.
PLENTY = 1_000_000
#: iperf3 has a connection for control beside that of the data.
ENTRIES = 4
FAST_PATH_GOAL = 0.99
FIRST, SECOND = UPLINKS
TABLES = ("ct_v4", "ct_v6", "l2_pair", "next_hop")


def start_server(context: Context) -> None:
    """The iperf3 server outside."""
    server = context.popen(EXT, ["iperf3", "-s", "-p", str(IPERF_PORT), "--forceflush"])
    context.servers.append(server)
    assert server.stdout is not None
    if not any("listening" in line for line in server.stdout):
        raise StepFailed("the iperf3 server ended")


def transfer(context: Context) -> None:
    """One TCP transfer: its uplink fails and it moves to the other, and back while both work."""
    # Bounded buffers, because what is on its way when a side closes is answered by resets.
    words = f"iperf3 --json -c {EXT.ipv4} -p {IPERF_PORT} -t {SECONDS} -w 128K --cport {SPORT}"
    client = context.popen(VM1, words.split())
    try:
        must_arrive(context, FIRST, 0)
        if control.wait_until(lambda: control.status()["entries"] == ENTRIES, 5.0) is None:
            raise StepFailed(f"not offloaded: {the_connection(SPORT)['offload_reason']}")
        fail_over(context)
        move_back(context)
        output, errors = client.communicate(timeout=SECONDS + 20.0)
    except subprocess.TimeoutExpired:
        raise StepFailed("iperf3 did not end: its connection was lost") from None
    finally:
        if client.poll() is None:
            client.kill()
            client.communicate()
    end = iperf3_end(output, errors)
    sent, got = end["sum_sent"]["bytes"], end["sum_received"]["bytes"]
    context.expect(
        "the transfer ends as if nothing had been",
        client.returncode == 0 and 0 < got <= sent and end["intervals"][-1] > 0,
        f"{got:,} bytes received, {end['sum_sent'].get('retransmits', 0)} retransmissions, "
        f"last second {end['intervals'][-1]:,} bytes",
    )
    share, hardware, total = hardware_share(the_connection(SPORT))
    context.expect(
        "it goes by entries (99 %)",
        share >= FAST_PATH_GOAL,
        f"{hardware:,} of {total:,} packets ({share:.3%})",
    )


def must_arrive(context: Context, port: int, before: int) -> None:
    """Wait until ext has received plenty from this port since `before`."""
    if control.wait_until(lambda: received(context, port) - before > PLENTY, 10.0) is None:
        raise StepFailed(f"nothing arrives from port {port}")


def fail_over(context: Context) -> None:
    """The first uplink loses its link; nothing arrives until the vport moves."""
    run(context, f"ip link set {UPLINKS[FIRST]} down")
    before = received(context, SECOND)
    control.wait_until(lambda: False, timeout=0.5)
    stalled = received(context, SECOND) - before
    context.expect(
        "without a move the uplink's failure stops the transfer",
        stalled == 0,
        f"{stalled} bytes by the other uplink",
    )
    moved(context, SECOND, "moved to the other uplink by one next hop")


def move_back(context: Context) -> None:
    """The link is back: the vport moves home while traffic flows."""
    run(context, f"ip link set {UPLINKS[FIRST]} up")
    moved(context, FIRST, "moved back under traffic by one next hop")


def moved(context: Context, port: int, name: str) -> None:
    """Move ext: the entries stay, one row of next_hop has changed, and the bytes go on there."""
    arrived = received(context, port)
    before, counts = switch_entries.rows(tables=TABLES), control.status()
    answer = control.query("vport", "move", "ext", "--port", str(port))
    after = switch_entries.rows(tables=TABLES)
    must_arrive(context, port, arrived)
    changed = sorted(name for name, _ in set(before.items()) ^ set(after.items()))
    names = sorted({table for table, _ in changed})
    now = control.status()
    entries = sum(1 for table, _ in after if table == "ct_v4")
    churn = [
        now["connections"][key] - counts["connections"][key]
        for key in ("offloaded_total", "removed_total")
    ]
    context.expect(
        name,
        names == ["next_hop"]
        and before.keys() == after.keys()
        and len(changed) == 2
        and answer["next_hops"] == 1
        and answer["entries"] == ENTRIES // 2
        and entries == ENTRIES
        and churn == [0, 0],
        f"rows changed: {', '.join(names)}, {len(changed) // 2}; {entries} entries stay; "
        f"{received(context, port) - arrived:,} bytes by port {port}",
    )


def empty(context: Context) -> None:
    """The connections have ended: their entries are gone."""
    context.stop_servers()
    control.wait_until(lambda: control.status()["entries"] == 0, DRAIN_TIMEOUT, 0.5)
    left = switch_entries.count()
    context.report.add_counts(control.status())
    context.report.entries_left = sum(left.values())
    context.expect(
        "nothing is left in the switch",
        context.report.entries_left == 0,
        ", ".join(f"{name} {number}" for name, number in left.items()),
    )
