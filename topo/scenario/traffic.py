# SPDX-License-Identifier: Apache-2.0
"""Steps with traffic that policy allows: ping, HTTP, iperf3 over TCP and UDP, IPv6."""

from __future__ import annotations

import json
import shutil
from typing import Any

from topo import control
from topo.plan import EXT, VM1, VM2, HostPlan
from topo.scenario.context import Context, StepFailed, errors_of

HTTP_PORT = 80
IPERF_PORT = 5201
#: The share of the packets of a long TCP transfer that entries must forward.
FAST_PATH_GOAL = 0.999
#: Socket buffers of the TCP transfer, bytes on their way at most.  iperf3 closes the receiving end
#: while data is still on its way, and each late segment is answered by a RST, which is never the
#: switch's to forward: with the kernel's own buffers up to 190 of them on BMv2, 0 to 80 with these
#: (and 7 to 60 packets before the entries).  The rate is the same.
TCP_BUFFER = "128K"
#: Packets that may be lost from a UDP stream far below the target's capacity.
UDP_LOSS_LIMIT_PERCENT = 2.0
UDP_RATE = {"softswitch": "10M", "bmv2": "4M"}
PING_COUNT = 3


def ping(context: Context, source: HostPlan, address: str) -> int:
    """How many of PING_COUNT echo requests are answered."""
    command = ["ping", "-n", "-q", "-c", str(PING_COUNT), "-i", "0.2", "-W", "1", address]
    code, output, errors = context.run(source, command, timeout=30.0)
    for line in output.splitlines():
        if "packets transmitted" in line:
            return int(line.split(",")[1].split()[0])
    raise StepFailed(f"ping {address} on {source.name}: exit code {code}: {errors.strip()}")


def pings(context: Context) -> None:
    """Echo from inside is answered; echo from outside is not let in."""
    allowed = [
        (VM1, EXT.ipv4),
        (VM2, EXT.ipv4),
        (VM1, VM2.ipv4),
        (VM2, VM1.ipv4),
        (VM1, EXT.ipv6),
    ]
    answered = [(host, address, ping(context, host, address)) for host, address in allowed]
    context.expect(
        "ping from inside",
        all(count == PING_COUNT for _, _, count in answered),
        ", ".join(f"{h.name}->{address} {n}/{PING_COUNT}" for h, address, n in answered),
    )
    let_in = [(address, ping(context, EXT, address)) for address in (VM1.ipv4, VM1.ipv6)]
    context.expect(
        "ping from outside is denied",
        all(count == 0 for _, count in let_in),
        ", ".join(f"ext->{address} {n}/{PING_COUNT}" for address, n in let_in),
    )


def http(context: Context) -> None:
    """Many short connections from outside to the one open port."""
    before = control.status()["connections"]["seen"]
    count = context.sizes.http_connections
    arguments = (VM1.ipv4, str(HTTP_PORT), str(count), "8")
    result = context.run_program(EXT, "http_client", *arguments, timeout=60.0)
    seen = control.status()["connections"]["seen"] - before
    errors = "".join(f"; {number} x {text}" for text, number in result["errors"].items())
    context.expect(
        f"{count} HTTP connections ext->vm1",
        result["ok"] == count and seen >= count,
        f"{result['ok']} answered with 200, {seen} connections tracked{errors}",
    )


def iperf3(context: Context, *arguments: str, seconds: int) -> dict[str, Any]:
    """Run an iperf3 client on vm1; the "end" part of its JSON."""
    command = ["iperf3", "--json", "-p", str(IPERF_PORT), "-t", str(seconds), *arguments]
    _, output, errors = context.run(VM1, command, timeout=seconds + 30.0)
    return iperf3_end(output, errors)


def iperf3_end(output: str, errors: str) -> dict[str, Any]:
    """The "end" part of an iperf3 client's JSON; raises StepFailed with iperf3's own error."""
    try:
        result = json.loads(output)
    except ValueError:
        raise StepFailed(f"iperf3: {errors.strip() or output.strip()[:200]}") from None
    if "error" in result:
        raise StepFailed(f"iperf3: {result['error']}")
    end: dict[str, Any] = result["end"]
    end["intervals"] = [interval["sum"]["bytes"] for interval in result["intervals"]]
    end["sport"] = result["start"]["connected"][0]["local_port"]
    return end


def start_iperf3_server(context: Context) -> None:
    """The iperf3 server on ext; it stays for all steps."""
    if shutil.which("iperf3") is None:
        raise StepFailed(
            "iperf3 is not installed; install it: "
            "sudo apt-get install --no-install-recommends iperf3"
        )
    server = context.popen(EXT, ["iperf3", "-s", "-p", str(IPERF_PORT), "--forceflush"])
    context.servers.append(server)
    assert server.stdout is not None
    for line in server.stdout:
        if "listening" in line:
            return
    raise StepFailed(f"the iperf3 server ended: {errors_of(server)}")


def the_connection(sport: int) -> dict[str, Any]:
    """The one connection from this source port."""
    found = control.connections(sport=sport)
    if not found:
        raise StepFailed(f"conntrack list has no connection from port {sport}")
    return found[0]


def hardware_share(connection: dict[str, Any]) -> tuple[float, int, int]:
    """Share, packets by entries and packets in all of a connection, both directions."""
    total, hardware = control.all_packets(connection), control.hardware_packets(connection)
    return (hardware / total if total else 0.0), hardware, total


def expect_fast_path(context: Context, name: str, sport: int, goal: float) -> None:
    """State whether entries forwarded at least `goal` of a connection's packets."""
    share, hardware, total = hardware_share(the_connection(sport))
    context.expect(
        name, share >= goal, f"{hardware:,} of {total:,} packets ({share:.3%}), by its counters"
    )


def tcp(context: Context) -> None:
    """A long TCP transfer from inside to outside, nearly all of it by entries."""
    arguments = ("-w", TCP_BUFFER, "-c", EXT.ipv4)
    end = iperf3(context, *arguments, seconds=context.sizes.tcp_seconds)
    rate = end["sum_received"]["bits_per_second"] / 1e6
    context.expect(
        "TCP iperf3 vm1->ext",
        end["sum_received"]["bytes"] > 0,
        f"{context.sizes.tcp_seconds} s at {rate:,.0f} Mbit/s, "
        f"{end['sum_sent'].get('retransmits', 0)} retransmissions",
    )
    expect_fast_path(context, "TCP iperf3 goes by entries (99.9 %)", end["sport"], FAST_PATH_GOAL)


def udp(context: Context) -> None:
    """A UDP stream from inside to outside, far below the target's capacity."""
    rate = UDP_RATE[context.target.name]
    arguments = ("-c", EXT.ipv4, "-u", "-b", rate, "-l", "1200")
    end = iperf3(context, *arguments, seconds=context.sizes.udp_seconds)
    total = end["sum"]
    loss, packets = total["lost_percent"], total["packets"]
    share, hardware, tracked = hardware_share(the_connection(end["sport"]))
    context.expect(
        "UDP iperf3 vm1->ext",
        packets > 0 and loss <= UDP_LOSS_LIMIT_PERCENT and share > 0.9,
        f"{context.sizes.udp_seconds} s at {rate}bit/s, {loss:.2f} % lost, "
        f"{hardware:,} of {tracked:,} packets by entries",
    )


def ipv6(context: Context) -> None:
    """TCP over IPv6."""
    end = iperf3(context, "-6", "-c", EXT.ipv6, seconds=2)
    megabytes = end["sum_received"]["bytes"] / 1e6
    share, hardware, total = hardware_share(the_connection(end["sport"]))
    context.expect(
        "IPv6 TCP vm1->ext",
        megabytes > 0 and share > 0.9,
        f"{megabytes:,.1f} MB, {hardware:,} of {total:,} packets by entries",
    )
