# SPDX-License-Identifier: Apache-2.0
"""A packet's life: drop, exit, resubmit, recirculate, clones, multicast, truncate, packet I/O."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from softswitch.api import Entry
from softswitch.dataplane import Dataplane
from softswitch.errors import NoProgram, PortError

from .builder import DROP, Builder, Json, assign, call, const, field, header, op, std, whole
from .conftest import SANITIZE, Runner, sent

H = [("a", 8), ("b", 8), ("c", 16)]


def program(*ingress: Json, egress: list[Json] | None = None, **extra: object) -> Builder:
    builder = Builder({"h": H}, [("keep", 8), ("lose", 8)])
    builder.statements(*ingress)
    if egress:
        builder.statements(*egress, pipeline="egress")
    builder.extra = {
        "field_lists": [
            {"id": 1, "name": "fl", "elements": [field("meta", "keep")]},
            {"id": 2, "name": "none", "elements": []},
        ],
        **extra,
    }
    return builder


def unless(cond: Json, *primitives: Json, at: int) -> list[Json]:
    """Skips the primitives if cond is 0; `at`: index of the jump in its action."""
    return [call("_jump_if_zero", cond, const(at + 1 + len(primitives))), *primitives]


def test_nothing_assigned_means_port_0(run: Runner) -> None:
    plane = run(program())
    plane.inject(2, b"abcd")
    assert sent(plane, 0) == [b"abcd"]


def test_drop_and_undrop(run: Runner) -> None:
    undrop = unless(
        whole(op("b2d", None, op("==", field("h", "a"), const(1)))),
        assign(std("egress_spec"), const(3)),
        at=1,
    )
    plane = run(program(DROP, *undrop))
    plane.inject(0, b"\x00bcd")
    plane.inject(0, b"\x01bcd")
    assert [sent(plane, p) for p in range(5)] == [[], [], [], [b"\x01bcd"], []]


def test_drop_in_egress(run: Runner) -> None:
    plane = run(program(assign(std("egress_spec"), const(1)), egress=[DROP]))
    plane.inject(0, b"abcd")
    assert sent(plane, 1) == []


def test_egress_sees_its_port_and_cannot_change_it(run: Runner) -> None:
    egress = [
        assign(field("h", "a"), std("egress_port")),
        assign(field("h", "b"), std("egress_spec")),
        assign(std("egress_port"), const(3)),
    ]
    plane = run(program(assign(std("egress_spec"), const(2)), egress=egress))
    plane.inject(0, b"abcd")
    assert sent(plane, 2) == [b"\x02\x00cd"]


def test_exit_ends_one_pipeline(run: Runner) -> None:
    builder = program(
        assign(std("egress_spec"), const(1)),
        call("exit"),
        egress=[assign(field("h", "b"), const(9))],
    )
    builder.statements(assign(field("h", "a"), const(7)))
    plane = run(builder)
    plane.inject(0, b"abcd")
    assert sent(plane, 1) == [b"a\x09cd"]


def test_metadata_starts_at_zero_for_each_packet(run: Runner) -> None:
    builder = program(
        assign(field("h", "a"), field("meta", "keep")),
        assign(field("meta", "keep"), const(5)),
        assign(std("egress_spec"), const(1)),
    )
    plane = run(builder)
    plane.inject(0, b"abcd")
    plane.inject(0, b"abcd")
    assert sent(plane, 1) == [b"\x00bcd"] * 2


def again(primitive: str, number: int) -> Json:
    return call(primitive, const(number))


@pytest.mark.parametrize("how", ["resubmit", "recirculate"])
def test_second_pass(run: Runner, how: str) -> None:
    """c counts: instance type in its high byte, the preserved field in its low byte."""
    mark: list[Json] = [
        assign(field("meta", "keep"), const(0x11)),
        assign(field("meta", "lose"), const(0x22)),
    ]
    report = [
        assign(field("h", "a"), std("instance_type")),
        assign(field("h", "b"), whole(op("+", field("meta", "keep"), field("meta", "lose")))),
        assign(
            field("h", "c"),
            whole(op("+", op("*", std("ingress_port"), const(256)), std("packet_length"))),
        ),
    ]
    builder = Builder({"h": H, "extra": [("x", 8)]}, [("keep", 8), ("lose", 8)], parse=["h"])
    builder.extra["field_lists"] = [{"id": 1, "name": "fl", "elements": [field("meta", "keep")]}]
    one = builder.action(
        "first_pass",
        [
            *mark,
            *([again(how, 1)] if how == "resubmit" else []),
            call("add_header", header("extra")),
        ],
    )
    two = builder.action("second_pass", report)
    builder.table(
        "pass",
        [("standard_metadata", "instance_type", "exact")],
        [one, two],
        default=(two, []),
        entries=[
            {
                "match_key": [{"match_type": "exact", "key": "0x0"}],
                "action_entry": {"action_id": one, "action_data": []},
                "priority": 1,
            }
        ],
    )
    builder.statements(assign(std("egress_spec"), const(1)))
    if how == "recirculate":
        egress = unless(
            whole(op("b2d", None, op("==", field("meta", "lose"), const(0x22)))),
            again(how, 1),
            at=0,
        )
        builder.statements(*egress, pipeline="egress")
    plane = run(builder)
    plane.inject(3, b"abcdefgh")
    if how == "resubmit":  # the original packet: nothing that the first pass changed
        assert sent(plane, 1) == [b"\x06\x11\x00\x08efgh"]
    else:  # the deparsed packet: the emitted header is now in front of the payload
        assert sent(plane, 1) == [b"\x04\x11\x00\x09\x00efgh"]


def test_a_packet_that_always_comes_back_is_dropped(run: Runner) -> None:
    plane = run(program(again("resubmit", 2)))
    plane.inject(0, b"abcd")
    assert all(sent(plane, p) == [] for p in range(5))
    assert plane.stats().pass_limit_dropped == 1
    plane = run(program(egress=[again("recirculate", 2)]))
    plane.inject(0, b"abcd")
    assert plane.stats().pass_limit_dropped == 1


def test_multicast(run: Runner) -> None:
    egress = [
        assign(field("h", "a"), std("egress_rid")),
        assign(field("h", "b"), std("instance_type")),
    ]
    plane = run(program(assign(std("mcast_grp"), field("h", "c")), egress=egress))
    plane.mc_group_set(7, [(1, 10), (2, 20), (2, 21)])
    plane.inject(0, b"ab\x00\x07rest")
    assert sent(plane, 1) == [b"\x0a\x05\x00\x07rest"]
    assert sent(plane, 2) == [b"\x14\x05\x00\x07rest", b"\x15\x05\x00\x07rest"]
    plane.inject(0, b"ab\x00\x08rest")  # no such group: dropped
    plane.mc_group_set(7, None)
    plane.inject(0, b"ab\x00\x07rest")
    assert all(sent(plane, p) == [] for p in range(5))


def test_ingress_clone_is_the_original_packet(run: Runner) -> None:
    builder = program(
        assign(std("egress_spec"), const(1)),
        assign(field("meta", "keep"), const(0x11)),
        assign(field("meta", "lose"), const(0x22)),
        call("clone_ingress_pkt_to_egress", const(5), const(1)),
        assign(field("h", "c"), const(0)),
        egress=[
            assign(field("h", "a"), whole(op("+", field("meta", "keep"), field("meta", "lose")))),
            assign(field("h", "b"), std("instance_type")),
        ],
    )
    plane = run(builder)
    plane.inject(0, b"abcdefgh")
    assert sent(plane, 1) == [b"\x33\x00\x00\x00efgh"]  # no such session: no clone
    plane.clone_session_set(5, [(2, 0), (3, 0)], 6)
    plane.inject(0, b"abcdefgh")
    assert sent(plane, 1) == [b"\x33\x00\x00\x00efgh"]
    assert sent(plane, 2) == [b"\x11\x01cdef"]
    assert sent(plane, 3) == [b"\x11\x01cdef"]


def test_egress_clone_has_the_headers_of_the_end_of_egress(run: Runner) -> None:
    is_clone = whole(op("b2d", None, op("!=", std("instance_type"), const(2))))
    builder = program(
        assign(std("egress_spec"), const(1)),
        assign(field("meta", "keep"), const(0x11)),
        egress=[
            assign(field("h", "b"), whole(op("+", field("meta", "keep"), std("instance_type")))),
            *unless(is_clone, call("clone_egress_pkt_to_egress", const(5), const(1)), at=1),
            assign(field("h", "a"), whole(op("+", field("h", "a"), const(1)))),
        ],
    )
    plane = run(builder)
    plane.clone_session_set(5, [(2, 0)])
    plane.inject(0, b"\x00bcd")
    assert sent(plane, 1) == [b"\x01\x11cd"]
    assert sent(plane, 2) == [b"\x02\x13cd"]


def test_clones_of_clones_end(run: Runner) -> None:
    builder = program(egress=[call("clone_egress_pkt_to_egress", const(5), const(2))])
    plane = run(builder)
    plane.clone_session_set(5, [(2, 0)])
    plane.inject(0, b"abcd")
    assert 5 < len(sent(plane, 2)) < 100
    assert plane.stats().pass_limit_dropped > 0


@pytest.mark.parametrize("keep", [0, 2, 4, 6, 100])
def test_truncate(run: Runner, keep: int) -> None:
    plane = run(program(call("truncate", const(keep)), call("truncate", const(90))))
    plane.inject(0, b"abcdefgh")
    assert sent(plane, 0) == [b"abcdefgh"[:keep]]


def test_packet_in_and_packet_out(run: Runner) -> None:
    builder = program(
        assign(std("egress_spec"), field("h", "c")),
        egress=[assign(field("h", "a"), std("egress_port"))],
    )
    plane = run(builder)
    plane.inject(0, b"ab\x01\xfe" + b"up")
    plane.inject(0, b"ab\x01\xfe" + b"again")
    assert plane.wait_packet_ins(0) == [b"\xfeb\x01\xfeup", b"\xfeb\x01\xfeagain"]
    assert plane.wait_packet_ins(0) == []
    plane.packet_out(b"ab\x00\x02down")
    assert sent(plane, 2) == [b"\x02b\x00\x02down"]


def test_packet_ins_are_bounded_and_the_loss_is_counted(run: Runner) -> None:
    plane = run(program(assign(std("egress_spec"), const(510))))
    for _ in range(10000):
        plane.inject(0, bytes(1500))
    dropped = plane.stats().packet_in_dropped
    assert dropped > 0
    got = 0
    while frames := plane.wait_packet_ins(0):
        got += len(frames)
    assert got + dropped == 10000


def test_port_that_does_not_exist(run: Runner) -> None:
    plane = run(program(assign(std("egress_spec"), field("h", "c"))))
    plane.inject(0, b"ab\x00\x09")
    assert plane.stats().no_such_port_dropped == 1


def test_port_statistics(run: Runner) -> None:
    plane = run(program(assign(std("egress_spec"), const(1))))
    plane.inject(2, bytes(100))
    ports = plane.stats().ports
    assert (ports[2].rx_packets, ports[2].rx_bytes) == (1, 100)
    assert (ports[1].tx_packets, ports[1].tx_bytes) == (1, 100)


def test_tap_sees_both_directions(run: Runner) -> None:
    plane = run(program(assign(std("egress_spec"), const(1)), assign(field("h", "a"), const(0))))
    seen: list[tuple[str, int, bytes]] = []
    both = threading.Event()

    def tap(direction: str, port: int, frame: bytes, time_ns: int) -> None:
        seen.append((direction, port, frame))
        if len(seen) == 2:
            both.set()

    plane.set_tap(tap)
    plane.inject(2, b"abcd")
    assert both.wait(10)
    assert seen == [("in", 2, b"abcd"), ("out", 1, b"\x00bcd")]
    plane.set_tap(None)
    plane.inject(2, b"abcd")
    assert plane.stats().tap_dropped == 0


def test_errors_of_ports(run: Runner) -> None:
    plane = run(program())
    with pytest.raises(PortError, match="in use"):
        plane.add_memory_port(1)
    with pytest.raises(PortError, match="CPU port"):
        plane.add_memory_port(510)
    with pytest.raises(PortError, match=r"port 9 \(interface ssno0\): no such interface"):
        plane.add_port(9, "ssno0")
    with pytest.raises(PortError, match="no such port"):
        plane.remove_port(9)
    with pytest.raises(PortError, match="at most 65535"):
        plane.inject(0, bytes(65536))
    plane.remove_port(1)
    plane.add_memory_port(1)


def test_without_a_program(cache_dir: Path) -> None:
    plane = Dataplane(cache_dir=cache_dir, sanitize=SANITIZE)
    plane.add_memory_port(1)
    with pytest.raises(NoProgram):
        plane.inject(1, b"x")
    with pytest.raises(NoProgram):
        plane.insert("t", Entry((), "a"))
    with pytest.raises(PortError, match="--cpu-port"):
        plane.packet_out(b"x")
    plane.start()
    plane.stop()
    plane.stop()
