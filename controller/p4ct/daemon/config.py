# SPDX-License-Identifier: Apache-2.0
"""The configuration: one TOML file, checked as a whole before anything starts.

The sections below are the format: names, types and defaults.  `p4ct.daemon.check` reports every
mistake with its file and line.  Paths in the file are relative to the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from p4ct.conntrack import Limits, Timeouts
from p4ct.daemon.places import Places
from p4ct.eswitch.enums import PuntClass
from p4ct.offload.manager import OffloadOptions
from p4ct.pipeline.ports import PortTable, Vport

__all__ = ["DEFAULT_POLICER", "Config", "ConfigError", "File"]


class Target(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Where the target is. `election_id`: the highest of all controllers is primary."""

    address: str = "127.0.0.1:9559"
    device_id: int = 0
    election_id: int = 1
    connect_timeout: float = 10.0


class Program(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What runs on the target: p4c's output."""

    p4info: str
    json: str


class PipelineSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The policy: a file of flows in ovs-ofctl syntax.

    `router_address_v4`, `router_address_v6`: who answers a packet that is longer than the MTU of
    the vport it is sent to. Empty: the packet's own destination, as Linux does for tunnels.
    """

    flows: str
    router_address_v4: str = ""
    router_address_v6: str = ""


class IdleTimeout(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Seconds without a packet after which an offloaded connection returns to software."""

    tcp: float = 3600.0
    udp: float = 180.0
    icmp: float = 180.0
    flow: float = 10.0


class Offload(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """`capacity`: connections in the eswitch at most (0: as many as the program has room for).

    `window_check`: the eswitch checks TCP windows, and a connection that returns to software still
    knows its own. Without effect on a program without window registers. `stateless`: traffic that
    passes no ct() gets entries as well. `policy_change`: what becomes of offloaded connections that
    a new policy decides otherwise. `ageing`: who notices that a connection is idle, the target or
    the controller, which then reads 1 / 2^`sample_exponent` of them every `sample_interval`
    seconds.
    """

    enabled: bool = True
    mode: Literal["assured", "established", "assume-established"] = "assured"
    capacity: int = 0
    policy_change: Literal["recheck", "cut", "keep"] = "recheck"
    window_check: bool = False
    stateless: bool = True
    ageing: Literal["auto", "idle-timeout", "sampling"] = "auto"
    sample_interval: float = 1.0
    sample_exponent: int = 4
    idle_timeout: IdleTimeout = IdleTimeout()


class Fragments(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What `FragmentLimits` says of its fields."""

    min_size_v4: int = 1200
    min_size_v6: int = 1280
    max_queued: int = 1000
    timeout: float = 15.0


class Conntrack(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The connection tracker. `timeouts`: names as in the nf_conntrack sysctls; `limits`: what
    `Limits` says of its fields, 0 for none; `zone.N`: those of both that differ in a zone;
    `timeout_policy.NAME`: timeouts of the connections that a flow gives this name.
    `max_unreplied` 0: half of `max_connections`.
    """

    max_connections: int = 262144
    max_unreplied: int = 0
    tcp_loose: bool = True
    tcp_be_liberal: bool = False
    max_expectations: int = 4096
    kernel_sync: bool = False
    checksum: bool = True
    fragments: Fragments = Fragments()
    timeouts: dict[str, float] = {}
    limits: dict[str, int] = {}
    zone: dict[str, dict[str, float]] = {}
    timeout_policy: dict[str, dict[str, float]] = {}


class Policer(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Punts of one class and vport, in packets per second, and burst in packets."""

    rate: int
    burst: int


class Admin(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The Unix socket of the CLI."""

    socket: str = "p4ct.sock"


class Metrics(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """`listen`: HOST:PORT where Prometheus finds the metrics, over HTTP. Empty: there are none."""

    listen: str = ""


class Log(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """`file` empty: standard error. `format` json: one object a line."""

    file: str = ""
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class File(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The file as written."""

    program: Program
    pipeline: PipelineSection
    vport: list[Vport]
    target: Target = Target()
    offload: Offload = Offload()
    conntrack: Conntrack = Conntrack()
    policer: dict[str, Policer] = {}
    admin: Admin = Admin()
    metrics: Metrics = Metrics()
    log: Log = Log()


class ConfigError(Exception):
    """One or more mistakes; `problems` has a line for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Config(msgspec.Struct, frozen=True):
    """A checked configuration; paths are absolute. `offload.capacity` 0: not limited by it."""

    path: Path
    places: Places
    target: Target
    p4info: Path
    program: Path
    flows: Path
    ports: PortTable
    #: IP version -> address that answers packets longer than an MTU.
    router: Mapping[int, bytes]
    offload: OffloadOptions
    timeouts: Timeouts
    limits: Limits
    conntrack: Conntrack
    policer: Mapping[PuntClass, Policer]
    socket: Path
    #: Host and port of the metrics; None: they are not served.
    metrics: tuple[str, int] | None
    log: Log
    log_file: Path | None

    def problem(self, name: str, message: str) -> str:
        """A mistake that shows only together with other files, as one line with its place."""
        return f"{self.path}:{self.places.line(name)}: {name}: {message}"


#: Generous for a first packet, far below what would drown the controller.
DEFAULT_POLICER: Mapping[PuntClass, Policer] = {
    PuntClass.MISS: Policer(rate=20000, burst=4000),
    PuntClass.SYN: Policer(rate=10000, burst=2000),
    PuntClass.CONTROL: Policer(rate=20000, burst=4000),
    PuntClass.EXCEPTION: Policer(rate=2000, burst=500),
    PuntClass.DRAIN: Policer(rate=20000, burst=4000),
}
