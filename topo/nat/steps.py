# SPDX-License-Identifier: Apache-2.0
"""What has to hold when connections are translated, step by step."""

from __future__ import annotations

from topo import control
from topo.plan import EXT, VM1
from topo.scenario.context import Context, StepFailed, Talk
from topo.scenario.traffic import hardware_share, iperf3_end, the_connection

IPERF_PORT, WEB_PORT, FRONT_PORT, ECHO_PORT, CLOSED_PORT = 5201, 80, 8080, 7101, 9
OUTSIDE, OUTSIDE_V6, SINGLE = "10.0.0.100", "fd00::100", "10.0.0.101"
GATEWAY_MAC = "02:00:00:00:00:64"
PORTS = range(30000, 31000)
FAST_PATH_GOAL = 0.95
EXHAUSTED = "ct(commit,nat): no free address and port"


def neighbours(context: Context) -> None:
    """The gateway answers ARP by flows; for IPv6 ext is told where it is."""
    words = f"ip -6 neighbour add {OUTSIDE_V6} lladdr {GATEWAY_MAC} dev {EXT.interface}"
    told = f"ip -6 neighbour add {EXT.ipv6} lladdr {EXT.mac} dev {VM1.interface}"
    for host, command in ((EXT, words), (VM1, told)):
        code, _, errors = context.run(host, command.split(), timeout=10.0)
        if code != 0:
            raise StepFailed(f"{host.name}: {command}: {errors.strip()}")


def start_servers(context: Context) -> None:
    """A web server in vm1, echo and iperf3 outside."""
    context.serve(VM1, "http_server", str(WEB_PORT))
    context.serve(EXT, "listener", f"{ECHO_PORT}=echo")


def source(context: Context) -> None:
    """One TCP transfer of each family; the server says who came."""
    for sport, address, outside in (
        (40001, EXT.ipv4, OUTSIDE),
        (40002, EXT.ipv6, OUTSIDE_V6),
    ):
        server = context.popen(EXT, f"iperf3 -s -1 -p {IPERF_PORT} --forceflush".split())
        assert server.stdout is not None
        if not any("listening" in line for line in server.stdout):
            raise StepFailed("the iperf3 server ended")
        words = f"iperf3 --json -c {address} -p {IPERF_PORT} -t 1 -w 128K --cport {sport}"
        _, output, errors = context.run(VM1, words.split(), timeout=30.0)
        end = iperf3_end(output, errors)
        said, _ = server.communicate(timeout=10.0)
        seen = [line for line in said.splitlines() if "Accepted connection from" in line]
        connection = the_connection(sport)
        reply = connection["reply"]
        share, hardware, total = hardware_share(connection)
        port_is_right = reply["dport"] in PORTS if outside == OUTSIDE else reply["dport"] == sport
        context.expect(
            f"TCP to {address} comes from {outside}",
            bool(seen)
            and f"from {outside}," in seen[0]
            and reply["dst"] == outside
            and port_is_right
            and end["sum_received"]["bytes"] > 0,
            f"{(seen or [said])[0].strip()}; {connection['line']}",
        )
        context.expect(
            f"TCP to {address} goes by entries (95 %)",
            share >= FAST_PATH_GOAL,
            f"{hardware:,} of {total:,} packets ({share:.2%}), "
            f"{end['sum_received']['bytes'] / 1e6:,.1f} MB",
        )


def destination(context: Context) -> None:
    """Web requests to the gateway reach vm1."""
    words = (OUTSIDE, str(FRONT_PORT), "20", "4")
    answer = context.run_program(EXT, "http_client", *words, timeout=30.0)
    found = [
        (item["reply"]["src"], item["reply"]["sport"])
        for item in control.connections(dport=FRONT_PORT)
    ]
    context.expect(
        f"port {FRONT_PORT} of {OUTSIDE} leads to vm1",
        answer["ok"] == 20 and set(found) == {(VM1.ipv4, WEB_PORT)},
        f"{answer['ok']} of 20 answered; {answer['errors'] or 'no errors'}; "
        f"{len(found)} connections to {sorted(set(found))}",
    )


def icmp(context: Context) -> None:
    """Echo through the gateway, and an error about a translated packet."""
    code, output, _ = context.run(VM1, f"ping -n -c 3 -i 0.2 -W 2 {EXT.ipv4}".split(), 20.0)
    pings = control.query("conntrack", "list", "icmp")
    replies = {item["reply"]["dst"] for item in pings}
    context.expect(
        "ping is translated and answered",
        code == 0 and " 3 received" in output and replies == {OUTSIDE},
        f"{output.strip().splitlines()[-2]}; {pings[0]['line'] if pings else 'no connection'}",
    )
    for address in (EXT.ipv4, EXT.ipv6):
        answer = context.run_program(VM1, "refused", address, str(CLOSED_PORT), timeout=10.0)
        context.expect(
            f"an ICMP error about a datagram to {address} reaches its sender",
            answer == {"refused": True},
            f"{answer}",
        )


def exhaustion(context: Context) -> None:
    """One port for all: a second connection finds none, and gets it when the first has gone."""
    dropped = drops()
    with Talk(context, VM1) as first, Talk(context, VM1) as second:
        first.connect_offloaded(EXT.ipv4, ECHO_PORT)
        connection = the_connection(first.sport)
        refused = second.ask("connect", EXT.ipv4, ECHO_PORT, 0.5)
        counted = drops() - dropped
        still = first.ask("echo", 3)
        second_seen = [item for item in control.connections(dport=ECHO_PORT) if item is not None]
        context.expect(
            "a range of one port holds one connection",
            bool(refused.get("error")) and counted > 0 and not still.get("error"),
            f"second: {refused.get('error')}; {counted} dropped as {EXHAUSTED!r}; "
            f"{connection['line']}",
        )
        context.expect(
            "and it has the address, the port and the mark of its flow",
            (connection["reply"]["dst"], connection["reply"]["dport"]) == (SINGLE, 7000)
            and connection["mark"] == 101
            and len(second_seen) == 1,
            f"{connection['line']}",
        )


def drops() -> int:
    """Packets that found no tuple so far."""
    counts: dict[str, int] = control.status()["drops"]["pipeline"]
    return counts.get(EXHAUSTED, 0)
