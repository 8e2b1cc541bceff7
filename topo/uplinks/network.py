# SPDX-License-Identifier: Apache-2.0
"""A VM, and an outside with two ways in, of which the eswitch uses one at a time.

    vm1 10.0.0.1 ── port 1 ┐ eswitch ┌ port 2 ── ext-eth0 ┐
                           └─────────┴ port 3 ── ext-eth1 ┴ br0 ── ext 10.0.0.3

The outside is a learning bridge, as the switch that both uplinks of a server lead to: it answers
where it last heard the VM.
"""

from __future__ import annotations

from topo.hosts import Network, switch_offloads_off
from topo.plan import ESWITCH, HostPlan
from topo.scenario.context import Context, StepFailed

VM1 = HostPlan("vm1", 1, "02:00:00:00:00:01", "10.0.0.1", "fd00::1")
EXT = HostPlan("ext", 2, "02:00:00:00:00:03", "10.0.0.3", "fd00::3")
UPLINKS = {2: "ext-eth0", 3: "ext-eth1"}
"""Dataplane port to the interface of ext behind it."""
BRIDGE = "br0"


def two_uplinks() -> Network:
    """The hosts, started."""
    network = Network((VM1, EXT))
    mininet = network.mininet
    mininet.addLink(mininet.get(EXT.name), mininet.get(ESWITCH), port2=3)
    network.start()
    return network


def run(context: Context, command: str) -> str:
    """Run a command that has to succeed inside ext; its output."""
    code, output, errors = context.run(EXT, command.split(), timeout=20.0)
    if code != 0:
        raise StepFailed(f"{EXT.name}: {command}: exit code {code}: {errors.strip()}")
    return output


def bridge(context: Context) -> None:
    """Both ways lead to the bridge, which has the host's addresses."""
    run(context, f"ip link add {BRIDGE} address {EXT.mac} type bridge")
    for interface in UPLINKS.values():
        run(context, f"ip address flush dev {interface}")
        run(context, f"ip link set {interface} master {BRIDGE} up")
        switch_offloads_off(context.network.mininet.get(EXT.name), interface)
    run(context, f"ip link set {BRIDGE} up")
    run(context, f"ip address add {EXT.ipv4}/24 dev {BRIDGE}")
    switch_offloads_off(context.network.mininet.get(EXT.name), BRIDGE)


def received(context: Context, port: int) -> int:
    """Bytes that ext has received from this dataplane port."""
    return int(run(context, f"cat /sys/class/net/{UPLINKS[port]}/statistics/rx_bytes"))
