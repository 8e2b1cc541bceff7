# SPDX-License-Identifier: Apache-2.0
"""What the data plane offers to the P4Runtime server: plain types and the two interfaces.

`softswitch.program.Program` implements `ProgramInfo` (and adds `Program.load`),
`softswitch.dataplane.Dataplane` implements `DataplaneApi`. All names are the names of the BMv2
JSON, which equal `preamble.name` in P4Info. All methods may be called from any thread.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from softswitch.wire_plan import WireTable

from softswitch.api_objects import (
    ActionInfo,
    Digest,
    DigestInfo,
    Group,
    GroupMember,
    Member,
    ProfileApi,
    ProfileInfo,
    WeightedAction,
)

__all__ = [
    "ActionInfo",
    "CounterInfo",
    "DataplaneApi",
    "DefaultAction",
    "Digest",
    "DigestInfo",
    "Entry",
    "Group",
    "GroupMember",
    "Key",
    "KeyInfo",
    "MatchKind",
    "Member",
    "MeterConfig",
    "MeterInfo",
    "MeterUnit",
    "PortStats",
    "ProfileApi",
    "ProfileInfo",
    "ProgramInfo",
    "RegisterInfo",
    "ServiceFrame",
    "Stats",
    "TableInfo",
    "TapCallback",
    "WeightedAction",
]

MatchKind = Literal["exact", "ternary", "lpm", "range"]
MeterUnit = Literal["packets", "bytes"]
Key = tuple[tuple[int, int], ...]
"""One (value, mask) per key field, in table key order.

exact: mask all ones. ternary and optional: value & ~mask == 0. lpm: mask is the prefix mask.
range: (low, high), both inclusive.
"""


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """One key field; `optional` keys appear as ternary."""

    name: str
    width: int
    kind: MatchKind


@dataclass(frozen=True, slots=True)
class Entry:
    """A table entry.

    `priority`: P4Runtime's sense, higher wins; 0 in tables of exact and lpm keys only.
    `packets`, `bytes` (direct counter) and `time_since_last_hit_ns` are filled in on reads and
    ignored on writes. `time_since_last_hit_ns` counts from insertion until the first hit.
    Tables with a profile: exactly one of `member`, `group` and `one_shot` is set, and `action` is
    empty; elsewhere none of them. A one-shot set is read back as it was written.
    """

    key: Key
    action: str = ""
    params: tuple[int, ...] = ()
    priority: int = 0
    idle_timeout_ns: int = 0
    metadata: bytes = b""
    controller_metadata: int = 0
    is_const: bool = False
    packets: int = 0
    bytes: int = 0
    time_since_last_hit_ns: int = 0
    member: int | None = None
    group: int | None = None
    one_shot: tuple[WeightedAction, ...] | None = None


@dataclass(frozen=True, slots=True)
class DefaultAction:
    """The action that a miss runs."""

    action: str
    params: tuple[int, ...] = ()
    is_const: bool = False


@dataclass(frozen=True, slots=True)
class TableInfo:
    """A table that can be written or read at run time, const tables included.

    Tables that p4c made for statements (no key, one action) are listed too, with no `keys`.
    `is_const_table`: the entries come from the program, and the runtime may not change them.
    """

    name: str
    keys: tuple[KeyInfo, ...]
    actions: Mapping[str, ActionInfo]
    max_size: int
    with_counters: bool
    direct_meter: str | None
    support_timeout: bool
    default_action: DefaultAction | None
    const_default_action: bool
    const_entries: tuple[Entry, ...]
    is_const_table: bool
    profile: str | None = None
    """The action profile of an indirect table; `actions` are then those of its members."""

    @property
    def needs_priority(self) -> bool:
        """True if entries carry a priority greater than 0 (P4Runtime 9.1.1)."""
        return any(key.kind in ("ternary", "range") for key in self.keys)


@dataclass(frozen=True, slots=True)
class MeterConfig:
    """Rates per second and bursts, in the meter's unit (packets or bytes)."""

    cir: int
    cburst: int
    pir: int
    pburst: int


@dataclass(frozen=True, slots=True)
class MeterInfo:
    """An indirect or direct meter array; direct ones have the size of their table."""

    name: str
    size: int
    unit: MeterUnit
    is_direct: bool


@dataclass(frozen=True, slots=True)
class CounterInfo:
    """An indirect or direct counter array; BMv2 counts packets and bytes in each."""

    name: str
    size: int
    is_direct: bool
    table: str | None


@dataclass(frozen=True, slots=True)
class RegisterInfo:
    """A register array of `size` cells of `width` bits."""

    name: str
    size: int
    width: int


@dataclass(frozen=True, slots=True)
class PortStats:
    """Interface statistics of one port since it was added.

    `rx_dropped`: refused or lost on the way in (ring full, longer than the MTU, a checksum that
    could not be completed). `rx_gso`: segmentation-offload super-packets received; one that was
    cut counts in `rx_packets` with its segments. `tx_dropped`: ring full or interface down. `up` is
    False while the interface is gone; one of the same name is taken when it appears.
    """

    port: int
    ifname: str | None
    up: bool
    rx_packets: int
    rx_bytes: int
    tx_packets: int
    tx_bytes: int
    rx_dropped: int
    rx_gso: int
    tx_dropped: int


@dataclass(frozen=True, slots=True)
class Stats:
    """Statistics of the whole data plane.

    Dropped packets: a full packet-in queue; an egress port that does not exist; one packet that
    comes back (recirculated, resubmitted, cloned) too often. `tap_dropped`: frames that the tap
    missed because its callback was too slow. `digest_dropped`: the digest queue was full.
    """

    ports: Mapping[int, PortStats]
    packet_in_dropped: int
    no_such_port_dropped: int
    pass_limit_dropped: int
    tap_dropped: int
    digest_dropped: int = 0


@dataclass(frozen=True, slots=True)
class ServiceFrame:
    """A frame for the client of the packet service. `port` None: the mark that `service_end` set.

    `cause`: what the client called the frame that caused this one; 0 if another did."""

    port: int | None
    frame: bytes
    cause: int


class TapCallback(Protocol):
    """Gets every frame in and out of a port: for pcap files."""

    def __call__(
        self, direction: Literal["in", "out"], port: int, frame: bytes, time_ns: int
    ) -> None: ...


class ProgramInfo(Protocol):
    """What a loaded program declares."""

    @property
    def tables(self) -> Mapping[str, TableInfo]: ...
    @property
    def counters(self) -> Mapping[str, CounterInfo]: ...
    @property
    def meters(self) -> Mapping[str, MeterInfo]: ...
    @property
    def registers(self) -> Mapping[str, RegisterInfo]: ...
    @property
    def profiles(self) -> Mapping[str, ProfileInfo]: ...
    @property
    def digests(self) -> Mapping[str, DigestInfo]: ...


class DataplaneApi(ProfileApi, Protocol):
    """A running data plane: ports, the program, its tables and its externs.

    Constructor of the implementation:
    `Dataplane(*, cpu_port: int | None = None, drop_port: int = 511)`.
    Unknown names and indices raise `UnknownObject`; calls that need a program raise `NoProgram`.
    """

    @property
    def program(self) -> ProgramInfo | None:
        """The program that runs now."""
        ...

    def add_port(self, port: int, ifname: str) -> None:
        """Attach an interface. PortError: no such interface, no permission, number taken."""
        ...

    def add_memory_port(self, port: int) -> None:
        """Attach a port whose frames come from `inject` and go to `read_memory_port`."""
        ...

    def remove_port(self, port: int) -> None:
        """Detach a port; frames for it are then dropped. PortError: no such port."""
        ...

    def set_port_up(self, port: int, up: bool) -> None:
        """Administrative state of a port: group members that watch a port that is down are left
        out, and nothing else changes. They are left out too while its interface has no link. A
        port is up from the start. PortError: no such port."""
        ...

    def ports(self) -> Mapping[int, str | None]:
        """Port number -> interface name (None: memory port)."""
        ...

    def start(self) -> None:
        """Start forwarding. Without a program, frames are received and dropped."""
        ...

    def stop(self) -> None:
        """Stop the thread and close every port; blocked waits return. Idempotent."""
        ...

    def load(self, program: ProgramInfo) -> None:
        """Swap the program between two packets; all tables, counters, meters and registers start
        fresh, with the program's const entries and defaults."""
        ...

    def insert(self, table: str, entry: Entry) -> None:
        """TableFull, EntryExists, BadEntry, ConstObject, OutOfMemory."""
        ...

    def modify(self, table: str, entry: Entry) -> None:
        """Replace action, parameters, timeout and metadata; the direct counter keeps counting.

        EntryNotFound, BadEntry, ConstObject. Returns when no packet uses the old entry any more."""
        ...

    def bulk_plan(self, tables: Sequence[WireTable]) -> object | None:
        """Prepares `bulk_write` for the program that runs; None: this data plane has none."""
        ...

    def bulk_write(self, plan: object, request: bytes, at: int, skip: bool) -> tuple[int, int]:
        """Carries out updates of a serialized p4.v1.WriteRequest from byte `at` on, until one is
        not plain or would fail; with `skip` the first one is passed over. Returns how many were
        carried out, and where the next one begins."""
        ...

    def delete(self, table: str, key: Key, priority: int = 0) -> None:
        """EntryNotFound, ConstObject. Returns when no packet uses the entry any more."""
        ...

    def get(self, table: str, key: Key, priority: int = 0) -> Entry | None: ...

    def entries(self, table: str) -> Iterator[Entry]:
        """All entries, read in chunks; an entry that stays during the iteration appears once."""
        ...

    def entry_count(self, table: str) -> int: ...

    def set_default(self, table: str, action: str | None, params: Sequence[int] = ()) -> None:
        """Set the default action; None restores the program's. ConstObject, BadEntry."""
        ...

    def get_default(self, table: str) -> DefaultAction | None: ...

    def counter_read(self, name: str, index: int) -> tuple[int, int]:
        """(packets, bytes) of one cell of an indirect counter."""
        ...

    def counter_read_all(self, name: str) -> list[tuple[int, int]]: ...

    def counter_write(self, name: str, index: int, packets: int, bytes: int) -> None: ...

    def direct_counter_write(
        self, table: str, key: Key, priority: int, packets: int, bytes: int
    ) -> None: ...

    def meter_set(self, name: str, index: int, config: MeterConfig | None) -> None:
        """None: unconfigured, every packet is green."""
        ...

    def meter_get(self, name: str, index: int) -> MeterConfig | None: ...

    def direct_meter_set(
        self, table: str, key: Key, priority: int, config: MeterConfig | None
    ) -> None: ...

    def direct_meter_get(self, table: str, key: Key, priority: int) -> MeterConfig | None: ...

    def register_read(self, name: str, index: int) -> int: ...

    def register_read_all(self, name: str) -> list[int]: ...

    def register_write(self, name: str, index: int, value: int) -> None: ...

    def mc_group_set(self, group: int, replicas: Sequence[tuple[int, int]] | None) -> None:
        """Replicas as (port, rid); None removes the group. Survives nothing: `load` clears it."""
        ...

    def clone_session_set(
        self, session: int, replicas: Sequence[tuple[int, int]] | None, truncate_length: int = 0
    ) -> None:
        """Replicas as (port, rid); truncate_length 0 keeps the whole packet; None removes it."""
        ...

    def packet_out(self, frame: bytes) -> None:
        """Inject a frame as if received on `cpu_port`. PortError if there is no CPU port."""
        ...

    def inject(self, port: int, frame: bytes) -> None:
        """Inject a frame as if received on `port` (of any kind)."""
        ...

    def read_memory_port(self, port: int, timeout_s: float = 1.0) -> bytes | None:
        """The next frame that left on a memory port, or None after the timeout."""
        ...

    def service_open(self) -> None:
        """There will be a packet service: every port number is a port, and up."""
        ...

    def service_connect(self) -> None:
        """From now on frames for ports that nothing is attached to go to `service_read`."""
        ...

    def service_disconnect(self) -> None:
        """Such frames are dropped again, and counted (`Stats.no_such_port_dropped`)."""
        ...

    def service_inject(self, port: int, frame: bytes, cause: int) -> bool:
        """Inject a frame as if received on `port`, of any number; `cause` names it.

        False: nothing was done, because too much waits to be read. PortError: too long."""
        ...

    def service_end(self) -> bool:
        """Mark the place after all that has been caused so far. False: no room, try again."""
        ...

    def service_read(self, timeout_s: float) -> list[ServiceFrame] | None:
        """Frames in order; [] after the timeout, None once stopped."""
        ...

    def wait_packet_ins(self, timeout_s: float) -> list[bytes]:
        """Frames that left on `cpu_port`, oldest first; [] after the timeout or once stopped."""
        ...

    def wait_digests(self, timeout_s: float) -> list[Digest]:
        """What packets reported, oldest first; [] after the timeout or once stopped. The queue is
        bounded: what finds it full is dropped and counted (`Stats.digest_dropped`)."""
        ...

    def wait_idle(self, timeout_s: float) -> list[tuple[str, Entry]]:
        """Entries idle for longer than their timeout; repeated each timeout while idle."""
        ...

    def idle_entries(self, now_ns: int | None = None) -> list[tuple[str, Entry]]:
        """One sweep: the entries that are idle at `now_ns` (CLOCK_MONOTONIC; None: now) and due
        for a notification. `wait_idle` does this once a second."""
        ...

    def read_log(self, timeout_s: float) -> list[str]:
        """Lines of log_msg, and assert or assume statements that failed."""
        ...

    def read_trace(self, timeout_s: float) -> list[tuple[str, str]]:
        """(level, text) of each line, those of `read_log` with level "". A program that was loaded
        with `trace` says what it does with each packet, at level "D", "T" or "E"."""
        ...

    def log_dropped(self) -> int:
        """Lines that found no room, because nobody read them fast enough."""
        ...

    def set_clock_ns(self, now_ns: int | None) -> None:
        """Stand the data plane's clock still at this time (tests, fuzzers); None: the real one."""
        ...

    def set_tap(self, callback: TapCallback | None) -> None:
        """Call back for each frame in and out, from a Python thread; None switches it off."""
        ...

    def stats(self) -> Stats: ...
