# SPDX-License-Identifier: Apache-2.0
"""Reading a configuration and finding every mistake in it, each with file, line and remedy."""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeVar, cast, get_args, get_origin

import msgspec

from p4ct.conntrack import Limits, Timeouts
from p4ct.conntrack.limits import LIMITS
from p4ct.conntrack.timeouts import TIMEOUTS
from p4ct.daemon.config import (
    DEFAULT_POLICER,
    Config,
    ConfigError,
    Conntrack,
    File,
    Offload,
    PipelineSection,
    Policer,
    Target,
)
from p4ct.daemon.places import Places
from p4ct.eswitch.enums import PuntClass
from p4ct.offload.ageing import LONGEST_PERIOD, Ageing, Sampling
from p4ct.offload.decide import Mode
from p4ct.offload.options import OffloadOptions, OnPolicyChange
from p4ct.packet.text import parse_ip
from p4ct.pipeline.ports import PortError, PortTable, Vport

__all__ = ["load"]

Table = dict[str, Any]
S = TypeVar("S", bound=msgspec.Struct)

LAST_PORT = 507
"""508 is the controller's barrier, 509 to 511 are the eswitch's recirculation, CPU and drop."""
POLICY_NAME = re.compile("[A-Za-z_][A-Za-z0-9_.-]{0,30}")
"""A timeout policy: a word of the flow language, as long as nf_conntrack's may be."""
POLICY_NAME_RULE = "a name has up to 31 letters, digits, '_', '.' and '-', and begins with a letter"
LONGEST_SOCKET = 107
"""Bytes of a Unix socket's path (sockaddr_un without its final 0)."""
POLICER = tuple(item.name.lower() for item in PuntClass)

_KINDS = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "str": "a string",
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
        what, _, where = str(error).partition(" (at ")
        found = re.search(r"line (\d+), column (\d+)", where)
        # Without a line it is "(at end of document)".
        place = f"{found[1]}:{found[2]}" if found else f"{max(1, len(text.splitlines()))}"
        raise ConfigError([f"{path}:{place}: not valid TOML: {what}"]) from None
    return _Checker(path, text, raw).check()


class _Checker:
    """Collects the mistakes of one file: what is sound is checked on, whatever else is wrong."""

    def __init__(self, path: Path, text: str, raw: Table) -> None:
        self.path = path
        self.places = Places(text)
        self.raw = raw
        self.problems: list[tuple[int, str]] = []

    def check(self) -> Config:
        raw = self.raw
        self._keys("", raw, File.__struct_fields__)
        parts = {name: self._part(name, raw) for name in File.__struct_fields__}
        found = {name: part for name, part in parts.items() if part is not None}
        ports = self._ports(cast("list[Vport | None]", parts["vport"] or []))
        timeouts = self._timeouts(found.get("conntrack"))
        limits = self._limits(found.get("conntrack"))
        self._target(found.get("target"))
        self._offload(found.get("offload"))
        self._conntrack(found.get("conntrack"))
        router = self._router(found.get("pipeline"))
        files: dict[str, Path] = {}
        for section, key in (("program", "p4info"), ("program", "json"), ("pipeline", "flows")):
            if section in found:
                files[key] = self._file(f"{section}.{key}", getattr(found[section], key))
        metrics = None
        if "metrics" in found and found["metrics"].listen:
            metrics = self._address("metrics.listen", found["metrics"].listen)
        socket = log_file = Path()
        if "admin" in found:
            socket = self._socket(found["admin"].socket)
        if "log" in found and found["log"].file:
            log_file = self._place("log.file", found["log"].file)
        if self.problems or ports is None or timeouts is None:
            raise ConfigError([text for _, text in sorted(self.problems, key=lambda p: p[0])])
        file = File(**found)
        given = {PuntClass[name.upper()]: value for name, value in file.policer.items()}
        return Config(
            path=self.path,
            places=self.places,
            target=file.target,
            p4info=files["p4info"],
            program=files["json"],
            flows=files["flows"],
            ports=ports,
            router=router,
            offload=OffloadOptions(
                enabled=file.offload.enabled,
                mode=Mode(file.offload.mode),
                policy_change=OnPolicyChange(file.offload.policy_change),
                capacity=file.offload.capacity,
                tcp_timeout=file.offload.idle_timeout.tcp,
                udp_timeout=file.offload.idle_timeout.udp,
                icmp_timeout=file.offload.idle_timeout.icmp,
                stateless=file.offload.stateless,
                flow_timeout=file.offload.idle_timeout.flow,
                window_check=file.offload.window_check,
                ageing=Ageing(file.offload.ageing),
                sampling=Sampling(file.offload.sample_interval, file.offload.sample_exponent),
            ),
            timeouts=timeouts,
            limits=limits,
            conntrack=file.conntrack,
            policer={**DEFAULT_POLICER, **given},
            socket=socket,
            metrics=metrics,
            log=file.log,
            log_file=log_file if file.log.file else None,
        )

    def _add(self, name: str, message: str, occurrence: int = 0) -> None:
        line = self.places.line(name, occurrence)
        self.problems.append((line, f"{self.path}:{line}: {name}: {message}"))

    # -- shape ---------------------------------------------------------------------------

    def _part(self, name: str, raw: Table) -> Any:
        """One section as its type wants it; None if something in it is wrong."""
        if name == "vport":
            return self._vports(raw.get(name))
        if name == "policer":
            return self._policers(raw.get(name, {}))
        return self._struct(name, raw.get(name, {}), _sections()[name])

    def _struct(self, name: str, table: Any, kind: type[S], occurrence: int = 0) -> S | None:
        if not isinstance(table, dict):
            self._add(name, f"must be a table, not {_kind(table)}", occurrence)
            return None
        given = cast("Table", table)
        before = len(self.problems)
        self._keys(name, given, kind.__struct_fields__, occurrence)
        values: Table = {}
        for field in msgspec.structs.fields(kind):
            place, type_ = f"{name}.{field.name}", field.type
            if field.name not in given:
                if field.required:
                    self._add(place, "missing", occurrence)
            elif (section := _section_of(type_)) is not None:
                values[field.name] = self._struct(place, given[field.name], section, occurrence)
            elif get_origin(type_) is dict:
                values[field.name] = self._numbers(place, given[field.name])
            else:
                try:
                    values[field.name] = msgspec.convert(given[field.name], type_)
                except msgspec.ValidationError:
                    self._add(place, _wanted(type_, given[field.name]), occurrence)
        return None if len(self.problems) > before else kind(**values)

    def _keys(self, name: str, table: Table, valid: Iterable[str], occurrence: int = 0) -> None:
        for key in table:
            if key not in valid:
                place = f"{name}.{key}" if name else key
                what = "unknown key" if name else "unknown section or key"
                self._add(place, f"{what}; {_nearest(key, valid)}", occurrence)

    def _vports(self, found: Any) -> list[Vport | None] | None:
        if found is None or found == []:
            self._add("vport", "missing; without a [[vport]] the eswitch has no port")
            return None
        if not isinstance(found, list):
            self._add("vport", "must be written [[vport]], once for each vport")
            return None
        tables = cast("list[Any]", found)
        return [self._struct("vport", table, Vport, n) for n, table in enumerate(tables)]

    def _policers(self, found: Any) -> dict[str, Policer] | None:
        if not isinstance(found, dict):
            self._add("policer", f"must be a table, not {_kind(found)}")
            return None
        table = cast("Table", found)
        self._keys("policer", table, POLICER)
        result: dict[str, Policer] = {}
        for name in POLICER:
            if name in table:
                policer = self._struct(f"policer.{name}", table[name], Policer)
                if policer is None:
                    continue
                for key in ("rate", "burst"):
                    if not 1 <= getattr(policer, key) <= 10**9:
                        self._add(f"policer.{name}.{key}", "must be 1 to 1000000000 packets")
                result[name] = policer
        return result

    def _numbers(self, name: str, found: Any) -> Any:
        """`conntrack.timeouts`, `conntrack.limits`, `conntrack.zone` with both for each zone, or
        `conntrack.timeout_policy` with timeouts for each name."""
        if not isinstance(found, dict):
            self._add(name, f"must be a table, not {_kind(found)}")
            return {}
        table = cast("Table", found)
        if name == "conntrack.zone":
            for zone in table:
                if not re.fullmatch("[0-9]{1,5}", zone) or int(zone) > 65535:
                    self._add(f"{name}.{zone}", "a zone is a number from 0 to 65535")
            return {z: self._numbers(f"{name}.{z}", t) for z, t in table.items()}
        if name == "conntrack.timeout_policy":
            for policy in table:
                if not POLICY_NAME.fullmatch(policy):
                    self._add(f"{name}.{policy}", POLICY_NAME_RULE)
            return {p: self._numbers(f"{name}.{p}", t) for p, t in table.items()}
        names = {"conntrack.timeouts": TIMEOUTS, "conntrack.limits": LIMITS}
        timeouts_only = name.startswith("conntrack.timeout_policy.")
        self._keys(name, table, names.get(name, TIMEOUTS if timeouts_only else TIMEOUTS + LIMITS))
        for key, value in table.items():
            if key in LIMITS:
                if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                    self._add(f"{name}.{key}", "must be a whole number, 0 for no limit")
            elif key in TIMEOUTS:
                if isinstance(value, bool) or not isinstance(value, int | float):
                    self._add(f"{name}.{key}", f"must be a number, not {_kind(value)}")
                elif not 0 < value < math.inf:
                    self._add(f"{name}.{key}", f"must be above 0 seconds and finite, not {value}")
        return table

    # -- meaning -------------------------------------------------------------------------

    def _ports(self, vports: list[Vport | None]) -> PortTable | None:
        sound: list[Vport] = []
        for number, vport in enumerate(vports):
            if vport is None:
                continue
            if not 0 <= vport.port <= LAST_PORT:
                self._add("vport.port", f"must be 0 to {LAST_PORT}, not {vport.port}", number)
            try:
                PortTable([*sound, vport])
                sound.append(vport)
            except PortError as error:
                self._add("vport", str(error), number)
        return PortTable(sound)

    def _timeouts(self, section: Conntrack | None) -> Timeouts | None:
        if section is None:
            return None
        if section.max_connections < 1:
            self._add("conntrack.max_connections", "must be at least 1")
        if section.max_unreplied < 0:
            self._add("conntrack.max_unreplied", "must be 0 or more")
        result = replace(Timeouts(), **cast("Table", section.timeouts))
        for zone, table in section.zone.items():
            result = result.with_zone(int(zone), **_only(table, TIMEOUTS))
        for name, table in section.timeout_policy.items():
            result = result.with_policy(name, **table)
        return result

    def _limits(self, section: Conntrack | None) -> Limits:
        if section is None:
            return Limits()
        result = Limits(**_only(section.limits, LIMITS))
        for zone, table in section.zone.items():
            result = result.with_zone(int(zone), **_only(table, LIMITS))
        return result

    def _router(self, section: PipelineSection | None) -> dict[int, bytes]:
        result: dict[int, bytes] = {}
        for version, size in ((4, 4), (6, 16)):
            name = f"router_address_v{version}"
            text = "" if section is None else cast("str", getattr(section, name))
            if not text:
                continue
            try:
                address = parse_ip(text)
            except ValueError as error:
                self._add(f"pipeline.{name}", str(error))
                continue
            if len(address) != size:
                self._add(f"pipeline.{name}", f"'{text}' is not an IPv{version} address")
            result[version] = address
        return result

    def _address(self, name: str, value: str) -> tuple[str, int] | None:
        """Host, without the brackets of IPv6, and port."""
        match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/]+):([0-9]{1,5})", value)
        if match is None or not 0 < int(match.group(2)) < 65536:
            self._add(name, f"'{value}' is not HOST:PORT")
            return None
        return match.group(1).strip("[]"), int(match.group(2))

    def _target(self, target: Target | None) -> None:
        if target is None:
            return
        self._address("target.address", target.address)
        if not 1 <= target.election_id < 1 << 128:
            self._add("target.election_id", "must be at least 1 and below 2^128")
        if not 0 <= target.device_id < 1 << 64:
            self._add("target.device_id", "must be at least 0 and below 2^64")
        if not 0 < target.connect_timeout < math.inf:
            self._add("target.connect_timeout", "must be above 0 seconds and finite")

    def _offload(self, offload: Offload | None) -> None:
        if offload is None:
            return
        if offload.capacity < 0:
            self._add("offload.capacity", "must not be negative (0: all that there is room for)")
        for name in ("tcp", "udp", "icmp", "flow"):
            value = cast("float", getattr(offload.idle_timeout, name))
            if not 1 <= value <= 1e9:
                self._add(f"offload.idle_timeout.{name}", "must be 1 to 1000000000 seconds")
        self._sampling(offload.sample_interval, offload.sample_exponent)

    def _sampling(self, interval: float, exponent: int) -> None:
        if not 0 <= exponent <= 10:
            self._add("offload.sample_exponent", "must be 0 to 10")
        elif not 0.1 <= interval <= LONGEST_PERIOD:
            self._add("offload.sample_interval", f"must be 0.1 to {LONGEST_PERIOD:g} seconds")
        elif (period := Sampling(interval, exponent).period) > LONGEST_PERIOD:
            self._add(
                "offload.sample_interval",
                f"{interval:g} seconds with sample_exponent {exponent} look at a connection every "
                f"{period:g} seconds; it must be at most {LONGEST_PERIOD:g}",
            )

    def _conntrack(self, conntrack: Conntrack | None) -> None:
        if conntrack is None:
            return
        if not 0 <= conntrack.max_expectations <= 1_000_000:
            self._add("conntrack.max_expectations", "must be 0 to 1000000")
        limits = conntrack.fragments
        for name in ("min_size_v4", "min_size_v6"):
            # Open vSwitch's lower bound: below it a port number could be split.
            if not 400 <= getattr(limits, name) <= 65535:
                self._add(f"conntrack.fragments.{name}", "must be 400 to 65535 bytes")
        if not 1 <= limits.max_queued <= 1_000_000:
            self._add("conntrack.fragments.max_queued", "must be 1 to 1000000 fragments")
        if not 0 < limits.timeout <= 3600:
            self._add("conntrack.fragments.timeout", "must be above 0 and at most 3600 seconds")

    def _place(self, name: str, value: str) -> Path:
        if "\0" in value or not value:
            self._add(name, "is not a path")
            return self.path
        path = self.path.resolve().parent / value
        try:
            # The last part stays as it is: it may be a link on purpose, as /dev/stdout is.
            return path.parent.resolve() / path.name
        except (OSError, RuntimeError):  # links in a circle: whoever opens it says so
            return path

    def _file(self, name: str, value: str) -> Path:
        path = self._place(name, value)
        if path != self.path and not path.is_file():
            what = "is not a file" if path.exists() else "does not exist"
            self._add(name, f"{path} {what}")
        return path

    def _socket(self, value: str) -> Path:
        path = self._place("admin.socket", value)
        length = len(str(path).encode())
        if length > LONGEST_SOCKET:
            self._add(
                "admin.socket",
                f"{path} is {length} bytes long, a socket's path has at most {LONGEST_SOCKET}; "
                "choose a shorter one",
            )
        return path


def _sections() -> dict[str, type[msgspec.Struct]]:
    """The sections that are one table each."""
    return {
        field.name: kind
        for field in msgspec.structs.fields(File)
        if (kind := _section_of(field.type)) is not None
    }


def _section_of(kind: Any) -> type[msgspec.Struct] | None:
    """The table that a key of this type holds, which may be left out; None if it holds none."""
    for item in get_args(kind) or (kind,):
        if (
            isinstance(item, type)
            and issubclass(item, msgspec.Struct)
            and get_origin(kind) is not list
        ):
            return item
    return None


def _nearest(word: str, valid: Iterable[str]) -> str:
    near = difflib.get_close_matches(word.lower(), list(valid), 1)
    return f"did you mean '{near[0]}'?" if near else f"valid: {', '.join(valid)}"


def _kind(value: Any) -> str:
    """A value for a message: itself if it is short, else what it is."""
    if isinstance(value, str):
        return f"the string {value!r}"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list):
        return "a list"
    return "a table" if isinstance(value, dict) else "a date or time"


def _wanted(kind: Any, value: Any) -> str:
    """What a key of this type takes, for one that has another value."""
    if get_origin(kind) is Literal:
        names = [str(item) for item in get_args(kind)]
        return f"{_kind(value)} is not valid; one of: {', '.join(names)}"
    for item in get_args(kind) or (kind,):
        if item is not type(None):
            return f"must be {_KINDS[item.__name__]}, not {_kind(value)}"
    return f"must not be {_kind(value)}"


def _only(table: Table, names: Iterable[str]) -> Table:
    """The settings of these names; a limit of 0 is none."""
    return {name: table[name] or None for name in names if name in table}
