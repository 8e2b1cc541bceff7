# SPDX-License-Identifier: Apache-2.0
"""Packet-ins, packet-outs and notifications on the stream."""

import asyncio
import logging
from pathlib import Path

from p4ct.p4runtime.client import P4RuntimeClient
from p4ct.p4runtime.p4info import P4InfoIndex, load_p4info
from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4rt

from .fake_target import fake_target, run

P4INFO = P4InfoIndex(load_p4info(Path(__file__).parents[3] / "p4src/compiled/eswitch.p4info.txtpb"))
FIELDS = len(P4INFO.headers.get("packet_in").fields)


def packet_in(payload: bytes, values: dict[int, bytes]) -> p4rt.StreamMessageResponse:
    message = p4rt.StreamMessageResponse()
    message.packet.payload = payload
    for id_, value in values.items():
        message.packet.metadata.add(metadata_id=id_, value=value)
    return message


async def until(condition) -> None:
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the condition did not become true")


def test_packet_in_values_come_in_the_order_of_their_ids():
    async def main():
        async with fake_target() as (target, address):
            got = []
            client = P4RuntimeClient(address, on_packet_in=lambda *args: got.append(args))
            client.use_p4info(P4INFO)
            await client.connect()
            values = {id_: bytes([id_]) for id_ in range(1, FIELDS + 1)}
            values[12] = bytes(range(16))
            target.to_primary(packet_in(b"in order", values))
            target.to_primary(packet_in(b"reversed", dict(reversed(values.items()))))
            target.to_primary(packet_in(b"long form", {**values, 1: b"\0\0\1"}))
            await until(lambda: len(got) == 3)
            wanted = tuple(int.from_bytes(values[id_], "big") for id_ in sorted(values))
            assert got == [(b"in order", wanted), (b"reversed", wanted), (b"long form", wanted)]
            assert client.stats.packet_ins == 3
            await client.close()

    run(main())


def test_p4info_of_a_later_pipeline_reaches_the_open_stream():
    async def main():
        async with fake_target() as (target, address):
            got = []
            client = P4RuntimeClient(address, on_packet_in=lambda *args: got.append(args))
            await client.connect()
            client.use_p4info(P4INFO)
            target.to_primary(packet_in(b"x", dict.fromkeys(range(1, FIELDS + 1), b"\x01")))
            await until(lambda: got)
            assert got == [(b"x", (1,) * FIELDS)]
            await client.close()

    run(main())


def test_packet_in_without_a_field_is_counted_not_delivered():
    async def main():
        async with fake_target() as (target, address):
            got = []
            client = P4RuntimeClient(address, on_packet_in=lambda *args: got.append(args))
            client.use_p4info(P4INFO)
            await client.connect()
            target.to_primary(packet_in(b"short", {1: b"\1"}))
            await until(lambda: client.stats.packet_ins_malformed)
            assert got == []
            assert client.connected
            await client.close()

    run(main())


def test_error_in_the_callback_does_not_end_the_stream(caplog):
    async def main():
        async with fake_target() as (target, address):
            got = []

            def callback(payload: bytes, _: tuple[int, ...]) -> None:
                if payload == b"bad":
                    raise ValueError("broken callback")
                got.append(payload)

            client = P4RuntimeClient(address, on_packet_in=callback)
            await client.connect()
            target.to_primary(packet_in(b"bad", {}))
            target.to_primary(packet_in(b"good", {}))
            await until(lambda: got)
            assert client.stats.callback_errors == 1
            assert client.connected
            await client.close()

    with caplog.at_level(logging.ERROR):
        run(main())
    assert "broken callback" in caplog.text


def test_packet_out():
    async def main():
        async with fake_target() as (target, address):
            client = P4RuntimeClient(address)
            await client.connect()
            metadata = [p4rt.PacketMetadata(metadata_id=1, value=b"\x02")]
            assert client.packet_out(b"frame", metadata)
            packet = await asyncio.wait_for(target.packet_outs.get(), 5)
            assert packet.payload == b"frame"
            assert list(packet.metadata) == metadata
            await client.close()

    run(main())


def test_packet_outs_beyond_the_queue_are_dropped_and_counted():
    async def main():
        async with fake_target() as (target, address):
            client = P4RuntimeClient(address, max_queue=10)
            await client.connect()
            # Nothing is sent before the event loop runs again.
            sent = [client.packet_out(b"%d" % i, []) for i in range(25)]
            assert sent == [True] * 10 + [False] * 15
            assert client.stats.packet_outs == 10
            assert client.stats.packet_outs_dropped == 15
            got = [(await asyncio.wait_for(target.packet_outs.get(), 5)).payload for _ in range(10)]
            assert got == [b"%d" % i for i in range(10)]
            assert client.packet_out(b"later", [])
            await client.close()

    run(main())


def test_idle_notification_and_unknown_messages(caplog):
    async def main():
        async with fake_target() as (target, address):
            got = []
            client = P4RuntimeClient(address, on_idle=lambda entries: got.extend(entries))
            await client.connect()
            idle = p4rt.StreamMessageResponse()
            idle.idle_timeout_notification.table_entry.add(table_id=5, idle_timeout_ns=9)
            target.to_primary(idle)
            digest = p4rt.StreamMessageResponse()
            digest.digest.digest_id = 3
            target.to_primary(digest)
            target.to_primary(packet_in(b"nobody listens", {}))
            await until(lambda: client.stats.ignored == 2)
            assert [entry.table_id for entry in got] == [5]
            assert client.stats.idle_notifications == 1
            assert client.connected
            await client.close()

    run(main())
