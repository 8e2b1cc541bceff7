# SPDX-License-Identifier: Apache-2.0
"""The two tenants' hosts, and the one wire that both outside ends share.

    vma 10.0.0.1 ── port 1 ┐         ┌ VLAN 100 ──────────── outa 10.0.0.3
                           │ eswitch │ port 3 ── wire 192.0.2.3
    vmb 10.0.0.1 ── port 2 ┘         └ VXLAN 7 over IPv4 ─── outb 10.0.0.3

`wire` holds the uplink's other end.  The VXLAN device is the kernel's own, the VLAN sub-interface
is topo.tenants.vlan_tap; both are made in `wire` and moved to the tenant's outside host, so that
each outside host sees its own tenant only.
"""

from __future__ import annotations

from topo.hosts import Network, switch_offloads_off
from topo.plan import HostPlan
from topo.scenario.context import Context, StepFailed

VMA = HostPlan("vma", 1, "02:00:00:00:00:01", "10.0.0.1", "fd00::1")
VMB = HostPlan("vmb", 2, "02:00:00:00:00:01", "10.0.0.1", "fd00::1")
WIRE = HostPlan("wire", 3, "02:00:00:00:01:03", "192.0.2.3", "2001:db8::3")
#: The hosts without a port of their own.  Both have the same MAC address, too.
OUTA = HostPlan("outa", 3, "02:00:00:00:00:03", "10.0.0.3", "fd00::3")
OUTB = HostPlan("outb", 3, "02:00:00:00:00:03", "10.0.0.3", "fd00::3")
VLAN = 100
VNI = 7
#: The eswitch's own end of the tunnel (topo/tenants/p4ct.toml).
UNDERLAY, UNDERLAY_MAC = "192.0.2.1", "02:00:00:00:01:01"
#: What the tunnel's headers leave of an MTU of 1500.
TUNNEL_MTU = 1450


def tenants() -> Network:
    """The hosts with ports, started; the outside ends come with `outside`."""
    network = Network((VMA, VMB, WIRE))
    for plan in (OUTA, OUTB):
        network.mininet.addHost(plan.name, inNamespace=True)
    network.start()
    return network


def run(context: Context, host: HostPlan, command: str) -> str:
    """Run a command that has to succeed inside a host; its output."""
    code, output, errors = context.run(host, command.split(), timeout=20.0)
    if code != 0:
        raise StepFailed(f"{host.name}: {command}: exit code {code}: {errors.strip()}")
    return output


def outside(context: Context) -> None:
    """Make both outside ends on the wire."""
    context.serve_module(WIRE, "topo.tenants.vlan_tap", WIRE.interface, str(VLAN), "vlan0")
    run(context, WIRE, f"ip neigh add {UNDERLAY} lladdr {UNDERLAY_MAC} dev {WIRE.interface}")
    run(
        context,
        WIRE,
        f"ip link add vx0 type vxlan id {VNI} local {WIRE.ipv4} remote {UNDERLAY} dstport 4789",
    )
    for plan, name in ((OUTA, "vlan0"), (OUTB, "vx0")):
        node = context.network.mininet.get(plan.name)
        run(context, WIRE, f"ip link set {name} netns {node.pid}")
        mtu = TUNNEL_MTU if plan is OUTB else 1500
        run(context, plan, f"ip link set {name} address {plan.mac} mtu {mtu} up")
        run(context, plan, f"ip address add {plan.ipv4}/24 dev {name}")
        switch_offloads_off(node, name)
