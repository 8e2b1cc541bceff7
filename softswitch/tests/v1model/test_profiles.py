# SPDX-License-Identifier: Apache-2.0
"""Action profiles and selectors: members, groups, action sets, watched ports."""

from __future__ import annotations

from collections import Counter

import pytest
from softswitch.api import Entry, Group, GroupMember, Member, WeightedAction
from softswitch.dataplane import Dataplane
from softswitch.errors import (
    BadEntry,
    EntryExists,
    EntryNotFound,
    ObjectInUse,
    TableFull,
    UnknownObject,
)

from .conftest import Runner, through

MARK, SEND = "In.mark", "In.send"
ANY, FULL = (0, 0), 0xFF


@pytest.fixture
def plane(run: Runner) -> Dataplane:
    return run("selector")


def frame(key: int, flow: int) -> bytes:
    return bytes([key, flow, 0, 0])


def ports_of(plane: Dataplane, key: int = 1, flows: int = 64) -> Counter[int]:
    """Where packets of many flows leave."""
    ports: Counter[int] = Counter()
    for flow in range(flows):
        for port, _ in through(plane, frame(key, flow)):
            ports[port] += 1
    return ports


def test_what_the_program_declares(plane: Dataplane) -> None:
    program = plane.program
    assert program is not None
    sel, plain = program.profiles["In.sel"], program.profiles["In.plain"]
    assert (sel.size, sel.with_selector, sel.tables) == (64, True, ("In.choose",))
    assert (plain.size, plain.with_selector) == (16, False)
    assert plain.tables == ("In.first", "In.second")
    assert set(plain.actions) == {MARK, SEND, "NoAction"}
    assert program.tables["In.choose"].profile == "In.sel"


def test_two_tables_share_a_profile_and_each_chooses_its_own_way(plane: Dataplane) -> None:
    plane.member_insert("In.plain", Member(7, MARK, (0xBEEF,)))
    plane.member_insert("In.plain", Member(8, SEND, (5, 0x1234)))
    # p4c gives an indirect table no default action, so a miss takes no branch of the switch.
    assert through(plane, frame(1, 255)) == [(1, b"\x01\x00\x00\x00")]
    plane.insert("In.first", Entry(((1, FULL),), member=7))
    assert through(plane, frame(1, 255)) == [(1, b"\x01\xff\xbe\xef")]
    plane.insert("In.second", Entry((ANY,), member=7, priority=1))
    assert through(plane, frame(1, 255)) == [(2, b"\x01\xff\xbe\xef")]
    plane.modify("In.second", Entry((ANY,), member=8, priority=1))
    assert through(plane, frame(1, 255)) == [(5, b"\x77\xff\x12\x34")]
    plane.member_modify("In.plain", Member(8, MARK, (0x4321,)))
    assert through(plane, frame(1, 255)) == [(2, b"\x01\xff\x43\x21")]
    plane.delete("In.second", (ANY,), 1)
    assert through(plane, frame(1, 255)) == [(1, b"\x01\xff\xbe\xef")]


def test_members_are_counted_and_checked(plane: Dataplane) -> None:
    plane.member_insert("In.plain", Member(1, MARK, (1,)))
    with pytest.raises(EntryExists):
        plane.member_insert("In.plain", Member(1, MARK, (2,)))
    with pytest.raises(EntryNotFound):
        plane.member_modify("In.plain", Member(2, MARK, (2,)))
    with pytest.raises(BadEntry, match="takes 1 parameters"):
        plane.member_insert("In.plain", Member(2, MARK, ()))
    with pytest.raises(BadEntry, match="does not fit 16 bits"):
        plane.member_insert("In.plain", Member(2, MARK, (1 << 16,)))
    with pytest.raises(BadEntry, match=r"no action 'In\.other'"):
        plane.member_insert("In.plain", Member(2, "In.other", ()))
    with pytest.raises(UnknownObject):
        plane.members("In.nothing")
    for number in range(2, 17):
        plane.member_insert("In.plain", Member(number, MARK, (number,)))
    with pytest.raises(TableFull):
        plane.member_insert("In.plain", Member(17, MARK, (2,)))
    plane.insert("In.first", Entry(((1, FULL),), member=1))
    with pytest.raises(ObjectInUse):
        plane.member_delete("In.plain", 1)
    plane.modify("In.first", Entry(((1, FULL),), member=2))
    plane.member_delete("In.plain", 1)
    with pytest.raises(EntryNotFound):
        plane.member_delete("In.plain", 1)
    assert plane.member_get("In.plain", 1) is None
    assert plane.member_get("In.plain", 2) == Member(2, MARK, (2,))
    assert len(plane.members("In.plain")) == 15


def test_entries_name_one_thing(plane: Dataplane) -> None:
    plane.member_insert("In.sel", Member(1, SEND, (5, 1)))
    plane.group_insert("In.sel", Group(1))
    key = ((1, FULL),)
    for bad in (
        Entry(key, SEND, (5, 1)),
        Entry(key),
        Entry(key, member=1, group=1),
        Entry(key, member=1, one_shot=()),
    ):
        with pytest.raises(BadEntry, match="one member, one group or one action set"):
            plane.insert("In.choose", bad)
    with pytest.raises(EntryNotFound, match="no member 2"):
        plane.insert("In.choose", Entry(key, member=2))
    with pytest.raises(EntryNotFound, match="no group 2"):
        plane.insert("In.choose", Entry(key, group=2))
    plane.insert("In.choose", Entry(key, member=1))
    with pytest.raises(EntryExists):
        plane.insert("In.choose", Entry(key, group=1))
    plane.group_delete("In.sel", 1)  # the failed insert did not hold it
    assert plane.get("In.choose", key) == Entry(key, member=1)


def test_a_group_spreads_flows_and_keeps_each_where_it_is(plane: Dataplane) -> None:
    for port in (2, 3, 5):
        plane.member_insert("In.sel", Member(port, SEND, (port, port)))
    plane.group_insert("In.sel", Group(9, (GroupMember(2), GroupMember(3), GroupMember(5, 2))))
    plane.insert("In.choose", Entry(((0, 0),), group=9))
    ports = ports_of(plane)
    assert set(ports) == {2, 3, 5}
    assert ports[5] > max(ports[2], ports[3])
    assert len({through(plane, frame(1, 17))[0] for _ in range(10)}) == 1
    plane.group_modify("In.sel", Group(9, (GroupMember(3),)))
    assert set(ports_of(plane)) == {3}
    with pytest.raises(ObjectInUse):
        plane.group_delete("In.sel", 9)
    with pytest.raises(ObjectInUse):
        plane.member_delete("In.sel", 3)
    plane.member_delete("In.sel", 2)
    assert plane.groups("In.sel") == [Group(9, (GroupMember(3),))]
    plane.delete("In.choose", ((0, 0),))
    plane.group_delete("In.sel", 9)
    plane.member_delete("In.sel", 3)


def test_an_empty_group_is_a_hit_that_runs_no_action(plane: Dataplane) -> None:
    plane.group_insert("In.sel", Group(1))
    plane.insert("In.choose", Entry(((0, 0),), group=1))
    assert through(plane, frame(1, 1)) == [(1, b"\x01\x01\x00\x00")]


def test_groups_are_checked_before_anything_changes(plane: Dataplane) -> None:
    plane.member_insert("In.sel", Member(1, SEND, (5, 1)))
    for group, error in (
        (Group(1, (GroupMember(2),)), EntryNotFound),
        (Group(1, (GroupMember(1, 0),)), BadEntry),
        (Group(1, (GroupMember(1), GroupMember(1))), BadEntry),
        (Group(1, (GroupMember(1, 5),), max_size=4), TableFull),
        (Group(1, (GroupMember(1, 1 << 20),)), TableFull),
    ):
        with pytest.raises(error):
            plane.group_insert("In.sel", group)
    assert plane.groups("In.sel") == []
    with pytest.raises(BadEntry, match="no selector"):
        plane.group_insert("In.plain", Group(1))
    with pytest.raises(EntryNotFound):
        plane.group_modify("In.sel", Group(1))
    plane.member_delete("In.sel", 1)


def test_one_shot_sets(plane: Dataplane) -> None:
    key = ((0, 0),)
    two = (WeightedAction(SEND, (2, 7)), WeightedAction(SEND, (3, 7), 3))
    plane.insert("In.choose", Entry(key, one_shot=two))
    assert plane.get("In.choose", key) == Entry(key, one_shot=two)
    assert list(plane.entries("In.choose")) == [Entry(key, one_shot=two)]
    ports = ports_of(plane)
    assert set(ports) == {2, 3}
    assert ports[3] > ports[2]
    assert plane.members("In.sel") == []
    assert plane.groups("In.sel") == []
    one = (WeightedAction(SEND, (5, 7)),)
    plane.modify("In.choose", Entry(key, one_shot=one))
    assert set(ports_of(plane)) == {5}
    with pytest.raises(TableFull):
        plane.insert("In.choose", Entry(((1, FULL),), one_shot=one * 64))
    plane.delete("In.choose", key)
    plane.insert("In.choose", Entry(((1, FULL),), one_shot=one * 64))  # all is given back
    with pytest.raises(BadEntry):
        plane.insert("In.choose", Entry(((2, FULL),), one_shot=(WeightedAction(SEND, (5, 7), 0),)))


def test_members_wait_for_their_port(plane: Dataplane) -> None:
    for port in (2, 3):
        plane.member_insert("In.sel", Member(port, SEND, (port, port)))
    watched = (GroupMember(2, 1, 2), GroupMember(3, 1, 3))
    plane.group_insert("In.sel", Group(1, watched))
    plane.insert("In.choose", Entry(((0, 0),), group=1))
    assert set(ports_of(plane)) == {2, 3}
    plane.set_port_up(2, False)
    assert set(ports_of(plane)) == {3}
    plane.remove_port(3)
    assert set(ports_of(plane)) == {1}  # nothing is left: as an empty group
    plane.add_memory_port(3)
    plane.set_port_up(2, True)
    assert set(ports_of(plane)) == {2, 3}
    assert plane.group_get("In.sel", 1) == Group(1, watched)


def test_a_new_program_starts_without_members(plane: Dataplane) -> None:
    plane.member_insert("In.sel", Member(1, SEND, (5, 1)))
    program = plane.program
    assert program is not None
    plane.load(program)
    assert plane.members("In.sel") == []
