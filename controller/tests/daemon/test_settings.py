# SPDX-License-Identifier: Apache-2.0
"""Timeouts and limits are changed while connections live, all of a request or nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from p4ct.conntrack import Limits, Timeouts, Tracker
from p4ct.daemon.commands import CommandError, carry_out
from p4ct.daemon.settings import SettingError, change, settings
from p4ct.packet import parse
from p4ct.packet.build import udp_frame

from .bench import controller_of, write_config


def test_a_changed_timeout_holds_from_the_next_packet_on() -> None:
    tracker = Tracker()
    pkt = parse(udp_frame(src="10.0.0.1", dst="10.0.0.2", sport=1, dport=53, payload=b"x"))
    conns = [tracker.commit(tracker.track(pkt, zone, 0.0), pkt, 0.0) for zone in (1, 5)]
    change(tracker, 5, {"udp": 3.0})
    for zone in (1, 5):
        tracker.track(pkt, zone, 1.0)
    assert [conn.expires for conn in conns] == [31.0, 4.0]
    assert tracker.expire(4.0) == [conns[1]]


def test_zones_and_the_rest() -> None:
    tracker = Tracker()
    change(tracker, 5, {"connections": 9})
    change(tracker, None, {"udp": 7, "per_source": 3})
    assert settings(tracker, 5)["limits"] == {"connections": 9, "unreplied": 0, "per_source": 0}
    assert settings(tracker, 1)["limits"] == {"connections": 0, "unreplied": 0, "per_source": 3}
    assert settings(tracker, 1)["timeouts"]["udp"] == 7
    change(tracker, 5, {"connections": 0})
    assert tracker.limits.for_zone(5) == Limits()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"udp": 5, "upd_stream": 9}, "unknown setting 'upd_stream'; did you mean 'udp_stream'?"),
        ({"udp": 5, "icmp": 0}, "icmp must be above 0 seconds and finite"),
        ({"udp": 5, "icmp": float("inf")}, "icmp must be above 0 seconds and finite"),
        ({"udp": 5, "unreplied": -1}, "unreplied must be a whole number, 0 for no limit"),
        ({"udp": 5, "unreplied": 1.5}, "unreplied must be a whole number, 0 for no limit"),
    ],
)
def test_a_mistake_changes_nothing(values: dict[str, float], said: str) -> None:
    tracker = Tracker()
    with pytest.raises(SettingError) as error:
        change(tracker, 1, values)
    assert str(error.value) == said
    assert (tracker.timeouts, tracker.limits) == (Timeouts(), Limits())


def test_the_command(tmp_path: Path) -> None:
    async def ask(**arguments: Any) -> Any:
        controller = controller_of(write_config(tmp_path))
        return await carry_out(controller, "conntrack-set", arguments)

    answer = asyncio.run(ask(zone=5, values={"udp": 10, "connections": 50}))
    assert (answer["zone"], answer["timeouts"]["udp"], answer["limits"]["connections"]) == (
        5,
        10,
        50,
    )
    with pytest.raises(CommandError, match="did you mean 'udp'"):
        asyncio.run(ask(values={"udpp": 10}))
    with pytest.raises(CommandError, match="zone"):
        asyncio.run(ask(zone=70000))
