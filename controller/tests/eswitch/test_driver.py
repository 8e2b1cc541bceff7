# SPDX-License-Identifier: Apache-2.0
"""The driver against an in-process P4Runtime server."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from google.rpc import code_pb2
from p4ct.eswitch.contract import ContractError
from p4ct.eswitch.driver import Eswitch
from p4ct.eswitch.entries import (
    CtEntry,
    Delete,
    EswitchError,
    EswitchPort,
    FlowEntry,
    Insert,
    L2PairEntry,
    Modify,
    NextHopEntry,
    PuntInfo,
    TunnelTermEntry,
    VportEntry,
    WindowPair,
    WindowSide,
)
from p4ct.eswitch.enums import CtHit, PuntClass, PuntReason, Step, WindowVerdict
from p4ct.p4runtime.client import P4RuntimeClient
from p4ct.p4runtime.p4info import P4InfoIndex
from p4rt_stubs.p4.config.v1 import p4info_pb2
from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4rt

from ..p4runtime.fake_target import fake_target, run
from .samples import CT_V4, CT_V6, DRAIN, ENTRIES, MAC1, NAT_V4, NAT_V6, P4INFO, V4, V6


@asynccontextmanager
async def eswitch():
    async with fake_target() as (target, address):
        client = P4RuntimeClient(address)
        await client.connect()
        driver = Eswitch(client, P4INFO)
        port: EswitchPort = driver
        assert port is driver
        yield target, driver
        await client.close()


def set_cell(target, name: str, index: int, packets: int, bytes_: int) -> None:
    counter = P4INFO.counters.get(name).id
    target.cells[counter, index] = p4rt.CounterData(packet_count=packets, byte_count=bytes_)


def test_program_that_does_not_fit():
    message = p4info_pb2.P4Info()
    message.CopyFrom(P4INFO.message)
    message.pkg_info.version = "9.0"

    async def main():
        with pytest.raises(ContractError, match=r"known is 2\.x"):
            Eswitch(P4RuntimeClient("127.0.0.1:1"), P4InfoIndex(message))

    run(main())


def test_write_and_read_back_every_table():
    async def main():
        async with eswitch() as (_, driver):
            assert await driver.write([Insert(entry) for entry in ENTRIES]) == [None] * len(ENTRIES)

            def of(kind):
                return [entry for entry in ENTRIES if isinstance(entry, kind)]

            assert await driver.read_tunnels() == of(TunnelTermEntry)
            assert await driver.read_vports() == of(VportEntry)
            assert await driver.read_l2_pairs() == of(L2PairEntry)
            assert await driver.read_ct_entries() == of(CtEntry)
            assert await driver.read_flows() == of(FlowEntry)
            assert await driver.read_next_hops() == of(NextHopEntry)
            assert await driver.write([Modify(DRAIN)]) == [None]
            assert await driver.read_ct_entries() == [DRAIN, NAT_V4, CT_V6, NAT_V6]
            gone = [Delete(V4), Delete(NAT_V4), Delete(CT_V6), Delete(NAT_V6.key)]
            assert await driver.write(gone) == [None] * 4
            assert await driver.read_ct_entries() == []

    run(main())


def test_mixed_batch():
    async def main():
        async with eswitch() as (target, driver):
            full = P4INFO.tables.get("ct_v6").id
            target.check = lambda update: (
                (code_pb2.RESOURCE_EXHAUSTED, "table full")
                if update.entity.table_entry.table_id == full
                else None
            )
            bad = CtEntry(V4._replace(sport=-1), CT_V4.action)
            ops = [Insert(CT_V4), Insert(bad), Insert(CT_V6), Insert(CT_V4), Delete(V6)]
            answers = await driver.write(ops)
            assert [answer and (answer.op, answer.code) for answer in answers] == [
                None,
                (ops[1], "INVALID_ARGUMENT"),
                (ops[2], "RESOURCE_EXHAUSTED"),
                (ops[3], "ALREADY_EXISTS"),
                (ops[4], "RESOURCE_EXHAUSTED"),
            ]
            assert answers[2].message == (
                "INSERT ct_v6 l2_id=3 src=::1 dst=fd00::2 proto=58 sport=7 dport=32768"
                " -> ct_forward(conn_index=0, generation=0, direction=0, path=0, next_hop=0,"
                " check_window=0): table full (RESOURCE_EXHAUSTED)"
            )
            assert not any(answer and answer.unknown_outcome for answer in answers)

    run(main())


def test_only_impossible_values_make_no_call():
    async def main():
        async with eswitch() as (target, driver):
            (answer,) = await driver.write([Insert(L2PairEntry(1, MAC1, b"", 1))])
            assert answer.code == "INVALID_ARGUMENT"
            assert "an address of 0 bytes, not 6" in answer.message
            assert target.requests == []

    run(main())


def test_target_dies_mid_write():
    async def main():
        async with eswitch() as (target, driver):
            arrived = asyncio.Event()

            async def hang():
                arrived.set()
                await asyncio.Event().wait()

            target.before_write = hang
            writing = asyncio.create_task(driver.write([Insert(CT_V4), Insert(CT_V6)]))
            await arrived.wait()
            await target.stop()
            answers = await asyncio.wait_for(writing, 5)
            assert [(a.code, a.unknown_outcome) for a in answers] == [("UNAVAILABLE", True)] * 2
            with pytest.raises(EswitchError) as error:
                await driver.read_ct_entries()
            assert error.value.code == "UNAVAILABLE"

    run(main())


def test_connection_counters_in_one_read():
    async def main():
        async with eswitch() as (target, driver):
            for cell, packets in ((0, 5), (1, 6), (14, 7), (15, 8), (2, 99)):
                set_cell(target, "ct_counter", cell, packets, packets * 100)
            assert await driver.read_connection_counters([0, 7]) == {
                0: ((5, 500), (6, 600)),
                7: ((7, 700), (8, 800)),
            }
            assert len(target.reads) == 1
            assert len(target.reads[0].entities) == 4
            await driver.zero_connection_counters([7])
            assert await driver.read_connection_counters([7]) == {7: ((0, 0), (0, 0))}
            assert await driver.read_connection_counters([]) == {}

    run(main())


def test_many_counters_are_read_with_a_wildcard():
    async def main():
        async with eswitch() as (target, driver):
            size = P4INFO.counters.get("ct_counter").size
            indices = range(size // 8)
            for cell in range(2 * len(indices)):
                set_cell(target, "ct_counter", cell, cell, 1)
            found = await driver.read_connection_counters(indices)
            assert len(target.reads[0].entities) == 1
            assert len(found) == len(indices)
            assert found[1000] == ((2000, 1), (2001, 1))

    run(main())


def test_a_cell_that_does_not_come_back_is_an_error():
    async def main():
        async with eswitch() as (target, driver):
            set_cell(target, "ct_counter", 0, 1, 1)
            with pytest.raises(EswitchError, match="no cell 1 came back"):
                await driver.read_connection_counters([0])

    run(main())


def test_path_counters():
    async def main():
        async with eswitch() as (target, driver):
            set_cell(target, "path_counter", 3, 10, 1000)
            assert await driver.read_path_counters([3]) == {3: (10, 1000)}
            await driver.zero_path_counters([3])
            assert await driver.read_path_counters([3]) == {3: (0, 0)}

    run(main())


def test_punt_and_drop_counters_by_name():
    async def main():
        async with eswitch() as (target, driver):
            for index in range(P4INFO.counters.get("punt_counter").size):
                set_cell(target, "punt_counter", index, 0, 0)
            for index in range(P4INFO.counters.get("drop_counter").size):
                set_cell(target, "drop_counter", index, 0, 0)
            set_cell(target, "punt_counter", PuntReason.TCP_SYN, 4, 400)
            set_cell(target, "punt_counter", 30, 1, 60)
            set_cell(target, "drop_counter", 0, 2, 200)
            punts = await driver.read_punt_counters()
            assert punts["TCP_SYN"] == (4, 400)
            assert punts["MISS"] == (0, 0)
            assert punts["REASON_30"] == (1, 60)
            assert "NONE" not in punts
            assert len(punts) == len(PuntReason)
            assert (await driver.read_drop_counters())["POLICER_MISS"] == (2, 200)

    run(main())


def test_trap_counters_are_summed_by_reason():
    async def main():
        async with eswitch() as (target, driver):
            for row, (reason, packets) in enumerate(((4, 1), (4, 2), (8, 3))):
                entry = p4rt.TableEntry(table_id=P4INFO.tables.get("trap").id, priority=row + 1)
                entry.action.action.action_id = P4INFO.actions.get("punt").id
                entry.action.action.params.add(param_id=1, value=bytes([reason]))
                entry.action.action.params.add(param_id=2, value=b"\1")
                entry.counter_data.packet_count = packets
                entry.counter_data.byte_count = packets * 60
                target.rows[b"%d" % row] = entry
            assert await driver.read_trap_counters() == {
                "TCP_SYN": (3, 180),
                "FRAGMENT": (3, 180),
            }

    run(main())


def test_flow_counters():
    async def main():
        async with eswitch() as (target, driver):
            flow = next(entry for entry in ENTRIES if isinstance(entry, FlowEntry))
            await driver.write([Insert(flow)])
            (row,) = target.rows.values()
            row.counter_data.packet_count, row.counter_data.byte_count = 3, 300
            assert await driver.read_flow_counters() == {flow.key: (3, 300)}

    run(main())


def test_punt_meter():
    async def main():
        async with eswitch() as (target, driver):
            meter = P4INFO.meters.get("punt_meter").id
            await driver.set_punt_meter(7, PuntClass.EXCEPTION, 1000, 50)
            config = target.meters[meter, 30].config
            assert (config.cir, config.cburst, config.pir, config.pburst) == (1000, 50, 1000, 50)
            await driver.set_punt_meter(7, PuntClass.SYN, 500, 5)
            assert target.meters[meter, 4096 + 28].config.pir == 500
            await driver.set_punt_meter(7, PuntClass.EXCEPTION, None)
            assert not target.meters[meter, 30].HasField("config")
            target.check = lambda _: (code_pb2.OUT_OF_RANGE, "index 4099")
            with pytest.raises(EswitchError, match=r"punt_meter\[30\]: index 4099") as error:
                await driver.set_punt_meter(7, PuntClass.EXCEPTION, 1)
            assert error.value.code == "OUT_OF_RANGE"
            with pytest.raises(EswitchError, match="vport 1024 has no cell in punt_meter: 0 to"):
                await driver.set_punt_meter(1024, PuntClass.MISS, 1)

    run(main())


def test_what_the_program_lacks():
    message = p4info_pb2.P4Info()
    message.CopyFrom(P4INFO.message)
    del message.meters[:]
    del message.registers[:]
    for table in message.tables:
        table.idle_timeout_behavior = 0
        del table.direct_resource_ids[:]

    async def main():
        driver = Eswitch(P4RuntimeClient("127.0.0.1:1"), P4InfoIndex(message))
        for call in (
            driver.set_punt_meter(1, PuntClass.MISS, 1),
            driver.read_flow_counters(),
            driver.read_trap_counters(),
            driver.read_windows([1]),
            driver.write_windows({1: WindowPair()}),
        ):
            with pytest.raises(EswitchError) as error:
                await call
            assert error.value.code == "UNIMPLEMENTED"

    run(main())


def test_punt_header_from_the_wire():
    wanted = PuntInfo(
        ingress_port=3,
        vport=1023,
        reason=PuntReason.TCP_FIN,
        step=Step.TRAP,
        ct_hit=CtHit.FORWARD,
        direction=1,
        conn_index=77,
        generation=9,
        tunnel_id=0,
        outer_src=0,
        frame_length=1514,
        window_original=0x00000001_00000002_00000003_FFFFFFFF,
        window_reply=0xFFFFFFFE_00000005_00000006_00000007,
        window_scales=0x0E07,
        window_verdict=WindowVerdict.SEQ_ABOVE,
    )
    assert wanted.window == WindowPair(
        WindowSide(1, 2, 3, 0xFFFFFFFF, 14), WindowSide(0xFFFFFFFE, 5, 6, 7, 7)
    )

    async def main():
        async with fake_target() as (target, address):
            got = []
            client = P4RuntimeClient(address, on_packet_in=lambda *args: got.append(args))
            await client.connect()
            driver = Eswitch(client, P4INFO)
            message = p4rt.StreamMessageResponse()
            message.packet.payload = b"frame"
            values = wanted._asdict()
            for field in P4INFO.headers.get("packet_in").fields:
                value = values.get(field.name, 0)
                message.packet.metadata.add(
                    metadata_id=field.id,
                    value=value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big"),
                )
            target.to_primary(message)
            while not got:
                await asyncio.sleep(0.01)
            ((payload, metadata),) = got
            assert payload == b"frame"
            assert driver.decode_punt(metadata) == wanted
            await client.close()

    run(main())


def test_packet_outs():
    async def main():
        async with eswitch() as (target, driver):
            assert driver.send(5, b"one")
            assert driver.send_next_hop(0x10203, b"two")
            assert driver.send_pipeline(510, b"three")
            got = [await asyncio.wait_for(target.packet_outs.get(), 5) for _ in range(3)]
            fields = {field.id: field.name for field in P4INFO.headers.get("packet_out").fields}
            zeros = dict.fromkeys(("op", "port", "pad0", "next_hop", "conn_index"), b"\0")
            assert [
                (p.payload, {fields[m.metadata_id]: m.value for m in p.metadata}) for p in got
            ] == [
                (b"one", {**zeros, "op": b"\1", "port": b"\5"}),
                (b"two", {**zeros, "op": b"\2", "next_hop": b"\1\2\3"}),
                (b"three", {**zeros, "op": b"\3", "port": b"\1\xfe"}),
            ]

    run(main())


def test_idle_keys():
    async def main():
        async with eswitch() as (target, driver):
            flow = next(entry for entry in ENTRIES if isinstance(entry, FlowEntry))
            await driver.write([Insert(CT_V4), Insert(CT_V6), Insert(flow)])
            other = p4rt.TableEntry(table_id=P4INFO.tables.get("vport").id)
            notified = [*target.rows.values(), other]
            assert driver.idle_keys(notified) == [V4, V6, flow.key]

    run(main())
