# SPDX-License-Identifier: Apache-2.0
"""The configuration: one TOML file, checked as a whole before anything starts.

Every mistake is reported with file and line: unknown keys (with the nearest valid name), wrong
types, values out of range, and settings that contradict each other.  Paths in the file are
relative to the file.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

import msgspec

from p4ct.conntrack import Timeouts
from p4ct.eswitch.enums import PuntClass
from p4ct.offload.decide import Mode
from p4ct.offload.manager import OffloadOptions
from p4ct.pipeline.ports import PortError, PortTable, Vport

__all__ = ["Config", "ConfigError", "load"]


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
    """The policy: a file of flows in ovs-ofctl syntax."""

    flows: str


class IdleTimeout(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Seconds without a packet after which an offloaded connection returns to software."""

    tcp: float = 3600.0
    udp: float = 180.0
    icmp: float = 180.0


class Offload(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """`capacity`: connections in the eswitch at most (0: as many as it has room for)."""

    enabled: bool = True
    mode: Literal["assured", "established"] = "assured"
    capacity: int = 0
    idle_timeout: IdleTimeout = IdleTimeout()


class Conntrack(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The connection tracker. `timeouts` and `zone.N`: names as in the nf_conntrack sysctls."""

    max_connections: int = 262144
    tcp_loose: bool = True
    tcp_be_liberal: bool = False
    timeouts: dict[str, float] = {}
    zone: dict[str, dict[str, float]] = {}


class Policer(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Punts of one class and vport, in packets per second, and burst in packets."""

    rate: int
    burst: int


class Admin(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The Unix socket of the CLI."""

    socket: str = "p4ct.sock"


class Log(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """`file` empty: standard error."""

    file: str = ""
    level: Literal["debug", "info", "warning", "error"] = "info"


class _File(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    program: Program
    pipeline: PipelineSection
    vport: list[Vport]
    target: Target = Target()
    offload: Offload = Offload()
    conntrack: Conntrack = Conntrack()
    policer: dict[Literal["miss", "control", "exception", "drain"], Policer] = {}
    admin: Admin = Admin()
    log: Log = Log()


SECTIONS: Mapping[str, type[msgspec.Struct]] = {
    "program": Program,
    "pipeline": PipelineSection,
    "vport": Vport,
    "target": Target,
    "offload": Offload,
    "offload.idle_timeout": IdleTimeout,
    "conntrack": Conntrack,
    "policer": Policer,
    "admin": Admin,
    "log": Log,
}


class ConfigError(Exception):
    """One or more mistakes; `problems` has a line for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Config(msgspec.Struct, frozen=True):
    """A checked configuration; paths are absolute."""

    path: Path
    target: Target
    p4info: Path
    program: Path
    flows: Path
    ports: PortTable
    offload: OffloadOptions
    capacity_given: bool
    timeouts: Timeouts
    conntrack: Conntrack
    policer: Mapping[PuntClass, Policer]
    socket: Path
    log_file: Path | None
    log_level: str


#: Generous for a first packet, far below what would drown the controller.
DEFAULT_POLICER: Mapping[PuntClass, Policer] = {
    PuntClass.MISS: Policer(rate=20000, burst=4000),
    PuntClass.CONTROL: Policer(rate=20000, burst=4000),
    PuntClass.EXCEPTION: Policer(rate=2000, burst=500),
    PuntClass.DRAIN: Policer(rate=20000, burst=4000),
}


def load(path: Path) -> Config:
    """Read and check the file. Raises ConfigError with every mistake found."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: is not UTF-8 text (byte {error.start})"]) from None
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{path}: not valid TOML: {error}"]) from None
    return _Checker(path, text, raw).check()


class _Checker:
    """Collects the mistakes of one file."""

    def __init__(self, path: Path, text: str, raw: dict[str, Any]) -> None:
        self.path = path
        self.lines = text.splitlines()
        self.raw = raw
        self.problems: list[str] = []

    def check(self) -> Config:
        parsed = self._shape()
        if parsed is None:
            raise ConfigError(self.problems)
        ports = self._ports(parsed.vport)
        timeouts = self._timeouts(parsed.conntrack)
        self._target(parsed.target)
        self._offload(parsed.offload)
        p4info = self._file(parsed.program.p4info, "program", "p4info")
        program = self._file(parsed.program.json, "program", "json")
        flows = self._file(parsed.pipeline.flows, "pipeline", "flows")
        for name, policer in parsed.policer.items():
            if policer.rate < 1 or policer.burst < 1:
                self._add(f"policer.{name}", "rate", "rate and burst must be at least 1")
        if parsed.conntrack.max_connections < 1:
            self._add("conntrack", "max_connections", "must be at least 1")
        if self.problems or ports is None or timeouts is None:
            raise ConfigError(self.problems)
        base = self.path.resolve().parent
        given = {PuntClass[name.upper()]: value for name, value in parsed.policer.items()}
        return Config(
            path=self.path,
            target=parsed.target,
            p4info=p4info,
            program=program,
            flows=flows,
            ports=ports,
            offload=OffloadOptions(
                enabled=parsed.offload.enabled,
                mode=Mode(parsed.offload.mode),
                capacity=parsed.offload.capacity or OffloadOptions().capacity,
                tcp_timeout=parsed.offload.idle_timeout.tcp,
                udp_timeout=parsed.offload.idle_timeout.udp,
                icmp_timeout=parsed.offload.idle_timeout.icmp,
            ),
            capacity_given=parsed.offload.capacity != 0,
            timeouts=timeouts,
            conntrack=parsed.conntrack,
            policer={**DEFAULT_POLICER, **given},
            socket=base / parsed.admin.socket,
            log_file=base / parsed.log.file if parsed.log.file else None,
            log_level=parsed.log.level,
        )

    # -- places --------------------------------------------------------------------------

    def _line(self, section: str, key: str, occurrence: int = 0) -> int:
        """The line (from 1) of `key` in the n-th `section`, or of the section, or 1."""
        current, seen, best = "", -1, 1
        for number, line in enumerate(self.lines, 1):
            header = re.match(r"\s*\[\[?\s*([^\]]+?)\s*\]\]?", line)
            if header:
                current = header.group(1).replace('"', "")
                if current == section:
                    seen += 1
                    if seen == occurrence:
                        best = number
            elif (seen == occurrence and current == section) or (not section and not current):
                found = re.match(r'\s*"?([A-Za-z0-9_.\-]+)"?\s*=', line)
                if found and found.group(1) == key:
                    return number
        return best

    def _add(self, section: str, key: str, message: str, occurrence: int = 0) -> None:
        name = f"{section}.{key}" if section else key
        line = self._line(section, key, occurrence)
        self.problems.append(f"{self.path}:{line}: {name}: {message}")

    # -- shape ---------------------------------------------------------------------------

    def _shape(self) -> _File | None:
        self._keys("", self.raw, tuple(_File.__struct_fields__))
        for section, struct in SECTIONS.items():
            found = self._section(section)
            tables = cast("list[Any]", found) if isinstance(found, list) else [found]
            if section == "policer" and isinstance(found, dict):
                tables = list(cast("dict[str, Any]", found).values())
            for occurrence, table in enumerate(tables):
                if isinstance(table, dict):
                    fields = struct.__struct_fields__
                    self._keys(section, cast("dict[str, Any]", table), fields, occurrence)
        if self.problems:
            return None
        try:
            return msgspec.convert(self.raw, _File)
        except msgspec.ValidationError as error:
            self._validation(str(error))
            return None

    def _section(self, dotted: str) -> Any:
        table: Any = self.raw
        for part in dotted.split("."):
            table = cast("dict[str, Any]", table).get(part) if isinstance(table, dict) else None
        return table

    def _keys(
        self, section: str, table: dict[str, Any], valid: tuple[str, ...], occurrence: int = 0
    ) -> None:
        for key in table:
            if key in valid:
                continue
            near = difflib.get_close_matches(key, valid, 1)
            hint = f"did you mean '{near[0]}'?" if near else f"valid: {', '.join(valid)}"
            if section == "":
                start = re.compile(rf"\s*\[?\[?{re.escape(key)}\b")
                line = next((n for n, text in enumerate(self.lines, 1) if start.match(text)), 1)
                self.problems.append(f"{self.path}:{line}: unknown section or key '{key}'; {hint}")
            else:
                self._add(section, key, f"unknown key; {hint}", occurrence)

    def _validation(self, message: str) -> None:
        """Put msgspec's message ("Expected `int` … - at `$.target.device_id`") in place."""
        what, _, where = message.partition(" - at `$")
        what = what.replace("Object missing required field", "missing")
        steps = [a or b for a, b in re.findall(r"\.([A-Za-z0-9_]+)|\[(\d+|\.\.\.)\]", where)]
        occurrence = next((int(s) for s in steps if s.isdigit()), 0)
        names = [step for step in steps if not step.isdigit() and step != "..."]
        if not names:
            self.problems.append(f"{self.path}:1: {what}")
            return
        if len(names) == 1:  # the section itself lacks something
            self._add(names[0], "", what, occurrence)
            self.problems[-1] = self.problems[-1].replace(f"{names[0]}.: ", f"{names[0]}: ")
            return
        self._add(".".join(names[:-1]), names[-1], what, occurrence)

    # -- meaning -------------------------------------------------------------------------

    def _ports(self, vports: list[Vport]) -> PortTable | None:
        if not vports:
            self.problems.append(f"{self.path}:1: no [[vport]]: the eswitch would have no port")
            return None
        try:
            return PortTable(vports)
        except PortError as error:
            last = len(vports) - 1
            self._add("vport", "id", str(error), last)
            return None

    def _timeouts(self, section: Conntrack) -> Timeouts | None:
        valid = tuple(
            name for name in Timeouts.__dataclass_fields__ if name not in ("zones", "tcp")
        )
        before = len(self.problems)
        tables = {"conntrack.timeouts": section.timeouts}
        for zone, table in section.zone.items():
            if not zone.isdigit() or int(zone) > 65535:
                self._add("conntrack.zone", zone, "a zone is a number from 0 to 65535")
            tables[f"conntrack.zone.{zone}"] = table
        for name, table in tables.items():
            self._keys(name, cast("dict[str, Any]", table), valid)
            for key, value in table.items():
                if value <= 0:
                    self._add(name, key, f"must be above 0 seconds, not {value}")
        if len(self.problems) > before:
            return None
        result = replace(Timeouts(), **cast("dict[str, Any]", section.timeouts))
        for zone, table in section.zone.items():
            result = result.with_zone(int(zone), **table)
        return result

    def _target(self, target: Target) -> None:
        host, _, port = target.address.rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65536:
            self._add("target", "address", f"'{target.address}' is not HOST:PORT")
        if target.election_id < 1:
            self._add("target", "election_id", "must be at least 1")
        if target.device_id < 0:
            self._add("target", "device_id", "must not be negative")

    def _offload(self, offload: Offload) -> None:
        if not 0 <= offload.capacity <= 65536:
            self._add("offload", "capacity", "must be 0 (all) to 65536 connections")
        for name in ("tcp", "udp", "icmp"):
            value = cast("float", getattr(offload.idle_timeout, name))
            if value < 1:
                self._add("offload.idle_timeout", name, "must be at least 1 second")

    def _file(self, name: str, section: str, key: str) -> Path:
        path = self.path.resolve().parent / name
        if not path.is_file():
            self._add(section, key, f"there is no file {path}")
        return path
