# SPDX-License-Identifier: Apache-2.0
"""The Mininet network: hosts that send plain frames, and a node that holds the target's ports.

Debian's Mininet lives outside the virtual environment.  Its folder is appended to the search path
here and nowhere else, so the environment's packages keep precedence over Debian's.
"""

# Debian's Mininet is outside the environment that the type checker sees.
# pyright: reportMissingImports=false

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from topo.plan import ESWITCH, HOSTS, ROOT, HostPlan

DEBIAN_PACKAGES = "/usr/lib/python3/dist-packages"
if DEBIAN_PACKAGES not in sys.path:
    sys.path.append(DEBIAN_PACKAGES)

try:
    from mininet.link import Link
    from mininet.log import setLogLevel
    from mininet.net import Mininet
    from mininet.node import Host, Switch
except ImportError as error:
    raise SystemExit(
        f"error: Mininet cannot be imported ({error})\n"
        "       install it: sudo apt-get install --no-install-recommends mininet net-tools"
    ) from error

#: Why each is off.  veth pretends to be a NIC that finishes packets in hardware: without these, a
#: frame reaches the target with an unfinished checksum (ping works, TCP does not), longer than the
#: MTU (the target would have to segment), merged from several, or without its VLAN tag (which
#: AF_PACKET then reports beside the frame).
OFFLOADS_OFF = ("rx", "tx", "sg", "tso", "gso", "gro", "rxvlan", "txvlan")

#: Set before an interface exists.  Addresses are static, so nothing needs routers or duplicate
#: address detection; without their packets every packet on the wire belongs to a test.
QUIET_IPV6 = {
    "disable_ipv6": "0",
    "accept_dad": "0",
    "dad_transmits": "0",
    "accept_ra": "0",
    "router_solicitations": "0",
}


def set_ipv6(node: Any, settings: dict[str, str]) -> None:
    """Set net.ipv6.conf.default and .all of a node's network namespace."""
    for scope in ("default", "all"):
        for key, value in settings.items():
            node.cmd(f"echo {value} > /proc/sys/net/ipv6/conf/{scope}/{key}")


def switch_offloads_off(node: Any, interface: str) -> None:
    """Make an interface of a node send and receive frames as they are on a wire."""
    for feature in OFFLOADS_OFF:
        node.cmd(f"ethtool -K {interface} {feature} off")


class PlainHost(Host):  # type: ignore[misc]  # Mininet has no type information
    """A host whose frames are complete, and that says nothing by itself."""

    def startShell(self, mnopts: str | None = None) -> None:
        """Quiet IPv6 before the first interface is made."""
        super().startShell(mnopts)
        set_ipv6(self, QUIET_IPV6)

    def config(self, plan: HostPlan | None = None, **params: Any) -> dict[str, Any]:
        """Addresses and offloads; called by Mininet once the links are there."""
        result: dict[str, Any] = super().config(**params)
        if plan is not None:
            self.cmd(f"ip -6 address add {plan.ipv6}/64 dev {plan.interface} nodad")
            switch_offloads_off(self, plan.interface)
        return result


class PortHolder(Switch):  # type: ignore[misc]
    """The node whose interfaces the target opens.  It forwards nothing itself.

    The target is an ordinary process in this node's network namespace, which is the private one
    that the whole topology runs in.
    """

    def start(self, _controllers: list[Any]) -> None:
        """Keep the ports free of the kernel's own traffic."""
        for interface in self.intfNames():
            if interface != "lo":
                switch_offloads_off(self, interface)


class Network:
    """A running topology: hosts, each with a port of the target."""

    def __init__(self, hosts: Sequence[HostPlan] = HOSTS) -> None:
        setLogLevel("error")
        # Mininet would raise system-wide limits, which a private namespace may not and this
        # topology need not.
        Mininet.inited = True
        # The target's ports need no address at all.
        for scope in ("default", "all"):
            Path(f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6").write_text("1", encoding="ascii")
        self.mininet = Mininet(controller=None, host=PlainHost, switch=PortHolder, link=Link)
        eswitch = self.mininet.addSwitch(ESWITCH, dpid="1")
        for plan in hosts:
            host = self.mininet.addHost(
                plan.name, ip=f"{plan.ipv4}/24", mac=plan.mac, plan=plan, inNamespace=True
            )
            self.mininet.addLink(host, eswitch, port2=plan.port)

    def start(self) -> None:
        """Configure the hosts and bring the links up."""
        self.mininet.start()

    def stop(self) -> None:
        """Remove hosts and links."""
        self.mininet.stop()

    def popen(self, host: str, command: list[str], **options: Any) -> subprocess.Popen[str]:
        """Start a program inside a host, detached from our terminal and its signals."""
        # Our programs are modules of this repository; their names must resolve in any folder.
        options = {"text": True, "env": {**os.environ, "PYTHONPATH": str(ROOT)}, **options}
        process: subprocess.Popen[str] = self.mininet.get(host).popen(command, **options)
        return process


def prompt(network: Network) -> None:
    """Mininet's prompt on the running network, until `exit` or the end of the input.

    Ctrl-C at the prompt only clears the line, as in any shell.
    """
    from mininet.cli import CLI

    setLogLevel("output")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    CLI(network.mininet)


def interfaces() -> list[str]:
    """Names of the interfaces of our own network namespace, lo left out."""
    return sorted(p.name for p in Path("/sys/class/net").iterdir() if p.name != "lo")
