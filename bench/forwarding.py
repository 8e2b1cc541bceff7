# SPDX-License-Identifier: Apache-2.0
"""Throughput and round trip from vm1 to ext over the Linux bridge, softswitch and BMv2.

The hosts, links and policy are the topology's, with the hosts' offloads off.  The subjects take
turns on the same links, each started anew in every round.  Commands only: p4ct, the targets, iperf3
and ping.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from statistics import median
from typing import TYPE_CHECKING, Any

from bench.measure import BenchFailed, Measured, Run
from bench.subjects import BRIDGE, available, between_hosts, share_by_entries
from bench.targets import BMV2
from topo.plan import EXT, VM1, HostPlan

if TYPE_CHECKING:
    from topo.hosts import Network

TITLE = "vm1 to ext: one TCP stream, and ping"
IPERF_PORT = 5201
#: Seconds left out at the start of a transfer.
OMITTED = 1
#: Round trips left out at the start, while the echo connection gets its entries.
FIRST_PINGS = 5
PING_INTERVAL = "0.01"
PATIENCE = 20.0


def in_host(network: Network, host: HostPlan, command: list[str], timeout: float) -> str:
    """Output of a command that runs in a host. Raises BenchFailed if it fails."""
    process = network.popen(host.name, command)
    try:
        output, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        raise BenchFailed(f"{' '.join(command)}: no end in {timeout:.0f} s") from None
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    if process.returncode != 0:
        said = (errors.strip() or output.strip())[-300:]
        raise BenchFailed(f"{' '.join(command)}: exit code {process.returncode}: {said}")
    return output


def iperf3(network: Network, seconds: int) -> dict[str, Any]:
    """One TCP stream from vm1 to ext; iperf3's JSON."""
    command = ["iperf3", "--json", "-c", EXT.ipv4, "-p", str(IPERF_PORT)]
    command += ["-t", str(seconds), "-O", str(OMITTED)]
    return json.loads(in_host(network, VM1, command, seconds + OMITTED + PATIENCE))


def ping(network: Network, count: int) -> list[float]:
    """Round trips in microseconds, in order. Raises BenchFailed when replies are missing."""
    command = ["ping", "-n", "-c", str(count), "-i", PING_INTERVAL, "-W", "1", EXT.ipv4]
    output = in_host(network, VM1, command, count + PATIENCE)
    trips = [1000 * float(time) for time in re.findall(r"time=([0-9.]+) ms", output)]
    if len(trips) < 0.95 * count:
        raise BenchFailed(f"ping: {len(trips)} of {count} came back")
    return trips


def start_server(network: Network) -> subprocess.Popen[str]:
    """The iperf3 server on ext, ready."""
    command = ["iperf3", "-s", "-p", str(IPERF_PORT), "--forceflush"]
    # Its reports go nowhere: nobody reads them, and a full pipe would stop it.
    server = network.popen(EXT.name, command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    probe = ["ss", "-H", "-l", "-t", "-n", "sport", "=", f":{IPERF_PORT}"]
    for _ in range(100):
        if in_host(network, EXT, probe, PATIENCE):
            return server
        if server.poll() is not None:
            break
    server.kill()
    server.wait()
    raise BenchFailed("the iperf3 server did not start")


def one_round(network: Network, subject: str, sizes: tuple[int, int], measured: Measured) -> None:
    """Start a subject and measure it. `sizes`: seconds of the transfer, number of pings."""
    seconds, pings = sizes
    with between_hosts(subject):
        ping(network, 1)  # address resolution
        received = iperf3(network, seconds)["end"]["sum_received"]
        measured.add("TCP throughput", subject, "Mbit/s", received["bits_per_second"] / 1e6)
        if subject != BRIDGE:
            share = 100 * (1 - share_by_entries("tcp"))
            measured.add("TCP packets through the controller", subject, "%", share)
        trips = ping(network, pings)
        if subject != BRIDGE:
            share_by_entries("icmp")
    measured.add("ping, first round trip", subject, "µs", trips[0])
    middle = median(trips[FIRST_PINGS:])
    measured.add("ping, median round trip", subject, "µs", middle)
    if subject != BRIDGE:
        over_bridge = middle - measured.samples["ping, median round trip", BRIDGE][-1]
        measured.add("ping, median added over the bridge", subject, "µs", over_bridge)


def measure(run: Run) -> Measured:
    """All subjects in turn, several times. Raises BenchFailed."""
    for tool in ("iperf3", "ping", "ss"):
        if shutil.which(tool) is None:
            raise BenchFailed(f"{tool} is not installed; run: make setup")
    try:
        from topo.hosts import Network
    except SystemExit as error:  # without Mininet; the text says how to install it
        raise BenchFailed(str(error)) from None
    subjects = available()
    rounds, sizes = run.pick(3, 1), (run.pick(4, 1), run.pick(200, 50))
    measured = Measured(
        {
            "rounds": rounds,
            "seconds_a_transfer": sizes[0],
            "seconds_left_out_before": OMITTED,
            "pings": sizes[1],
            "ping_interval_s": float(PING_INTERVAL),
            "mtu": 1500,
            "policy": "topo/policy.flows",
        },
        bases=(BRIDGE, BMV2),
    )
    if BMV2 not in subjects:
        measured.notes.append("BMv2 was left out: simple_switch_grpc is not on the PATH")
    run.progress("hosts and links")
    network = Network()
    server: subprocess.Popen[str] | None = None
    try:
        network.start()
        server = start_server(network)
        for number in range(1, rounds + 1):
            for subject in subjects:
                run.progress(f"round {number} of {rounds}: {subject}")
                one_round(network, subject, sizes, measured)
    finally:
        if server is not None:
            server.terminate()
            server.wait()
        network.stop()
    return measured
