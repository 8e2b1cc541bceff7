# SPDX-License-Identifier: Apache-2.0
"""Parser, deparser and parser errors."""

from __future__ import annotations

import pytest
from softswitch.dataplane import Dataplane

from .builder import (
    ERRORS,
    Builder,
    assign,
    call,
    const,
    extract,
    field,
    header,
    op,
    parser_op,
    state,
    std,
    whole,
)
from .conftest import Runner, sent

ETH = [("dst", 48), ("src", 48), ("type", 16)]
TAG = [("pcp", 3), ("dei", 1), ("vid", 12), ("type", 16)]
WIDE = [("a", 3), ("b", 200), ("c", 5), ("d", 256), ("e", 72), ("f", 100), ("g", 4)]


def one(plane: Dataplane, frame: bytes, port: int = 1) -> bytes:
    plane.inject(0, frame)
    (got,) = sent(plane, port)
    return got


def error_of(plane: Dataplane, frame: bytes) -> str:
    """The program puts parser_error into the first byte."""
    return ERRORS[one(plane, frame)[0]]


def reporting(builder: Builder) -> Builder:
    """Adds a first byte that carries parser_error."""
    builder.headers = {"report": [("error", 8)], **builder.headers}
    builder.statements(
        call("add_header", header("report")),
        assign(field("report", "error"), std("parser_error")),
        assign(std("egress_spec"), const(1)),
    )
    return builder


def test_bytes_survive_parsing_and_deparsing(run: Runner) -> None:
    builder = Builder({"w": WIDE, "eth": ETH, "tag": TAG})
    builder.statements(assign(std("egress_spec"), const(1)))
    plane = run(builder)
    size = (sum(w for _, w in WIDE) + 112 + 32) // 8
    frame = bytes((7 * i + 3) % 256 for i in range(size + 40))
    assert one(plane, frame) == frame


def test_headers_that_are_set_invalid_are_left_out(run: Runner) -> None:
    builder = Builder({"eth": ETH, "tag": TAG})
    builder.statements(
        assign(field("eth", "type"), field("tag", "type")),
        call("remove_header", header("tag")),
        assign(std("egress_spec"), const(1)),
    )
    frame = bytes(range(12)) + b"\x81\x00" + b"\x20\x05" + b"\x08\x00" + b"payload"
    assert one(run(builder), frame) == bytes(range(12)) + b"\x08\x00" + b"payload"


def test_select_with_masks_takes_the_first_match(run: Runner) -> None:
    builder = Builder({"eth": ETH, "tag": TAG}, [("way", 8)])
    builder.states = [
        state(
            "start",
            [extract("eth")],
            [
                {"type": "field", "value": ["eth", "type"]},
                {"type": "lookahead", "value": [4, 12]},
            ],
            [
                ("0x81000005", None, "five"),
                ("0x81000000", "0xffff0000", "tagged"),
                ("0x08000000", "0xff000000", "low"),
            ],
        ),
        state(
            "five", [parser_op("set", field("meta", "way"), const(5))], [], [(None, None, "tagged")]
        ),
        state("tagged", [extract("tag")]),
        state("low", [parser_op("set", field("meta", "way"), const(8))]),
    ]
    builder.headers = {"report": [("error", 8), ("way", 8)], **builder.headers}
    builder.statements(
        call("add_header", header("report")),
        assign(field("report", "error"), std("parser_error")),
        assign(field("report", "way"), field("meta", "way")),
        assign(std("egress_spec"), const(1)),
    )
    plane = run(builder)
    for rest, way in [
        (b"\x81\x00\x20\x05\x08\x00", 5),
        (b"\x81\x00\x20\x06\x08\x00", 0),
        (b"\x08\x17\x99\x99", 8),
        (b"\x86\xdd\x99\x99", 0),  # no transition matches: parsing stops, without an error
    ]:
        frame = bytes(12) + rest
        assert one(plane, frame) == bytes([0, way]) + frame


@pytest.mark.parametrize("cut", [0, 1, 13])
def test_extract_past_the_end(run: Runner, cut: int) -> None:
    plane = run(reporting(Builder({"eth": ETH}, parse=["eth"])))
    frame = bytes(range(1, cut + 1))
    got = one(plane, frame)
    assert ERRORS[got[0]] == "PacketTooShort"
    assert got[1:] == frame  # nothing was taken from the packet, and it is not dropped


def test_verify_and_advance(run: Runner) -> None:
    builder = Builder({"eth": ETH}, parse=[])
    builder.states = [
        state(
            "start",
            [
                parser_op(
                    "advance", whole(op("*", {"type": "lookahead", "value": [0, 8]}, const(4)))
                ),
                extract("eth"),
                parser_op(
                    "verify",
                    op("!=", field("eth", "type"), const(0x0BAD)),
                    const(ERRORS.index("NoMatch")),
                ),
            ],
        )
    ]
    plane = run(reporting(builder))
    assert one(plane, b"\x04\xff" + bytes(14))[1:] == bytes(14)
    assert error_of(plane, b"\x03" + bytes(20)) == "ParserInvalidArgument"
    assert error_of(plane, b"\xfe" + bytes(20)) == "PacketTooShort"
    assert error_of(plane, b"\x02\xff" + bytes(11) + b"\x0b\xad") == "NoMatch"
    assert error_of(plane, b"") == "PacketTooShort"


def test_a_parser_that_never_ends_is_stopped(run: Runner) -> None:
    builder = Builder({"eth": ETH}, parse=[])
    builder.states = [state("start", [], [], [(None, None, "start")])]
    assert error_of(run(reporting(builder)), bytes(20)) == "ParserTimeout"


def test_wide_fields_are_copied_compared_and_selected(run: Runner) -> None:
    builder = Builder(
        {"w": [("a", 4), ("b", 200), ("c", 4)], "x": [("b", 200)], "r": [("same", 8)]},
        [("keep", 200)],
        parse=["w", "x"],
    )
    builder.statements(
        assign(field("meta", "keep"), field("w", "b")),
        call("add_header", header("r")),
        assign(
            field("r", "same"),
            whole(op("b2d", None, op("==", field("meta", "keep"), field("x", "b")))),
        ),
        assign(field("w", "b"), const((1 << 199) + 5)),
        assign(std("egress_spec"), const(1)),
    )
    plane = run(builder)
    b = bytes(range(25))
    packed = (0xA << 204 | int.from_bytes(b, "big") << 4 | 0x5).to_bytes(26, "big")
    changed = (0xA << 204 | ((1 << 199) + 5) << 4 | 0x5).to_bytes(26, "big")
    assert one(plane, packed + b + b"z") == changed + b + b"\x01" + b"z"
    other = bytes(24) + b"\x19"
    assert one(plane, packed + other) == changed + other + b"\x00"
