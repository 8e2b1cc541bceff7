# SPDX-License-Identifier: Apache-2.0
"""The server in front of the real data plane: a compiled program, memory ports, real packets."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import grpc
import pytest
from google.protobuf import text_format
from p4rt_stubs.p4.config.v1 import p4info_pb2 as p4info
from p4rt_stubs.p4.v1 import p4data_pb2 as p4data
from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4rt
from softswitch.dataplane import Dataplane
from softswitch.p4runtime.pipeline import PipelineManager
from softswitch.p4runtime.server import P4RuntimeServer
from softswitch.p4runtime.service import Service
from softswitch.program import Program

from .client import DEVICE, Stream, TestClient, Uint, action, codes, first, match, update

# The program builder belongs to the tests of the data plane, another test package.
_spec = importlib.util.spec_from_file_location(
    "softswitch_test_builder", Path(__file__).parents[1] / "dataplane" / "builder.py"
)
builder = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(builder)

CPU = 510
P4INFO = """
tables {
  preamble { id: 1 name: "exact" }
  match_fields { id: 1 name: "dst" bitwidth: 16 match_type: EXACT }
  action_refs { id: 11 } action_refs { id: 12 } action_refs { id: 13 }
  direct_resource_ids: 31 size: 4 idle_timeout_behavior: NOTIFY_CONTROL
}
tables {
  preamble { id: 2 name: "acl" }
  match_fields { id: 1 name: "src" bitwidth: 16 match_type: TERNARY }
  match_fields { id: 2 name: "dst" bitwidth: 16 match_type: RANGE }
  action_refs { id: 12 } action_refs { id: 13 }
  size: 64
}
actions { preamble { id: 11 name: "fwd" } params { id: 1 name: "port" bitwidth: 9 } }
actions { preamble { id: 12 name: "drop" } }
actions { preamble { id: 13 name: "nop" } }
counters { preamble { id: 21 name: "seen" } spec { unit: BOTH } size: 4 }
meters { preamble { id: 22 name: "police" } spec { unit: PACKETS } size: 4 }
registers {
  preamble { id: 23 name: "store" } type_spec { bitstring { bit { bitwidth: 12 } } } size: 4
}
direct_counters { preamble { id: 31 name: "exact_counter" } spec { unit: BOTH } direct_table_id: 1 }
controller_packet_metadata {
  preamble { id: 41 name: "packet_in" }
  metadata { id: 1 name: "dst" bitwidth: 16 } metadata { id: 2 name: "src" bitwidth: 16 }
}
controller_packet_metadata {
  preamble { id: 42 name: "packet_out" }
  metadata { id: 1 name: "dst" bitwidth: 16 } metadata { id: 2 name: "src" bitwidth: 16 }
}
"""


def program() -> bytes:
    """Frames are dst(16) src(16) payload; unknown ones go to the CPU port, `acl` may drop."""
    b = builder.Builder({"h": [("dst", 16), ("src", 16)]}, meta=[("color", 2)])
    b.extra = {
        "counter_arrays": [
            {"name": "seen", "id": 0, "size": 4, "is_direct": False},
            {"name": "exact_counter", "id": 1, "is_direct": True, "binding": "exact"},
        ],
        "meter_arrays": [
            {
                "name": "police",
                "id": 0,
                "is_direct": False,
                "size": 4,
                "rate_count": 2,
                "type": "packets",
            }
        ],
        "register_arrays": [{"name": "store", "id": 0, "size": 4, "bitwidth": 12}],
    }
    b.statements(
        builder.assign(builder.std("egress_spec"), builder.const(CPU)),
        builder.call("count", builder.named("counter_array", "seen"), builder.const(1)),
        builder.call(
            "execute_meter",
            builder.named("meter_array", "police"),
            builder.const(1),
            builder.field("meta", "color"),
        ),
        builder.call(
            "register_write",
            builder.named("register_array", "store"),
            builder.const(1),
            builder.field("h", "src"),
        ),
    )
    fwd = b.action(
        "fwd", [builder.assign(builder.std("egress_spec"), builder.param(0))], [("port", 9)]
    )
    drop = b.action("drop", [builder.DROP])
    nop = b.action("nop", [])
    b.table(
        "exact",
        [("h", "dst", "exact")],
        [fwd, drop, nop],
        default=(nop, []),
        max_size=4,
        with_counters=True,
        support_timeout=True,
    )
    b.table(
        "acl",
        [("h", "src", "ternary"), ("h", "dst", "range")],
        [drop, nop],
        default=(nop, []),
        match_type="range",
    )
    return b.json()


@dataclass
class Real:
    dataplane: Dataplane
    client: TestClient
    stream: Stream

    def write(self, kind: str, **entity: object) -> None:
        self.client.write(update(kind, **entity), election_id=Uint(low=1))

    def inject(self, dst: int, src: int = 9, payload: bytes = b"payload") -> None:
        self.dataplane.inject(0, dst.to_bytes(2, "big") + src.to_bytes(2, "big") + payload)

    def sent(self, port: int) -> bytes | None:
        return self.dataplane.read_memory_port(port, 0)


def entry(dst: int, port: int = 2, **more: object) -> p4rt.TableEntry:
    fields = {
        "table_id": 1,
        "match": [match(1, exact=dst.to_bytes(2, "big").lstrip(b"\0") or b"\0")],
        "action": action(11, (1, bytes([port]))),
        **more,
    }
    return p4rt.TableEntry(**fields)


@pytest.fixture
def real(cache_dir: Path) -> Iterator[Real]:
    dataplane = Dataplane(cpu_port=CPU, cache_dir=cache_dir)
    for port in range(4):
        dataplane.add_memory_port(port)
    dataplane.set_clock_ns(1_000_000_000)
    pipelines = PipelineManager(dataplane, partial(Program.load, cache_dir=cache_dir))
    server = P4RuntimeServer(Service(DEVICE, dataplane, pipelines), dataplane, "127.0.0.1:0")
    server.start()
    client = TestClient(server.port)
    stream = client.stream().become_primary()
    client.push(
        p4rt.ForwardingPipelineConfig(
            p4info=text_format.Parse(P4INFO, p4info.P4Info()), p4_device_config=program()
        ),
        election_id=Uint(low=1),
    )
    yield Real(dataplane, client, stream)
    client.close()
    dataplane.stop()
    server.stop()


def test_miss_is_punted_hit_is_forwarded(real: Real) -> None:
    real.inject(0x0102)
    packet = real.stream.recv().packet
    assert packet.payload == b"payload"
    assert [(m.metadata_id, m.value) for m in packet.metadata] == [(1, b"\x01\x02"), (2, b"\x09")]
    real.write("INSERT", table_entry=entry(0x0102, port=2))
    real.inject(0x0102)
    assert real.sent(2) == b"\x01\x02\x00\x09payload"
    real.write("MODIFY", table_entry=entry(0x0102, port=3))
    real.inject(0x0102)
    assert (real.sent(2), real.sent(3)) == (None, b"\x01\x02\x00\x09payload")
    read = first(real.client.table(table_id=1, counter_data={}))
    assert read.counter_data == p4rt.CounterData(packet_count=2, byte_count=22)
    real.write("DELETE", table_entry=entry(0x0102))
    real.inject(0x0102)
    assert real.sent(3) is None
    assert real.stream.recv().packet == packet


def test_packet_out_runs_the_pipeline(real: Real) -> None:
    real.write("INSERT", table_entry=entry(7, port=1))
    metadata = [p4rt.PacketMetadata(metadata_id=1, value=b"\x07")]
    real.stream.send(packet=p4rt.PacketOut(payload=b"out", metadata=metadata))
    assert real.dataplane.read_memory_port(1, 20) == b"\0\x07\0\0out"


def test_ternary_and_range(real: Real) -> None:
    real.write("INSERT", table_entry=entry(7, port=1))
    key = [match(1, ternary=(b"\x01\x00", b"\xff\x00")), match(2, range=(b"\x05", b"\x08"))]
    acl = p4rt.TableEntry(table_id=2, match=key, priority=5, action=action(12))
    real.write("INSERT", table_entry=acl)
    real.inject(7, src=0x0133)
    assert real.sent(1) is None
    real.inject(7, src=0x0233)
    assert real.sent(1) is not None
    assert first(real.client.table(table_id=2)) == acl
    allow = p4rt.TableEntry(table_id=2, match=key[1:], priority=6, action=action(13))
    real.write("INSERT", table_entry=allow)
    real.inject(7, src=0x0133)
    assert real.sent(1) is not None  # the higher number wins


def test_batch_with_every_refusal_of_the_data_plane(real: Real) -> None:
    updates = [update("INSERT", table_entry=entry(i)) for i in (1, 1, 2, 3, 4, 5)]
    updates += [update(kind, table_entry=entry(9)) for kind in ("MODIFY", "DELETE")]
    with pytest.raises(grpc.RpcError) as error:
        real.client.write(*updates, election_id=Uint(low=1))
    assert codes(error.value) == [0, 6, 0, 0, 0, 8, 5, 5]
    assert sorted(e.match[0].exact.value[0] for e in real.client.table(table_id=1)) == [1, 2, 3, 4]


def test_everything_of_an_entry_comes_back(real: Real) -> None:
    written = entry(1, metadata=b"a\0b" * 30, controller_metadata=2**64 - 1, idle_timeout_ns=10**9)
    real.write("INSERT", table_entry=written)
    assert real.client.table(table_id=1) == [written]
    assert real.client.table(table_id=1, match=written.match) == [written]


def test_counters_meters_and_registers(real: Real) -> None:
    real.inject(1, src=0xABC)
    (cell,) = real.client.read(
        counter_entry=p4rt.CounterEntry(counter_id=21, index=p4rt.Index(index=1))
    )
    assert cell.counter_entry.data == p4rt.CounterData(packet_count=1, byte_count=11)
    (cell,) = real.client.read(
        register_entry=p4rt.RegisterEntry(register_id=23, index=p4rt.Index(index=1))
    )
    assert cell.register_entry.data.bitstring == b"\x0a\xbc"
    real.write(
        "MODIFY",
        register_entry=p4rt.RegisterEntry(
            register_id=23, index=p4rt.Index(index=2), data=p4data.P4Data(bitstring=b"\x07")
        ),
    )
    assert real.dataplane.register_read("store", 2) == 7
    config = p4rt.MeterConfig(cir=1, cburst=2, pir=3, pburst=4)
    meter = p4rt.MeterEntry(meter_id=22, index=p4rt.Index(index=1), config=config)
    real.write("MODIFY", meter_entry=meter)
    cells = [e.meter_entry for e in real.client.read(meter_entry=p4rt.MeterEntry(meter_id=22))]
    assert [c.HasField("config") for c in cells] == [False, True, False, False]
    assert cells[1] == meter


def test_direct_counter_can_be_written(real: Real) -> None:
    data = p4rt.CounterData(packet_count=5, byte_count=600)
    real.write("INSERT", table_entry=entry(1, counter_data=data))
    real.inject(1)
    (cell,) = real.client.read(
        direct_counter_entry=p4rt.DirectCounterEntry(table_entry=p4rt.TableEntry(table_id=1))
    )
    assert cell.direct_counter_entry.data == p4rt.CounterData(packet_count=6, byte_count=611)


def test_default_action(real: Real) -> None:
    default = {"table_id": 1, "is_default_action": True}
    real.write("MODIFY", table_entry=p4rt.TableEntry(**default, action=action(11, (1, b"\3"))))
    real.inject(1)
    assert real.sent(3) is not None
    real.write("MODIFY", table_entry=p4rt.TableEntry(**default))
    assert first(real.client.table(**default)).action.action.action_id == 13


def test_idle_notification(real: Real) -> None:
    written = entry(1, idle_timeout_ns=1_000_000, metadata=b"m", controller_metadata=4)
    real.write("INSERT", table_entry=written)
    real.dataplane.set_clock_ns(2_000_000_000)
    (idle,) = real.stream.recv().idle_timeout_notification.table_entry
    written.ClearField("action")
    assert idle == written


def test_push_with_an_unsupported_construct_changes_nothing(real: Real) -> None:
    real.write("INSERT", table_entry=entry(7, port=1))
    bad = builder.Builder({"h": [("dst", 16), ("src", 16)]})
    bad.statements(builder.call("frobnicate", line=42))
    config = p4rt.ForwardingPipelineConfig(p4_device_config=bad.json())
    config.p4info.SetInParent()
    with pytest.raises(grpc.RpcError) as error:
        real.client.push(config, election_id=Uint(low=1))
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "frobnicate" in error.value.details()
    assert "test.p4:42" in error.value.details()
    real.inject(7)
    assert real.sent(1) is not None


def test_push_clears_everything(real: Real) -> None:
    real.write("INSERT", table_entry=entry(7, port=1))
    real.inject(7, src=1)
    config = p4rt.ForwardingPipelineConfig(
        p4info=text_format.Parse(P4INFO, p4info.P4Info()), p4_device_config=program()
    )
    real.client.push(config, election_id=Uint(low=1))
    assert real.client.table(table_id=0) == []
    cells = real.client.read(counter_entry=p4rt.CounterEntry())
    assert [c.counter_entry.data.packet_count for c in cells] == [0] * 4
    cells = real.client.read(register_entry=p4rt.RegisterEntry())
    assert [c.register_entry.data.bitstring for c in cells] == [b"\0"] * 4
