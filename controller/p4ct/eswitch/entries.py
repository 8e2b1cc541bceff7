# SPDX-License-Identifier: Apache-2.0
"""What the controller writes to and reads from the eswitch, as plain values.

Pure: no protobuf, no gRPC.  `p4ct.offload` is written against these types and `EswitchPort`; the
driver in this package is the one implementation that talks P4Runtime.

MAC addresses are 6 bytes, IPv4 addresses 4, IPv6 addresses 16.  Numbers have the widths of
p4src/include/sizes.p4.  Keys are named tuples, so that they hash fast; a row compares by value.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from p4ct.eswitch.enums import PuntClass, VlanOp
from p4ct.packet.vxlan import Tunnel

Counts = tuple[int, int]
"""(packets, bytes); bytes are frame bytes at ingress, without FCS."""


@dataclass(frozen=True, slots=True)
class TunnelTermEntry:
    """VXLAN to this outer destination (4 or 16 bytes) with this VNI ends here.

    The packet inside goes on to step 2 with `tunnel_vport` (1..65535); version is 4 or 6.
    """

    version: int
    outer_dst: bytes
    vni: int
    tunnel_vport: int


@dataclass(frozen=True, slots=True)
class VportEntry:
    """Frames of dataplane `port` with this tag (None: untagged) belong to `vport` (1..1023).

    `tunnel_vport`: that of the tunnel they came in; 0 for frames without a tunnel. In a tunnel the
    tag is that of the inner frame.
    """

    port: int
    vlan: int | None
    vport: int
    tunnel_vport: int = 0


@dataclass(frozen=True, slots=True)
class L2PairEntry:
    """Gives frames of this vport and pair of MAC addresses their `l2_id` (1..2^32-1)."""

    vport: int
    eth_src: bytes
    eth_dst: bytes
    l2_id: int


class CtKey(NamedTuple):
    """Key of one connection entry: the table is `ct_v4` or `ct_v6` by `version` (4 or 6).

    ICMP echo: `sport` is the identifier, `dport` is type<<8|code.
    """

    version: int
    l2_id: int
    src: bytes
    dst: bytes
    proto: int
    sport: int
    dport: int


@dataclass(frozen=True, slots=True)
class Nat:
    """What a packet leaves with, changed or not: addresses of the entry's family, and ports.

    ICMP echo: `sport` is the new identifier, `dport` has no effect.
    """

    src: bytes
    dst: bytes
    sport: int
    dport: int


@dataclass(frozen=True, slots=True)
class CtForward:
    """The entry forwards. `direction`: 0 original, 1 reply.

    `check_window`: only TCP segments inside the window that the registers of `conn_index` hold.
    """

    conn_index: int
    generation: int
    direction: int
    path: int
    next_hop: int
    check_window: bool = False
    nat: Nat | None = None


@dataclass(frozen=True, slots=True)
class CtDrain:
    """The entry punts and no longer counts: the first step of removal."""

    conn_index: int
    generation: int
    direction: int


@dataclass(frozen=True, slots=True)
class CtEntry:
    """One direction of a connection. `idle_timeout_ns` 0: never reported idle.

    `metadata`: opaque to the target, at most a few hundred bytes, read back as written.
    """

    key: CtKey
    action: CtForward | CtDrain
    idle_timeout_ns: int = 0
    metadata: bytes = b""


Masked = tuple[int, int]
"""(value, mask) of a ternary field; value has no bit outside the mask, and the mask is not 0."""


class FlowKey(NamedTuple):
    """Key of a stateless flow. None: any value. `priority` >= 1, higher wins.

    `src` and `dst` are 128-bit numbers, IPv4 in the low 32 bits: to match one family, match
    `ether_type` as well.
    """

    vport: int
    priority: int
    eth_src: Masked | None = None
    eth_dst: Masked | None = None
    ether_type: Masked | None = None
    src: Masked | None = None
    dst: Masked | None = None
    proto: Masked | None = None
    sport: Masked | None = None
    dport: Masked | None = None


@dataclass(frozen=True, slots=True)
class FlowEntry:
    """A stateless flow: its packets are counted on `path` and go to `next_hop`."""

    key: FlowKey
    path: int
    next_hop: int
    idle_timeout_ns: int = 0
    metadata: bytes = b""


@dataclass(frozen=True, slots=True)
class NextHopEntry:
    """Where packets go and how they look there.

    `output` sends to `port`; `route` also sets the MAC addresses and decrements the TTL; `vxlan`
    does as `output` (as `route` if there are MAC addresses) and puts the frame into `tunnel`;
    `drop` drops and counts under DropReason.NEXT_HOP, and uses none of the other fields.
    `mtu`: of the IP packet in bytes, in a tunnel of the inner one; 0 for no limit.
    """

    next_hop: int
    kind: Literal["output", "route", "vxlan", "drop"] = "output"
    port: int = 0
    mtu: int = 0
    vlan_op: VlanOp = VlanOp.KEEP
    vlan_id: int = 0
    eth_src: bytes = b""
    eth_dst: bytes = b""
    tunnel: Tunnel | None = None


Entry = TunnelTermEntry | VportEntry | L2PairEntry | CtEntry | FlowEntry | NextHopEntry


@dataclass(frozen=True, slots=True)
class Insert:
    """A new row. Error ALREADY_EXISTS if the key is there."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class Modify:
    """New action, timeout and metadata for a row. Error NOT_FOUND if the key is not there."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove a row: only the key counts, so the key of a connection or flow will do."""

    entry: Entry | CtKey | FlowKey


Op = Insert | Modify | Delete


@dataclass(frozen=True, slots=True)
class EntryError:
    """Why one operation failed.

    `code`: canonical gRPC name ("ALREADY_EXISTS", "RESOURCE_EXHAUSTED", …). `message`: the
    target's own words. `unknown_outcome`: the call broke down, and the target may or may not have
    carried out the operation.
    """

    op: Op
    code: str
    message: str
    unknown_outcome: bool = False


class EswitchError(Exception):
    """A read, or a write that is not an `Op`, failed. `code` is the canonical gRPC name."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{message} ({code})")
        self.code = code
        self.message = message


class WindowSide(NamedTuple):
    """One sender's window registers; the names of Linux are td_end, td_maxend, td_maxwin,
    td_maxack and td_scale. Sequence numbers and window are 32 bits, the scale 0 to 14."""

    end: int = 0
    max_end: int = 0
    max_win: int = 0
    max_ack: int = 0
    scale: int = 0


class WindowPair(NamedTuple):
    """The window registers of one connection index, by direction."""

    original: WindowSide = WindowSide()
    reply: WindowSide = WindowSide()


class PuntInfo(NamedTuple):
    """The packet-in header. `reason`, `step`, `ct_hit` have the numbers of `eswitch.enums`.

    `conn_index`, `generation` and `direction` hold if `ct_hit` is not MISS. `outer_src`: IPv4 in
    the low 32 bits. `frame_length`: bytes at ingress, before any decapsulation. `window_original`
    and `window_reply`: 128 bits each, see `window`; `window_verdict`: WindowVerdict.
    """

    ingress_port: int
    vport: int
    reason: int
    step: int
    ct_hit: int
    direction: int
    conn_index: int
    generation: int
    tunnel_id: int
    outer_src: int
    frame_length: int
    window_original: int = 0
    window_reply: int = 0
    window_scales: int = 0
    window_verdict: int = 0

    @property
    def window(self) -> WindowPair:
        """The window registers of the connection whose entry was hit; zeros if none was read."""
        return WindowPair(
            _side(self.window_original, self.window_scales >> 8),
            _side(self.window_reply, self.window_scales & 0xFF),
        )


def _side(registers: int, scale: int) -> WindowSide:
    word = 0xFFFFFFFF
    return WindowSide(
        registers >> 96, registers >> 64 & word, registers >> 32 & word, registers & word, scale
    )


class EswitchPort(Protocol):
    """The eswitch as the offload manager sees it. All methods but `write` raise EswitchError."""

    async def write(self, ops: Sequence[Op]) -> list[EntryError | None]:
        """Carry out the operations in order; one answer for each, None for success.

        Never raises for what the target or the connection to it does. When it returns, no packet
        uses an entry that was modified or deleted.
        """
        ...

    async def read_connection_counters(
        self, indices: Sequence[int]
    ) -> dict[int, tuple[Counts, Counts]]:
        """Connection index -> (original, reply)."""
        ...

    async def zero_connection_counters(self, indices: Sequence[int]) -> None: ...

    async def read_path_counters(self, ids: Sequence[int]) -> dict[int, Counts]:
        """Path id -> (packets, bytes)."""
        ...

    async def zero_path_counters(self, ids: Sequence[int]) -> None: ...

    async def write_windows(self, windows: Mapping[int, WindowPair]) -> set[int]:
        """Set the window registers of connection indices; the answer: those that certainly are."""
        ...

    def merge_windows(self, index: int, pair: WindowPair) -> bool:
        """Raise the window registers of a connection index to these where they are higher, before
        anything that is sent from now on; False if that could not be queued."""
        ...

    async def read_windows(self, indices: Sequence[int]) -> dict[int, WindowPair]:
        """Connection index -> registers; an index whose answer was lost is left out."""
        ...

    async def read_tunnels(self) -> list[TunnelTermEntry]: ...

    async def read_vports(self) -> list[VportEntry]: ...

    async def read_l2_pairs(self) -> list[L2PairEntry]: ...

    async def read_ct_entries(self) -> list[CtEntry]:
        """Every entry of both connection tables, with timeout and metadata."""
        ...

    async def read_flows(self) -> list[FlowEntry]: ...

    async def read_next_hops(self) -> list[NextHopEntry]: ...

    async def read_flow_counters(self) -> dict[FlowKey, Counts]: ...

    async def read_punt_counters(self) -> dict[str, Counts]:
        """PuntReason name -> (packets, bytes) that went up."""
        ...

    async def read_drop_counters(self) -> dict[str, Counts]:
        """DropReason name -> (packets, bytes)."""
        ...

    async def read_trap_counters(self) -> dict[str, Counts]:
        """PuntReason name -> (packets, bytes) that the trap table caught, before the policer."""
        ...

    async def set_punt_meter(
        self, vport: int, punt_class: PuntClass, rate: int | None, burst: int = 0
    ) -> None:
        """Limit punts of one vport (0: every unknown one) and class.

        `rate` in packets per second, `burst` in packets; rate None: no limit.
        """
        ...
