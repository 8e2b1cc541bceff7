# SPDX-License-Identifier: Apache-2.0
"""What a program that is built with a trace says about its packets, and that others say nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from softswitch.api import Entry
from softswitch.bmv2 import loader
from softswitch.codegen.generate import generate
from softswitch.dataplane import Dataplane
from softswitch.program import Program

TESTS = Path(__file__).parents[1]
L2 = (TESTS / "programs" / "compiled" / "l2.json").read_bytes()
PROGRAMS = sorted((TESTS / "v1model" / "programs").glob("*.json"))
DST = 0x020000000001
FRAME = DST.to_bytes(6, "big") + bytes(6) + b"\x08\x00" + bytes(46)


@pytest.fixture
def plane(cache_dir: Path) -> Iterator[Dataplane]:
    plane = Dataplane(cpu_port=510, cache_dir=cache_dir)
    for port in range(3):
        plane.add_memory_port(port)
    plane.load(Program.load(L2, cache_dir=cache_dir, trace=True))
    yield plane
    plane.stop()


def said(plane: Dataplane, packet: int, copy: int = 0) -> list[str]:
    """The lines about one copy of a packet, as `LEVEL text`."""
    own = f"[{packet}.{copy}] [cxt 0] "
    lines = [f"{level} {text}" for level, text in plane.read_trace(0)]
    return [line.replace(own, "") for line in lines if own in line]


def test_the_way_of_a_packet_in_bmv2s_words(plane: Dataplane) -> None:
    plane.insert("L2Ingress.l2", Entry(((DST, 2**48 - 1),), "L2Ingress.forward", (2,)))
    plane.inject(1, FRAME)
    # As simple_switch_grpc with logging logs this packet, without the nodes that only hold
    # statements.
    assert said(plane, 0) == [
        "D Processing packet received on port 1",
        "D Parser 'parser': start",
        "D Parser 'parser' entering state 'start'",
        "D Parser state 'start': key is 0001",
        "D Parser 'parser' entering state 'from_wire'",
        "D Extracting header 'ethernet'",
        "T Bytes parsed: 14",
        "D Parser 'parser': end",
        "D Pipeline 'ingress': start",
        'T l2.p4(105) Condition "hdr.packet_out.isValid()" (node_2) is false',
        "T Action l2l109",
        "T l2.p4(109) Primitive (bit<32>) std.ingress_port",
        "T l2.p4(109) Primitive received.count((bit<32>) std.ingress_port)",
        "T l2.p4(110) Primitive (bit<32>) std.ingress_port",
        "T l2.p4(110) Primitive (bit<32>) hdr.ethernet.type",
        "T l2.p4(110) Primitive last_type.write((bit<32>) std.ingress_port,"
        " (bit<32>) hdr.ethernet.type)",
        "T Applying table 'L2Ingress.l2'",
        "D Looking up key:\n* hdr.ethernet.dst    : 020000000001\n",
        "D Table 'L2Ingress.l2': hit with handle 0",
        "D Action entry is L2Ingress.forward - 2,",
        "T Action L2Ingress.forward",
        "T l2.p4(66) Primitive std.egress_spec = port",
        "T Applying table 'L2Ingress.policer'",
        "D Looking up key:\n* port                : 0001\n* type                : 0800\n",
        "D Table 'L2Ingress.policer': miss",
        "D Action entry is NoAction - ",
        "T Action NoAction",
        'T l2.p4(113) Condition "meta.color == 2" (node_7) is false',
        "D Pipeline 'ingress': end",
        "D Egress port is 2",
        "D Pipeline 'egress': start",
        'T l2.p4(123) Condition "std.egress_rid != 0" (node_11) is false',
        "D Pipeline 'egress': end",
        "D Deparser 'deparser': start",
        "D Deparsing header 'ethernet'",
        "D Deparser 'deparser': end",
        "D Transmitting packet of size 60 out of port 2",
    ]


def test_copies_have_numbers(plane: Dataplane) -> None:
    plane.insert("L2Ingress.l2", Entry(((DST, 2**48 - 1),), "L2Ingress.mirror", (1, 5)))
    plane.clone_session_set(5, [(0, 1), (2, 2)])
    plane.inject(1, FRAME)
    lines = [text for _, text in plane.read_trace(0)]
    sent = [line for line in lines if "Transmitting" in line or "Cloning" in line]
    assert sent == [
        "[0.0] [cxt 0] Cloning packet at ingress",
        "[0.1] [cxt 0] Transmitting packet of size 60 out of port 0",
        "[0.2] [cxt 0] Transmitting packet of size 60 out of port 2",
        "[0.0] [cxt 0] Transmitting packet of size 60 out of port 1",
    ]


def test_parser_errors_and_drops(plane: Dataplane) -> None:
    plane.inject(1, b"abc")
    assert "E Exception while parsing: PacketTooShort" in said(plane, 0)
    plane.set_default("L2Ingress.l2", "L2Ingress.drop")
    plane.inject(1, FRAME)
    assert "D Dropping packet at the end of ingress" in said(plane, 1)


def test_lines_that_nobody_reads_are_bounded_and_counted(plane: Dataplane) -> None:
    while not plane.log_dropped():
        plane.inject(1, FRAME)
    assert len(plane.read_trace(0)) > 100
    plane.inject(1, FRAME)


def test_other_programs_do_not_know_of_traces() -> None:
    text = generate(loader.load(L2))
    assert "trace" not in text
    assert "trace" in generate(loader.load(L2), trace=True)


def test_source_text_cannot_reach_the_code(cache_dir: Path) -> None:
    program = json.loads(L2)
    hostile = 'x"); abort(); //\n#error %s %n {} \\" ??/ \x00 \u202e'
    for action in program["actions"]:
        for call in action["primitives"]:
            call["source_info"] = {"filename": hostile, "line": 1, "source_fragment": hostile}
    for node in program["pipelines"][0]["conditionals"]:
        node["source_info"] = {"filename": hostile, "line": 1, "source_fragment": hostile}
    plane = Dataplane(cpu_port=510, cache_dir=cache_dir)
    plane.load(Program.load(json.dumps(program).encode(), cache_dir=cache_dir, trace=True))
    plane.inject(0, FRAME)
    lines = [text for _, text in plane.read_trace(0)]
    plane.stop()
    assert any(re.search(r'Primitive x"\); abort\(\); // #error %s %n { } \\" \?\?/', line)
               for line in lines)  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_every_construct_can_be_traced(program: Path, cache_dir: Path) -> None:
    plane = Dataplane(cpu_port=510, cache_dir=cache_dir)
    plane.add_memory_port(0)
    plane.load(Program.load(program.read_bytes(), cache_dir=cache_dir, trace=True))
    plane.inject(0, bytes(range(200)))
    lines = [text for _, text in plane.read_trace(0)]
    plane.stop()
    assert lines[0].endswith("Processing packet received on port 0")
    assert any("Transmitting packet" in line or "Dropping packet" in line for line in lines)
