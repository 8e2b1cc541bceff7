# SPDX-License-Identifier: Apache-2.0
"""What has to hold for two tenants with the same addresses, step by step."""

from __future__ import annotations

import re
from typing import Any

from topo import control, switch_entries
from topo.plan import HostPlan
from topo.scenario.context import Context, StepFailed, Talk
from topo.scenario.operations import DRAIN_TIMEOUT
from topo.scenario.traffic import hardware_share, iperf3_end, the_connection
from topo.tenants.network import OUTA, OUTB, TUNNEL_MTU, VMA, VMB, run

ECHO_PORT, IPERF_PORT = 7001, 5201
#: The same source port in both tenants, so that the whole 5-tuple is the same.
SPORT = 40000
IPERF_SECONDS = 3
IPERF_SPORT = 40001
FAST_PATH_GOAL = 0.99
#: IPv4 and ICMP headers of an echo request.
PING_HEADERS = 28
#: Every table that the controller writes.
TABLES = ("tunnel_term_v4", "tunnel_term_v6", "vport", "next_hop", "flow")
ALL_TABLES = (*TABLES, *switch_entries.CONNECTION_TABLES)


def start_servers(context: Context) -> None:
    """An echo server in both tenants, an iperf3 server in tenant B."""
    for host in (OUTA, OUTB):
        context.serve(host, "listener", f"{ECHO_PORT}=echo")
    server = context.popen(OUTB, ["iperf3", "-s", "-p", str(IPERF_PORT), "--forceflush"])
    context.servers.append(server)
    assert server.stdout is not None
    if not any("listening" in line for line in server.stdout):
        raise StepFailed("the iperf3 server in tenant B ended")


def reassembled(context: Context, host: HostPlan) -> int:
    """How many IPv4 packets a host's kernel has put together from fragments."""
    lines = run(context, host, "cat /proc/net/snmp").splitlines()
    names, values = (line.split() for line in lines if line.startswith("Ip:"))
    return int(values[names.index("ReasmOKs")])


def ping(context: Context, size: int, fragment: str) -> tuple[int, str]:
    """One echo request of `size` bytes of IP from vmb to outb; answers, and all that ping says.

    `fragment` is ping's -M: "do" sets DF, "dont" does not.
    """
    words = f"ping -n -c 1 -W 2 -M {fragment} -s {size - PING_HEADERS} {OUTB.ipv4}"
    _, output, errors = context.run(VMB, words.split(), timeout=20.0)
    found = re.search(r"(\d+) received", output)
    if found is None:
        raise StepFailed(f"{words}: {errors.strip()}")
    return int(found[1]), output + errors


def mtu(context: Context) -> None:
    """What fits the tunnel passes; what does not is fragmented or refused, as its DF says."""
    received, _ = ping(context, TUNNEL_MTU, "do")
    context.expect("a ping as long as the tunnel's MTU", received == 1, f"{received} of 1 answered")
    before = reassembled(context, OUTB)
    received, _ = ping(context, 1500, "dont")
    pieces = reassembled(context, OUTB) - before
    context.expect(
        "a longer one without DF arrives in fragments",
        received == 1 and pieces == 1,
        f"{received} of 1 answered, {pieces} put together by the kernel of outb",
    )
    received, said = ping(context, TUNNEL_MTU + 1, "do")
    told = re.search(r"From (\S+) .*[Ff]rag needed and DF set \(mtu = (\d+)\)", said)
    context.expect(
        "a longer one with DF is told the MTU",
        received == 0 and told is not None and int(told[2]) == TUNNEL_MTU,
        told[0] if told else said.strip(),
    )
    run(context, VMB, "ip route flush cache")


def same_tuple(context: Context) -> None:
    """A TCP connection in each tenant, at the same time and with the same 5-tuple."""
    with Talk(context, VMA) as a, Talk(context, VMB) as b:
        for talk in (a, b):
            talk.must("connect", OUTA.ipv4, ECHO_PORT, 10, SPORT)
        rounds = [talk.must("echo", 5)["rounds"] for talk in (a, b, a, b)]
        context.expect(
            "TCP in both tenants at once with one 5-tuple",
            rounds == [5, 5, 5, 5],
            f"10.0.0.1:{SPORT} to 10.0.0.3:{ECHO_PORT}, messages echoed: {rounds}",
        )
        control.wait_until(lambda: len(entries()) == 4, timeout=5.0)
        found = control.connections(sport=SPORT)
        zones = sorted(connection["zone"] for connection in found)
        tuples = {tuple(c["original"][k] for k in ("src", "dst", "sport", "dport")) for c in found}
        context.expect(
            "one connection in each zone",
            zones == [1, 2] and tuples == {(VMA.ipv4, OUTA.ipv4, SPORT, ECHO_PORT)},
            "; ".join(connection["line"] for connection in found),
        )
        now = entries()
        counts = switch_entries.count()
        context.expect(
            "both are offloaded",
            sorted(entry["in_port"] for entry in now) == ["outa", "outb", "vma", "vmb"]
            and counts["ct_v4"] == 4,
            f"{len(now)} entries: {', '.join(sorted(entry['in_port'] for entry in now))}; "
            f"in the switch: {counts['ct_v4']}",
        )
        expect_by_entries(context, (a, b))
        for talk in (a, b):
            talk.must("close")


def expect_by_entries(context: Context, talks: tuple[Talk, Talk]) -> None:
    """Different amounts of traffic in the tenants: each connection's entries count their own."""
    before = by_zone()
    for talk, rounds in zip(talks, (50, 150), strict=True):
        talk.must("echo", rounds)
    after = by_zone()
    grown = {zone: after[zone] - before[zone] for zone in (1, 2)}
    # A round is a message there and one back; each may have an acknowledgement of its own.
    context.expect(
        "each tenant's packets are counted by its own entries",
        100 <= grown[1] <= 200 and 300 <= grown[2] <= 600,
        f"50 rounds in zone 1: {grown[1]} packets by entries, 150 in zone 2: {grown[2]}",
    )


def entries() -> list[dict[str, Any]]:
    """Entries of the connection that both tenants have, as `p4ct offload list` has them."""
    found = [entry for record in control.query("offload", "list") for entry in record["entries"]]
    return [entry for entry in found if SPORT in (entry["sport"], entry["dport"])]


def by_zone() -> dict[int, int]:
    """Packets that entries have forwarded, of the connection that both tenants have."""
    found = control.connections(sport=SPORT)
    counts = {connection["zone"]: control.hardware_packets(connection) for connection in found}
    return {1: 0, 2: 0} | counts


def too_long() -> tuple[int, int]:
    """Packets that entries punted for their length, and that the controller answered."""
    status = control.status()
    return status["punts"].get("MTU_EXCEEDED", 0), status["packets"]["too_big"].get("answered", 0)


def iperf3(context: Context) -> None:
    """A long transfer through the tunnel to a peer that does not know what fits it.

    Both ends think of 1500 bytes, so the sender has to learn the path's MTU: from entries that
    punt what is too long, and a controller that answers.
    """
    run(context, OUTB, "ip link set vx0 mtu 1500")
    before = too_long()
    # A small window: what is on its way when one side closes is answered with resets, which punt.
    words = f"iperf3 --json -c {OUTB.ipv4} -p {IPERF_PORT} -t {IPERF_SECONDS} -w 64K"
    command = [*words.split(), "--cport", str(IPERF_SPORT)]
    _, output, errors = context.run(VMB, command, timeout=IPERF_SECONDS + 20.0)
    end = iperf3_end(output, errors)
    share, hardware, total = hardware_share(the_connection(end["sport"]))
    rate = end["sum_received"]["bits_per_second"] / 1e6
    context.expect(
        "iperf3 through VXLAN goes by entries (99 %)",
        share >= FAST_PATH_GOAL and end["sum_received"]["bytes"] > 0,
        f"{IPERF_SECONDS} s at {rate:,.0f} Mbit/s, {hardware:,} of {total:,} packets ({share:.3%})",
    )
    punted, answered = (new - old for new, old in zip(too_long(), before, strict=True))
    route = run(context, VMB, f"ip route get {OUTB.ipv4}")
    context.expect(
        "its sender has learned the MTU",
        f"mtu {TUNNEL_MTU}" in route and punted > 0 and answered > 0,
        f"{punted} punted by entries, {answered} ICMP answers; route: {' '.join(route.split())}",
    )


def empty(context: Context, configured: dict[str, int]) -> None:
    """All connections have ended: the switch holds what it held before the first."""
    context.stop_servers()

    def idle() -> bool:
        status = control.status()
        flows = status["stateless"]["flows"]
        return status["entries"] == flows == 0 and status["connections"]["active"] == 0

    control.wait_until(idle, DRAIN_TIMEOUT, 0.5)
    left = switch_entries.count(tables=ALL_TABLES)
    context.report.add_counts(control.status())
    context.report.entries_left = sum(left[t] for t in switch_entries.CONNECTION_TABLES)
    context.expect(
        "only the configured rows are left in the switch",
        left == configured and context.report.entries_left == 0 and left["tunnel_term_v4"] == 1,
        ", ".join(f"{name} {number}" for name, number in left.items() if number),
    )
