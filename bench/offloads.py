# SPDX-License-Identifier: Apache-2.0
"""TCP between two hosts that left checksum and segmentation offload on, as hosts do.

Over the Linux bridge, and over softswitch with `one_table.p4`, which cannot tell a super-packet
from its segments and so lets it pass whole.  With offloads off, for comparison.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from bench.forwarding import in_host, iperf3, start_server
from bench.measure import BenchFailed, Measured, Run
from bench.p4rt import Client, Program, requests
from bench.subjects import BRIDGE, START_TIMEOUT, bridge
from bench.targets import SOFTSWITCH, service
from topo import plan
from topo.plan import EXT, VM1
from topo.processes import listening, target_command

if TYPE_CHECKING:
    from topo.hosts import Network

TITLE = "vm1 to ext: one TCP stream, hosts' offloads on and off"
FEATURES = ("rx", "tx", "sg", "tso", "gso")
HOSTS = (VM1, EXT)


@contextmanager
def one_table() -> Iterator[None]:
    """softswitch on the ports, each host's address to its port."""
    process = service(SOFTSWITCH, target_command(SOFTSWITCH))
    program = Program("one_table")
    with ExitStack() as stack:
        stack.callback(process.stop)
        process.start()
        process.wait_ready(lambda: listening(plan.GRPC_ADDRESS), START_TIMEOUT)
        client = stack.enter_context(Client(plan.GRPC_ADDRESS))
        client.push(program)
        client.write(requests([program.host(host.ipv4, host.port) for host in HOSTS]))
        yield


def prepare(network: Network) -> None:
    """Neighbours are known: one_table.p4 forwards IPv4 only."""
    for host, other in ((VM1, EXT), (EXT, VM1)):
        words = ["replace", other.ipv4, "lladdr", other.mac, "dev", host.interface]
        in_host(network, host, ["ip", "neighbour", *words], 10)


def set_offloads(network: Network, state: str) -> None:
    """On or off, at both ends of the hosts' links."""
    for host in HOSTS:
        for feature in FEATURES:  # some kernels have some of them fixed
            words = [feature, state]
            network.popen(host.name, ["ethtool", "-K", host.interface, *words]).communicate()
            command = ["ethtool", "-K", host.port_interface, *words]
            subprocess.run(command, capture_output=True, check=False)


def measure(run: Run) -> Measured:
    """All in turn, several times. Raises BenchFailed."""
    for tool in ("iperf3", "ethtool", "ss"):
        if shutil.which(tool) is None:
            raise BenchFailed(f"{tool} is not installed; run: make setup")
    try:
        from topo.hosts import Network
    except SystemExit as error:  # without Mininet; the text says how to install it
        raise BenchFailed(str(error)) from None
    rounds, seconds = run.pick(5, 1), run.pick(4, 1)
    measured = Measured({"rounds": rounds, "seconds_a_transfer": seconds}, bases=(BRIDGE,))
    network = Network()
    server: subprocess.Popen[str] | None = None
    try:
        network.start()
        prepare(network)
        server = start_server(network)
        for number in range(1, rounds + 1):
            for state in ("on", "off"):
                set_offloads(network, state)
                for name, subject in ((BRIDGE, bridge), (f"{SOFTSWITCH}, one_table", one_table)):
                    run.progress(f"round {number} of {rounds}: {name}, offloads {state}")
                    with subject():
                        rate = iperf3(network, seconds)["end"]["sum_received"]["bits_per_second"]
                    measured.add(
                        f"TCP throughput, hosts' offloads {state}", name, "Mbit/s", rate / 1e6
                    )
    finally:
        if server is not None:
            server.terminate()
            server.wait()
        network.stop()
    return measured
