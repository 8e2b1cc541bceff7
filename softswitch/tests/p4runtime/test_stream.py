# SPDX-License-Identifier: Apache-2.0
"""Packet-in, packet-out and idle notifications over the stream."""

from __future__ import annotations

import threading
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from p4rt_stubs.p4.config.v1 import p4info_pb2 as p4info
from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4rt
from softswitch.api import Entry
from softswitch.p4runtime.packet_io import PacketInCodec, PacketOutCodec
from softswitch.p4runtime.session import (
    CONTROL_LIMIT,
    QUEUE_BYTES,
    QUEUE_LIMIT,
    StreamSession,
)

from .client import Uint, match
from .conftest import World
from .program import EXACT, TERNARY

HEADER = (5 << 31 | 3 << 24 | 0xABCDEF).to_bytes(5, "big")  # port 5, reason 3, index 0xabcdef
METADATA = [
    p4rt.PacketMetadata(metadata_id=1, value=b"\5"),
    p4rt.PacketMetadata(metadata_id=2, value=b"\3"),
    p4rt.PacketMetadata(metadata_id=300, value=b"\xab\xcd\xef"),
]


def out(*metadata: tuple[int, bytes], payload: bytes = b"frame") -> p4rt.PacketOut:
    return p4rt.PacketOut(
        payload=payload,
        metadata=[p4rt.PacketMetadata(metadata_id=i, value=v) for i, v in metadata],
    )


def test_packet_in_goes_to_the_primary_only(world: World) -> None:
    backup, primary = world.client.stream(), world.client.stream()
    primary.become_primary(2)
    backup.arbitrate(1)
    backup.arbitration()
    world.dataplane.packet_ins.put([HEADER + b"one", HEADER + b"two"])
    assert primary.recv().packet == p4rt.PacketIn(payload=b"one", metadata=METADATA)
    assert primary.recv().packet == p4rt.PacketIn(payload=b"two", metadata=METADATA)
    primary.half_close()
    assert backup.arbitration() == (0, 1)  # nothing came before this
    world.dataplane.packet_ins.put([HEADER + b"three"])
    assert backup.recv().packet.payload == b"three"


def test_packet_in_shorter_than_its_header_is_dropped(world: World) -> None:
    stream = world.client.stream().become_primary()
    world.dataplane.packet_ins.put([HEADER[:4], HEADER])
    assert stream.recv().packet == p4rt.PacketIn(metadata=METADATA)
    assert world.service.packet_ins_dropped == 1


def test_packet_in_without_primary_is_counted(world: World) -> None:
    world.service.deliver_packet_ins([HEADER] * 3)
    assert world.service.packet_ins_dropped == 3


@given(
    widths=st.lists(st.integers(1, 200), max_size=12),
    data=st.binary(max_size=400),
    ids=st.permutations(range(1, 13)).map(lambda ids: [i * 37 for i in ids]),
)
def test_packet_in_encoding_is_protobufs(widths: list[int], data: bytes, ids: list[int]) -> None:
    """Against the definition: bits from the left, one field after the other, canonical bytes."""
    fields = [
        p4info.ControllerPacketMetadata.Metadata(id=i, bitwidth=w)
        for i, w in zip(ids, widths, strict=False)
    ]
    message = PacketInCodec(fields).encode(data)
    length = -(-sum(widths) // 8)
    if len(data) < length:
        assert message is None
        return
    bits = "".join(f"{byte:08b}" for byte in data[:length])
    expected = p4rt.StreamMessageResponse()
    expected.packet.payload = data[length:]
    for field in fields:
        value, bits = int(bits[: field.bitwidth], 2), bits[field.bitwidth :]
        text = value.to_bytes(field.bitwidth // 8 + 1, "big").lstrip(b"\0") or b"\0"
        expected.packet.metadata.add(metadata_id=field.id, value=text)
    assert p4rt.StreamMessageResponse.FromString(message) == expected


@given(
    values=st.lists(
        st.integers(1, 130).flatmap(lambda w: st.tuples(st.just(w), st.integers(0, 2**w - 1))),
        max_size=8,
    )
)
def test_packet_out_is_the_inverse_of_packet_in(values: list[tuple[int, int]]) -> None:
    fields = [
        p4info.ControllerPacketMetadata.Metadata(id=i + 1, bitwidth=width)
        for i, (width, _) in enumerate(values)
    ]
    metadata = [(i + 1, value.to_bytes(20, "big")) for i, (_, value) in enumerate(values)]
    frame = PacketOutCodec(fields).decode(out(*metadata))
    back = p4rt.StreamMessageResponse.FromString(PacketInCodec(fields).encode(frame)).packet
    assert back.payload == b"frame"
    assert [int.from_bytes(m.value, "big") for m in back.metadata] == [v for _, v in values]


def test_packet_out_header(world: World) -> None:
    stream = world.client.stream().become_primary()
    stream.send(packet=out((1, b"\x02"), (2, b"\x01\xff")))
    assert world.dataplane.packet_outs.get(timeout=20) == b"\x02\xff\x80frame"
    stream.send(packet=out((2, b"\x01")))  # what is left out is zero
    assert world.dataplane.packet_outs.get(timeout=20) == b"\x00\x00\x80frame"


@pytest.mark.parametrize(
    "packet",
    [out((9, b"\1")), out((2, b"\x02\x00")), out((1, b"")), out((1, b"\1"), (1, b"\1"))],
)
def test_bad_packet_out_is_reported_and_dropped(world: World, packet: p4rt.PacketOut) -> None:
    stream = world.client.stream().become_primary()
    stream.send(packet=packet)
    error = stream.recv().error
    assert error.canonical_code == 3
    assert error.packet_out.packet_out.metadata == packet.metadata
    stream.send(packet=out())
    assert world.dataplane.packet_outs.get(timeout=20) == b"\0\0\0frame"
    assert world.dataplane.packet_outs.empty()


def test_packet_out_of_a_backup_is_ignored(world: World) -> None:
    primary, backup = world.client.stream().become_primary(2), world.client.stream()
    backup.send(packet=out(payload=b"before arbitration"))
    backup.arbitrate(1)
    backup.arbitration()
    backup.send(packet=out(payload=b"backup"))
    backup.arbitrate(1)
    backup.arbitration()  # what was sent before has been handled by now
    primary.send(packet=out(payload=b"primary"))
    assert world.dataplane.packet_outs.get(timeout=20) == b"\0\0\0primary"
    assert world.dataplane.packet_outs.empty()


def test_packet_out_without_cpu_port_or_pipeline(bare: World) -> None:
    stream = bare.client.stream().become_primary()
    stream.send(packet=out())
    assert stream.recv().error.canonical_code == 9
    bare.client.push(bare.config(), election_id=Uint(low=1))
    bare.dataplane.cpu_port = None
    stream.send(packet=out())
    error = stream.recv().error
    assert error.canonical_code == 9
    assert "--cpu-port" in error.message


def test_other_stream_messages_are_ignored(world: World) -> None:
    stream = world.client.stream().become_primary()
    stream.send(digest_ack=p4rt.DigestListAck(digest_id=1))
    stream.send()
    stream.arbitrate(1)
    assert stream.arbitration() == (0, 1)


def test_idle_notification_has_exactly_these_fields(world: World) -> None:
    stream = world.client.stream().become_primary()
    exact = Entry(
        key=((1, 0x1FF), (2, 0xFFFFFFFF)),
        action="In.fwd",
        params=(1, 2),
        idle_timeout_ns=1000,
        metadata=b"m",
        controller_metadata=7,
        packets=4,
        bytes=5,
        time_since_last_hit_ns=2000,
    )
    ternary = Entry(key=((0, 0), (0, 0), (0, 0xFFFFF), (1, 0x1FF)), action="In.drop", priority=9)
    world.dataplane.idle.put([("In.exact", exact), ("In.ternary", ternary)])
    notification = stream.recv().idle_timeout_notification
    assert notification.timestamp > 0
    assert list(notification.table_entry) == [
        p4rt.TableEntry(
            table_id=EXACT,
            match=[match(1, exact=b"\1"), match(2, exact=b"\2")],
            idle_timeout_ns=1000,
            metadata=b"m",
            controller_metadata=7,
        ),
        p4rt.TableEntry(table_id=TERNARY, match=[match(4, exact=b"\1")], priority=9),
    ]


def test_a_delivery_that_fails_does_not_end_the_deliveries(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    stream = world.client.stream().become_primary()
    bad: Any = [("In.exact", None)]
    good = Entry(key=((1, 0x1FF), (2, 0xFFFFFFFF)), action="In.drop")
    world.dataplane.idle.put(bad)
    world.dataplane.idle.put([("In.exact", good)])
    notification = stream.recv().idle_timeout_notification
    assert len(notification.table_entry) == 1
    assert "lost what was to be sent" in caplog.text


def test_many_idle_entries_come_in_several_notifications(world: World) -> None:
    stream = world.client.stream().become_primary()
    idle = [
        ("In.exact", Entry(key=((1, 0x1FF), (i, 0xFFFFFFFF)), action="In.drop")) for i in range(501)
    ]
    world.dataplane.idle.put(idle)
    sizes = [len(stream.recv().idle_timeout_notification.table_entry) for _ in range(2)]
    assert sizes == [500, 1]


def session(cut_off: threading.Event | None = None) -> StreamSession:
    return StreamSession("test", cut_off.set if cut_off else lambda: None)


def test_queue_of_a_client_that_does_not_read_is_bounded() -> None:
    slow = session()
    assert slow.offer([b"x"] * (QUEUE_LIMIT - 1)) == 0
    assert slow.offer([b"y"] * 3) == 2
    assert slow.dropped == 2
    slow.send(p4rt.StreamMessageResponse(arbitration=p4rt.MasterArbitrationUpdate(device_id=1)))
    slow.close()
    messages = list(slow.messages())
    assert len(messages) == QUEUE_LIMIT + 1
    assert messages[-2] == b"y"  # the newest are dropped, arbitration never


def test_client_that_ignores_arbitration_updates_is_cut_off() -> None:
    cut_off = threading.Event()
    slow = session(cut_off)
    slow.offer([b"x"] * QUEUE_LIMIT)
    update = p4rt.StreamMessageResponse(arbitration=p4rt.MasterArbitrationUpdate(device_id=1))
    for _ in range(CONTROL_LIMIT):
        slow.send(update)
    assert not cut_off.is_set()
    slow.send(update)
    assert cut_off.is_set()


def test_client_that_does_not_read_blocks_nobody(world: World) -> None:
    """Over real gRPC: a stream that is never read, flooded with more than any buffer holds."""
    calls: list[object] = []
    requests = threading.Event()

    def ask():
        update = p4rt.MasterArbitrationUpdate(device_id=3, election_id=p4rt.Uint128(low=1))
        yield p4rt.StreamMessageRequest(arbitration=update)
        requests.wait(60)

    call = world.client.stub.StreamChannel(ask())
    calls.append(call)
    next(call)  # primary; from here on it does not read
    frame = HEADER + bytes(2000)
    for _ in range(2 * QUEUE_LIMIT // 500 + 20):
        world.service.deliver_packet_ins([frame] * 500)
    assert world.service.packet_ins_dropped > 0
    other = world.client.stream()
    other.arbitrate(2)
    assert other.arbitration() == (0, 2)
    world.service.deliver_packet_ins([HEADER + b"new primary"])
    assert other.recv().packet.payload == b"new primary"
    requests.set()
    call.cancel()


def test_half_close_ends_the_stream_with_ok(world: World) -> None:
    stream = world.client.stream().become_primary()
    stream.half_close()
    assert stream.status()[0].name == "OK"


def test_server_stops_with_open_streams(world: World) -> None:
    stream = world.client.stream().become_primary()
    world.dataplane.stop()
    world.server.stop()
    assert stream.status()[0].name in ("OK", "UNAVAILABLE", "CANCELLED")
    names = {thread.name for thread in threading.enumerate()}
    assert not names & {"packet-in", "idle"}


def test_capabilities(world: World) -> None:
    answer = world.client.stub.Capabilities(p4rt.CapabilitiesRequest(device_id=3))
    assert answer.p4runtime_api_version.count(".") == 2
    with pytest.raises(grpc.RpcError) as error:
        world.client.stub.Capabilities(p4rt.CapabilitiesRequest(device_id=4))
    assert error.value.code() == grpc.StatusCode.NOT_FOUND


def test_bytes_that_wait_are_bounded() -> None:
    slow = StreamSession("slow", lambda: None)
    large = bytes(QUEUE_BYTES // 4)
    assert slow.offer([large] * 3) == 0
    assert slow.offer([large, large, b"x"]) == 2
    assert slow.dropped == 2
    slow.close()
    assert list(slow.messages()) == [large] * 4
    again = StreamSession("again", lambda: None)
    assert again.offer([large] * 4) == 0
    assert next(again.messages()) == large  # what is under way no longer waits
    assert again.offer([large] * 4) == 0
