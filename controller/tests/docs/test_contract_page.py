# SPDX-License-Identifier: Apache-2.0
"""docs/p4-contract.md says what the compiled program says."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from p4rt_stubs.p4.config.v1 import p4info_pb2

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from p4ct.eswitch.enums import DropReason  # noqa: E402  (the path must be set first)
from p4ct.p4runtime.p4info import P4InfoIndex  # noqa: E402

from tools import contract_page  # noqa: E402

Trap = list[dict[str, Any]]


@pytest.fixture(name="message")
def fixture_message() -> p4info_pb2.P4Info:
    """The P4Info of the program, free to be changed."""
    message = p4info_pb2.P4Info()
    message.CopyFrom(contract_page.load()[0].message)
    return message


@pytest.fixture(name="trap")
def fixture_trap() -> Trap:
    return contract_page.load()[1]


def page() -> str:
    return contract_page.PAGE.read_text(encoding="utf-8")


def wanted(message: p4info_pb2.P4Info, trap: Trap) -> str:
    return contract_page.replaced(page(), contract_page.render(P4InfoIndex(message), trap))


def test_the_page_is_what_p4info_says(message: p4info_pb2.P4Info, trap: Trap) -> None:
    contract_page.check(page(), wanted(message, trap))


def action(message: p4info_pb2.P4Info, name: str) -> p4info_pb2.Action:
    return next(found for found in message.actions if found.preamble.name == name)


def table(message: p4info_pb2.P4Info, name: str) -> p4info_pb2.Table:
    return next(found for found in message.tables if found.preamble.name == name)


def changes(message: p4info_pb2.P4Info) -> Iterator[p4info_pb2.P4Info]:
    """P4Info with one change each that the page has to notice."""
    for change in (
        lambda m: setattr(table(m, "ct_v4"), "size", table(m, "ct_v4").size + 1),
        lambda m: setattr(table(m, "ct_v4").match_fields[1], "bitwidth", 64),
        lambda m: setattr(table(m, "ct_v4"), "idle_timeout_behavior", p4info_pb2.Table.NO_TIMEOUT),
        lambda m: setattr(action(m, "ct_forward").params[0], "id", 9),
        lambda m: setattr(m.counters[0], "size", 7),
        lambda m: setattr(m.meters[0].spec, "unit", p4info_pb2.MeterSpec.BYTES),
        lambda m: setattr(m.controller_packet_metadata[0].metadata[2], "bitwidth", 15),
        lambda m: setattr(m.registers[0], "size", 7),
        lambda m: setattr(m.pkg_info, "version", "1.0.1"),
    ):
        changed = p4info_pb2.P4Info()
        changed.CopyFrom(message)
        change(changed)
        assert changed != message
        yield changed


def test_a_changed_program_is_noticed(message: p4info_pb2.P4Info, trap: Trap) -> None:
    for changed in changes(message):
        with pytest.raises(contract_page.PageError, match=r"run tools/contract_page\.py"):
            contract_page.check(page(), wanted(changed, trap))


def test_a_changed_trap_is_noticed(message: p4info_pb2.P4Info, trap: Trap) -> None:
    trap[0]["priority"], trap[1]["priority"] = trap[1]["priority"], trap[0]["priority"]
    with pytest.raises(contract_page.PageError, match="MALFORMED"):
        contract_page.check(page(), wanted(message, trap))


def test_what_is_new_needs_a_meaning(message: p4info_pb2.P4Info, trap: Trap) -> None:
    field = message.controller_packet_metadata[0].metadata.add()
    field.id, field.name, field.bitwidth = 99, "window", 16
    with pytest.raises(contract_page.PageError, match=r"field packet_in\.window has no meaning"):
        contract_page.render(P4InfoIndex(message), trap)


def test_what_is_gone_has_no_meaning(message: p4info_pb2.P4Info, trap: Trap) -> None:
    del message.meters[0]
    with pytest.raises(contract_page.PageError, match="meter punt_meter has a meaning but is not"):
        contract_page.render(P4InfoIndex(message), trap)


def test_a_page_without_its_markers_is_refused() -> None:
    with pytest.raises(contract_page.PageError, match="markers"):
        contract_page.replaced("# The P4 contract\n", "text")


def test_drop_reasons_are_those_of_the_source() -> None:
    """P4Info does not have this enum, so that nothing else would notice a difference."""
    source = (ROOT / "p4src" / "include" / "reasons.p4").read_text(encoding="utf-8")
    body = source.partition("enum bit<8> DropReason {")[2].partition("}")[0]
    members = {name: int(value) for name, value in re.findall(r"(\w+)\s*=\s*(\d+)", body)}
    assert members == {member.name: member.value for member in DropReason}
