# SPDX-License-Identifier: Apache-2.0
"""Group members that watch a port are left out while its interface has no link."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from softswitch.api import Entry, Group, GroupMember, Member
from softswitch.dataplane import Dataplane

from .conftest import Runner, sent
from .links import ip

PROGRAM = Path(__file__).parents[1] / "v1model" / "programs" / "selector.json"
FRAME = b"\x01\x01\x00\x00"
PORT = 7


@pytest.fixture
def plane(run: Runner, veths: list[tuple[str, str]]) -> Iterator[Dataplane]:
    """Port 7 is an interface; a group of members for it and for memory port 2, each if it is up."""
    plane = run(PROGRAM.read_bytes())
    plane.add_port(PORT, veths[0][0])
    for port in (2, PORT):
        plane.member_insert("In.sel", Member(port, "In.send", (port, port)))
    group = Group(1, (GroupMember(PORT, 1, PORT),))
    plane.group_insert("In.sel", group)
    plane.insert("In.choose", Entry(((0, 0),), group=1))
    yield plane
    plane.remove_port(PORT)


def reaches(plane: Dataplane, memory_port: int | None) -> bool:
    """Does a packet leave there within some seconds? None: on the interface, by no memory port."""
    wanted = [] if memory_port is None else [memory_port]
    end = time.monotonic() + 10
    while time.monotonic() < end:
        plane.inject(0, FRAME)
        if [port for port in range(5) if sent(plane, port)] == wanted:
            return True
        time.sleep(0.05)
    return False


def test_members_follow_the_link(plane: Dataplane, veths: list[tuple[str, str]]) -> None:
    far = veths[0][1]
    assert reaches(plane, None)
    for change, port in (("down", 1), ("up", None), ("down", 1)):  # 1: as from an empty group
        ip("link", "set", far, change)
        assert reaches(plane, port)
    plane.group_modify("In.sel", Group(1, (GroupMember(PORT, 1, PORT), GroupMember(2, 1, 2))))
    assert reaches(plane, 2)


def test_administrative_state_and_link_both_count(
    plane: Dataplane, veths: list[tuple[str, str]]
) -> None:
    far = veths[0][1]
    plane.set_port_up(PORT, False)
    assert reaches(plane, 1)
    ip("link", "set", far, "down")
    plane.set_port_up(PORT, True)
    assert reaches(plane, 1)
    ip("link", "set", far, "up")
    assert reaches(plane, None)
