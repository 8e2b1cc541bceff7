# SPDX-License-Identifier: Apache-2.0
"""The topology as data: who is where, under which names and addresses, and which files are used."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOPO = ROOT / "topo"
BUILD = ROOT / "build"
LOGS = BUILD / "logs"
PCAPS = BUILD / "pcaps"
REPORT = BUILD / "report.json"
SOCKET = BUILD / "p4ct.sock"
CONFIG = TOPO / "p4ct.toml"
POLICY = TOPO / "policy.flows"

#: The Mininet node whose interfaces are the ports of the target.
ESWITCH = "eswitch"
GRPC_ADDRESS = "127.0.0.1:9559"
DEVICE_ID = 0
#: The port that stands for the controller in eswitch.p4 (CPU_PORT in p4src/include/sizes.p4).
CPU_PORT = 510


@dataclass(frozen=True)
class HostPlan:
    """One host: its dataplane port, MAC and addresses; all of them share one layer 2 segment."""

    name: str
    port: int
    mac: str
    ipv4: str
    ipv6: str

    @property
    def interface(self) -> str:
        """The host's own end of its link."""
        return f"{self.name}-eth0"

    @property
    def port_interface(self) -> str:
        """The target's end of the link."""
        return f"{ESWITCH}-eth{self.port}"


VM1 = HostPlan("vm1", 1, "02:00:00:00:00:01", "10.0.0.1", "fd00::1")
VM2 = HostPlan("vm2", 2, "02:00:00:00:00:02", "10.0.0.2", "fd00::2")
EXT = HostPlan("ext", 3, "02:00:00:00:00:03", "10.0.0.3", "fd00::3")
HOSTS = (VM1, VM2, EXT)
