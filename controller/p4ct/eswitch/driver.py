# SPDX-License-Identifier: Apache-2.0
"""The eswitch over P4Runtime: `EswitchPort` for the offload manager, and packet-io."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import TypeVar

from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4rt

from p4ct.eswitch import contract
from p4ct.eswitch.codec import Codec
from p4ct.eswitch.entries import (
    Counts,
    CtEntry,
    CtKey,
    EntryError,
    EswitchError,
    FlowEntry,
    FlowKey,
    L2PairEntry,
    NextHopEntry,
    Op,
    PuntInfo,
    TunnelTermEntry,
    VportEntry,
    WindowPair,
)
from p4ct.eswitch.enums import PacketOutOp, PuntClass, PuntReason
from p4ct.eswitch.windows import Windows
from p4ct.p4runtime.bytestring import canonical
from p4ct.p4runtime.client import P4RuntimeClient
from p4ct.p4runtime.errors import TargetError
from p4ct.p4runtime.p4info import P4InfoIndex
from p4ct.p4runtime.text import format_error
from p4ct.pace import Pace

T = TypeVar("T")

_METER_VPORTS = 1024
"""Vports with cells in each half of the punt meter; four classes have theirs in each half."""
_READ_PER_STEP = 256
"""Entities that are decoded before others have their turn; about 10 microseconds each."""
_WILDCARD_SHARE = 8
"""Cells are read one by one up to a counter's size divided by this, and all at once beyond."""


class Eswitch:
    """One eswitch behind one client; it outlives reconnects: of the target it holds only ids.

    Raises ContractError at once if the program is not one that the controller can drive.
    """

    def __init__(self, client: P4RuntimeClient, p4info: P4InfoIndex) -> None:
        self.contract = contract.check(p4info)
        self.capabilities = self.contract.capabilities
        self._client = client
        self._p4info = p4info
        client.use_p4info(p4info)
        self._codec = Codec(p4info)
        self._ct_counter = p4info.counters.get("ct_counter")
        self._path_counter = p4info.counters.get("path_counter")
        self._punt_counter = p4info.counters.get("punt_counter")
        self._drop_counter = p4info.counters.get("drop_counter")
        self._punt_meter = p4info.meters.find("punt_meter")

        ids = sorted(field.id for field in p4info.headers.get("packet_in").fields)
        by_name = {field.name: field.id for field in p4info.headers.get("packet_in").fields}
        places = [ids.index(by_name[name]) for name in PuntInfo._fields]
        self._punt_fields: Callable[[tuple[int, ...]], tuple[int, ...]] = itemgetter(*places)
        self._packet_out = p4info.headers.get("packet_out").fields
        self._packet_out_metadata = lru_cache(4096)(self._build_packet_out)
        self._windows = Windows(self._send_window)

    # Packets

    def decode_punt(self, metadata: tuple[int, ...]) -> PuntInfo:
        """The packet-in header that the client's packet-in callback gets."""
        return PuntInfo._make(self._punt_fields(metadata))

    def take_answer(self, payload: bytes, info: PuntInfo) -> bool:
        """Give a packet-in to whoever waits for it; True if it was no punt but an answer."""
        if info.reason != PuntReason.WINDOW_READ:
            return False
        self._windows.answered(payload, info)
        return True

    def send(self, port: int, frame: bytes) -> bool:
        """Send a frame unchanged to a dataplane port. False: dropped, the queue is full."""
        return self._client.packet_out(frame, self._packet_out_metadata(PacketOutOp.SEND, port, 0))

    def send_next_hop(self, next_hop: int, frame: bytes) -> bool:
        """Send a frame through a next hop, uncounted and without its MTU check."""
        metadata = self._packet_out_metadata(PacketOutOp.NEXT_HOP, 0, next_hop)
        return self._client.packet_out(frame, metadata)

    def send_pipeline(self, port: int, frame: bytes) -> bool:
        """Run a frame through the eswitch as if it had come in on `port`."""
        metadata = self._packet_out_metadata(PacketOutOp.PIPELINE, port, 0)
        return self._client.packet_out(frame, metadata)

    def _send_window(self, op: PacketOutOp, conn_index: int, payload: bytes) -> bool:
        # Not from the cache: the frames of ports and next hops are not to lose their places to it.
        return self._client.packet_out(payload, self._build_packet_out(op, 0, 0, conn_index))

    def _build_packet_out(
        self, op: int, port: int, next_hop: int, conn_index: int = 0
    ) -> list[p4rt.PacketMetadata]:
        # The specification wants every field, padding included.
        values = {"op": op, "port": port, "next_hop": next_hop, "conn_index": conn_index}
        return [
            p4rt.PacketMetadata(metadata_id=field.id, value=canonical(values.get(field.name, 0)))
            for field in self._packet_out
        ]

    def idle_keys(self, entries: Iterable[p4rt.TableEntry]) -> list[CtKey | FlowKey]:
        """What an idle notification names. BMv2 repeats it as long as the entry stays idle."""
        keys: list[CtKey | FlowKey] = []
        for entry in entries:
            if entry.table_id in (self._codec.ct_v4[0], self._codec.ct_v6[0]):
                keys.append(self._codec.ct_key(entry))
            elif entry.table_id == self._codec.flow[0]:
                keys.append(self._codec.flow_key(entry))
        return keys

    # Entries

    async def write(self, ops: Sequence[Op]) -> list[EntryError | None]:
        """See EswitchPort. A value that no bytestring can hold is answered INVALID_ARGUMENT."""
        results: list[EntryError | None] = [None] * len(ops)
        updates: list[p4rt.Update] = []
        places: list[int] = []
        for i, op in enumerate(ops):
            try:
                updates.append(self._codec.update(op))
                places.append(i)
            except (OverflowError, TypeError, ValueError) as error:
                results[i] = EntryError(op, "INVALID_ARGUMENT", f"{op}: {error}")
        for error in await self._client.write(updates) if updates else []:
            if error is not None:
                place = places[error.index]
                results[place] = EntryError(
                    ops[place],
                    error.code,
                    format_error(self._p4info, error),
                    error.unknown_outcome,
                )
        return results

    async def write_windows(self, windows: Mapping[int, WindowPair]) -> set[int]:
        """See EswitchPort; answers come as packet-ins, which go to `take_answer`."""
        self._need(self.capabilities.window_registers, "window registers")
        return await self._windows.write(windows)

    def merge_windows(self, index: int, pair: WindowPair) -> bool:
        """See EswitchPort."""
        return self.capabilities.window_registers and self._windows.merge(index, pair)

    async def read_windows(self, indices: Sequence[int]) -> dict[int, WindowPair]:
        """See EswitchPort; answers come as packet-ins, which go to `take_answer`."""
        self._need(self.capabilities.window_registers, "window registers")
        return await self._windows.read(indices)

    async def read_tunnels(self) -> list[TunnelTermEntry]:
        codec = self._codec
        found = await self._read_table(codec.tunnel_v4[0], codec.tunnel_entry)
        return found + await self._read_table(codec.tunnel_v6[0], codec.tunnel_entry)

    async def read_vports(self) -> list[VportEntry]:
        return await self._read_table(self._codec.vport[0], self._codec.vport_entry)

    async def read_l2_pairs(self) -> list[L2PairEntry]:
        return await self._read_table(self._codec.l2_pair[0], self._codec.l2_pair_entry)

    async def read_next_hops(self) -> list[NextHopEntry]:
        return await self._read_table(self._codec.next_hop[0], self._codec.next_hop_entry)

    async def read_flows(self) -> list[FlowEntry]:
        return await self._read_table(self._codec.flow[0], self._codec.flow_entry)

    async def read_ct_entries(self) -> list[CtEntry]:
        codec = self._codec
        found = await self._read_table(codec.ct_v4[0], codec.ct_entry)
        return found + await self._read_table(codec.ct_v6[0], codec.ct_entry)

    async def _read_table(self, table_id: int, decode: Callable[[p4rt.TableEntry], T]) -> list[T]:
        rows: list[T] = []
        entity = p4rt.Entity(table_entry=p4rt.TableEntry(table_id=table_id))
        await self._read([entity], lambda found: rows.append(decode(found.table_entry)))
        return rows

    # Counters and meters

    async def read_connection_counters(
        self, indices: Sequence[int]
    ) -> dict[int, tuple[Counts, Counts]]:
        cells = await self._read_cells(
            self._ct_counter.id,
            self._ct_counter.size,
            [2 * index + direction for index in indices for direction in (0, 1)],
        )
        return {index: (cells[2 * index], cells[2 * index + 1]) for index in indices}

    async def zero_connection_counters(self, indices: Sequence[int]) -> None:
        cells = [2 * index + direction for index in indices for direction in (0, 1)]
        await self._zero_cells(self._ct_counter.id, cells)

    async def read_path_counters(self, ids: Sequence[int]) -> dict[int, Counts]:
        cells = await self._read_cells(self._path_counter.id, self._path_counter.size, ids)
        return {id_: cells[id_] for id_ in ids}

    async def zero_path_counters(self, ids: Sequence[int]) -> None:
        await self._zero_cells(self._path_counter.id, ids)

    async def read_flow_counters(self) -> dict[FlowKey, Counts]:
        self._need(self.capabilities.flow_counters, "a counter for each flow")
        result: dict[FlowKey, Counts] = {}

        def add(entity: p4rt.Entity) -> None:
            entry = entity.table_entry
            result[self._codec.flow_key(entry)] = _counts(entry.counter_data)

        await self._read([_with_counters(self._codec.flow[0])], add)
        return result

    async def read_trap_counters(self) -> dict[str, Counts]:
        self._need(self.capabilities.trap_counters, "a counter for each trap")
        names = self.contract.enum_names["PuntReason"]
        result: dict[str, Counts] = {}

        def add(entity: p4rt.Entity) -> None:
            entry = entity.table_entry
            reason = self._codec.punt_reason(entry)
            name = names.get(reason, f"REASON_{reason}")
            packets, bytes_ = _counts(entry.counter_data)
            before = result.get(name, (0, 0))
            result[name] = (before[0] + packets, before[1] + bytes_)

        await self._read([_with_counters(self._codec.trap[0])], add)
        return result

    async def read_punt_counters(self) -> dict[str, Counts]:
        counter = self._punt_counter
        cells = await self._read_cells(counter.id, counter.size, range(counter.size))
        cells.pop(0, None)  # PuntReason.NONE
        return _by_name(cells, self.contract.enum_names["PuntReason"])

    async def read_drop_counters(self) -> dict[str, Counts]:
        counter = self._drop_counter
        cells = await self._read_cells(counter.id, counter.size, range(counter.size))
        return _by_name(cells, self.contract.enum_names["DropReason"])

    async def set_punt_meter(
        self, vport: int, punt_class: PuntClass, rate: int | None, burst: int = 0
    ) -> None:
        meter = self._punt_meter
        if meter is None:
            raise EswitchError("UNIMPLEMENTED", f"{self.contract.program} has no punt meter")
        if not 0 <= vport < _METER_VPORTS:
            message = f"vport {vport} has no cell in punt_meter: 0 to {_METER_VPORTS - 1}"
            raise EswitchError("INVALID_ARGUMENT", message)
        half, place = divmod(punt_class, 4)
        index = (half * _METER_VPORTS + vport) * 4 + place
        entry = p4rt.MeterEntry(meter_id=meter.id, index=p4rt.Index(index=index))
        if rate is not None:
            # Only red is policed, so both rates are the limit.
            entry.config.cir = entry.config.pir = rate
            entry.config.cburst = entry.config.pburst = burst
        await self._modify([p4rt.Entity(meter_entry=entry)])

    async def _read_cells(
        self, counter_id: int, size: int, cells: Sequence[int]
    ) -> dict[int, Counts]:
        """Counts by index; every wanted cell is there, or EswitchError."""
        if not cells:
            return {}
        if len(cells) > size // _WILDCARD_SHARE:
            entities = [p4rt.Entity(counter_entry=p4rt.CounterEntry(counter_id=counter_id))]
        else:
            entities = [_cell(counter_id, index) for index in cells]
        result: dict[int, Counts] = {}

        def add(entity: p4rt.Entity) -> None:
            entry = entity.counter_entry
            result[entry.index.index] = _counts(entry.data)

        await self._read(entities, add)
        missing = next((index for index in cells if index not in result), None)
        if missing is not None:
            raise EswitchError(
                "DATA_LOSS", f"counter 0x{counter_id:x}: no cell {missing} came back"
            )
        return result

    async def _zero_cells(self, counter_id: int, cells: Sequence[int]) -> None:
        entities = [_cell(counter_id, index) for index in cells]
        for entity in entities:
            entity.counter_entry.data.SetInParent()
        await self._modify(entities)

    async def _modify(self, entities: Sequence[p4rt.Entity]) -> None:
        updates = [p4rt.Update(type=p4rt.Update.MODIFY, entity=entity) for entity in entities]
        errors = [error for error in await self._client.write(updates) if error is not None]
        if errors:
            more = f" and {len(errors) - 1} more" if len(errors) > 1 else ""
            raise EswitchError(errors[0].code, format_error(self._p4info, errors[0]) + more)

    async def _read(
        self, entities: Sequence[p4rt.Entity], use: Callable[[p4rt.Entity], None]
    ) -> None:
        if not entities:
            return
        pace, number = Pace(), 0
        try:
            async for entity in self._client.read(entities):
                use(entity)
                number += 1
                if number % _READ_PER_STEP == 0:
                    await pace()
        except TargetError as error:
            raise EswitchError(error.code, str(error)) from None
        except (KeyError, ValueError) as error:
            raise EswitchError(
                "DATA_LOSS", f"the target answered with what P4Info does not explain: {error!r}"
            ) from None

    def _need(self, capability: bool, what: str) -> None:
        if not capability:
            raise EswitchError("UNIMPLEMENTED", f"{self.contract.program} does not have {what}")


def _cell(counter_id: int, index: int) -> p4rt.Entity:
    entry = p4rt.CounterEntry(counter_id=counter_id, index=p4rt.Index(index=index))
    return p4rt.Entity(counter_entry=entry)


def _with_counters(table_id: int) -> p4rt.Entity:
    entry = p4rt.TableEntry(table_id=table_id, counter_data=p4rt.CounterData())
    return p4rt.Entity(table_entry=entry)


def _counts(data: p4rt.CounterData) -> Counts:
    return data.packet_count, data.byte_count


def _by_name(cells: dict[int, Counts], names: Mapping[int, str]) -> dict[str, Counts]:
    """Cells that the program does not name are left out unless they count something."""
    return {
        names.get(index, f"REASON_{index}"): counts
        for index, counts in sorted(cells.items())
        if index in names or counts != (0, 0)
    }
