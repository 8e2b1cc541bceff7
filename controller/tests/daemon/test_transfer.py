# SPDX-License-Identifier: Apache-2.0
"""Export and import of the connection table: nothing is lost, and nothing is taken in by halves."""

from __future__ import annotations

import asyncio
import copy
import json
from pathlib import Path
from typing import Any

import pytest
from p4ct.conntrack import Connection, CtState, Tracker
from p4ct.daemon.transfer import MAX_PROBLEMS, TransferError, check, export, read
from p4ct.packet import build

from ..conntrack.conftest import ORIG, REPLY, Wire
from ..offload.model import ACK, IP, MAC, SYN, Tcp, World, learn
from .bench import SCRIPTS
from .test_events import begin, serving


def tables() -> World:
    """Connections of every kind; the first has entries."""
    world = World()
    learn(world)
    tcp = Tcp(world).offload()
    tcp.send("vm1", ACK, b"by hardware")
    Tcp(world, sport=41000).send("vm1", SYN)
    Tcp(world, sport=42000, v6=True).open()
    for reply in (False, True):
        source, target = ("ext", "vm1") if reply else ("vm1", "ext")
        ends = {"eth_src": MAC[source], "eth_dst": MAC[target], "src": IP[source]}
        ping = build.icmp_echo_frame(**ends, dst=IP[target], identifier=9, reply=reply)
        world.packet(ping, 3 if reply else 1)
    gre = build.ip_frame(
        eth_src=MAC["vm1"], eth_dst=MAC["ext"], src=IP["vm1"], dst=IP["ext"], proto=47,
        payload=bytes(8),
    )  # fmt: skip
    world.packet(gre, 1)
    for number, connection in enumerate(world.connections()):
        connection.mark = number
        connection.label = number << 100
    world.refresh()
    return world


def exported(world: World) -> list[dict[str, Any]]:
    return [export(connection, world.now) for connection in world.connections()]


def through_json(found: list[dict[str, Any]]) -> list[Any]:
    text = json.dumps(
        {"format": "p4ct-conntrack", "version": 1, "exported": 1.5, "connections": found}
    )
    return read(text.encode()).connections


def by_tuple(connections: list[Connection]) -> dict[Any, Connection]:
    return {connection.original: connection for connection in connections}


def test_what_is_exported_is_what_is_imported() -> None:
    world = tables()
    world.now += 1.25
    found = exported(world)
    assert len(found) == 5
    other = Tracker()
    now = 50.0
    for saved in check(through_json(found)):
        assert other.load(saved, now)
    mine, theirs = by_tuple(world.connections()), by_tuple(list(other.select()))
    assert set(mine) == set(theirs)
    for own, conn in mine.items():
        copied = theirs[own]
        for name in ("zone", "reply", "state_name", "mark", "label", "assured", "seen_reply"):
            assert getattr(copied, name) == getattr(conn, name), name
        assert copied.expires - now == pytest.approx(conn.expires - world.now, abs=0.002)
        assert now - copied.start == pytest.approx(world.now - conn.start, abs=0.002)
        assert copied.packets == tuple(map(sum, zip(conn.packets, conn.hw_packets, strict=True)))
        assert copied.bytes == tuple(map(sum, zip(conn.bytes, conn.hw_bytes, strict=True)))
    again = [export(connection, now) for connection in other.select()]
    key = json.dumps
    assert sorted(map(key, again)) == sorted(map(key, found))
    # A second time they are known, and stay as they are.
    assert not any(other.load(saved, now) for saved in check(found))
    while (deadline := other.next_deadline()) is not None:
        other.expire(deadline + 1)
    assert len(other) == 0


def test_an_imported_connection_goes_on() -> None:
    wire = Wire(Tracker())
    wire.handshake()
    (saved,) = check([export(wire.conn, wire.now)])
    wire.tracker = Tracker()
    wire.tracker.load(saved, wire.now)
    assert wire.tcp(ORIG, "PA", data=100).state & CtState.EST
    assert wire.tcp(REPLY, "A").state & CtState.EST
    for direction, flags in ((ORIG, "FA"), (REPLY, "FA"), (ORIG, "A")):
        wire.tcp(direction, flags)
    assert wire.conn.state_name == "TIME_WAIT"


def test_an_imported_handshake_is_finished() -> None:
    wire = Wire(Tracker())
    wire.tcp(ORIG, "S")
    (saved,) = check([export(wire.conn, wire.now)])
    wire.tracker = Tracker()
    wire.tracker.load(saved, wire.now)
    wire.tcp(REPLY, "SA")
    wire.tcp(ORIG, "A")
    assert wire.conn.state_name == "ESTABLISHED"
    assert wire.conn.assured


def test_unassured_imports_make_room_first() -> None:
    wire = Wire(Tracker())
    wire.udp(ORIG)
    (saved,) = check([export(wire.conn, wire.now)])
    other = Tracker(max_connections=1)
    other.load(saved, wire.now)
    wire.tracker, wire.ports = other, (5, 6)
    wire.udp(ORIG)
    assert wire.conn.original.sport == 5


GOOD = {
    "zone": 1, "proto": 6, "state": "ESTABLISHED", "timeout": 10.0, "age": 1.0, "assured": True,
    "seen_reply": True, "mark": 0, "label": "0x0",
    "original": {"src": "10.0.0.1", "dst": "10.0.0.3", "sport": 1, "dport": 2, "packets": 1,
                 "bytes": 60},
    "reply": {"src": "10.0.0.3", "dst": "10.0.0.1", "sport": 2, "dport": 1, "packets": 0,
              "bytes": 0},
}  # fmt: skip


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("zone", 65536, "zone: 65536 is not a number from 0 to 65535"),
        ("proto", 256, "proto: 256 is not a number from 0 to 255"),
        ("state", "STREAM", "state: 'STREAM' is no state of IP protocol 6"),
        ("state", "NONE", "state: 'NONE' is no state of IP protocol 6"),
        ("timeout", -1, "timeout: must be 0 or more seconds and finite, not -1.0"),
        ("age", "x", "Expected `float`, got `str` - at `$.age`"),
        ("mark", -1, "mark: -1 is not a number from 0 to 4294967295"),
        ("label", "0x1" + "0" * 32, "is not a number of 128 bits"),
        ("assured", None, "Expected `bool`, got `null` - at `$.assured`"),
        ("seen_reply", False, "assured: a connection without a reply is not assured"),
        ("extra", 1, "Object contains unknown field `extra`"),
        ("original.src", "10.0.0", "original.src: '10.0.0' is no IPv4 or IPv6 address"),
        ("original.dst", "fd00::1", "original: src and dst are of different families"),
        ("original.sport", 65536, "original.sport: 65536 is not a number from 0 to 65535"),
        ("reply.packets", -1, "reply.packets: -1 is not a number from 0 to"),
        ("reply", {"src": "::1", "dst": "::2", "packets": 0, "bytes": 0},
         "original and reply are of different families"),
    ],
)  # fmt: skip
def test_mistakes_are_told_with_their_place(place: str, value: Any, message: str) -> None:
    wrong: Any = copy.deepcopy(GOOD)
    inner, _, name = place.rpartition(".")
    (wrong[inner] if inner else wrong)[name] = value
    with pytest.raises(TransferError) as caught:
        check([GOOD, wrong])
    assert message in str(caught.value)
    assert str(caught.value).startswith("connection 2: ")


def test_icmp_answers_its_own_type() -> None:
    wrong = copy.deepcopy(GOOD) | {"proto": 1, "state": "REPLIED"}
    wrong["original"] |= {"type": 8, "id": 5}
    wrong["reply"] |= {"type": 8, "id": 5}
    with pytest.raises(TransferError, match=r"reply\.type: 8 does not answer 8"):
        check([wrong])
    wrong["reply"]["type"] = 0
    assert check([wrong])


def test_a_tuple_belongs_to_one_connection() -> None:
    turned = copy.deepcopy(GOOD)
    turned["original"], turned["reply"] = turned["reply"], turned["original"]
    with pytest.raises(TransferError) as caught:
        check([GOOD, GOOD, turned])
    assert str(caught.value).count("in zone 1 is connection 1's") == 4
    assert check([GOOD, {**GOOD, "zone": 2}])


def test_many_mistakes_are_counted() -> None:
    with pytest.raises(TransferError) as caught:
        check([1] * (MAX_PROBLEMS + 7))
    assert str(caught.value).endswith("and 7 more")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "not a connection table: Input data was truncated"),
        (b"[]", "not a connection table: Expected `object`, got `array`"),
        (b'{"format": "x", "version": 1, "exported": 0, "connections": []}', "format is 'x', not"),
        (
            b'{"format": "p4ct-conntrack", "version": 2, "exported": 0, "connections": []}',
            "version 2 is not known; this p4ct reads 1",
        ),
        (b"\xff", "not a connection table: "),
    ],
)
def test_what_is_no_table(text: bytes, message: str) -> None:
    with pytest.raises(TransferError) as caught:
        read(text)
    assert str(caught.value).startswith(message)


async def p4ct(folder: Path, *words: str) -> tuple[int | None, str, str]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        str(SCRIPTS / "p4ct"), "--socket", str(folder / "p4ct.sock"), "conntrack", *words,
        stdout=pipe, stderr=pipe, cwd=folder,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode, out.decode(), err.decode()


def test_the_command_line(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path) as controller:
            for sport in range(2000, 4500):
                begin(controller, sport)
            code, _, err = await p4ct(tmp_path, "export", "all.json")
            assert code == 0
            assert "connections exported: 2500" in err
            assert (await p4ct(tmp_path, "export", "some.json", "sport=2000"))[0] == 0
            await p4ct(tmp_path, "flush")
            assert await p4ct(tmp_path, "import", "some.json") == (
                0, "connections imported: 1, known already: 0\n", "",
            )  # fmt: skip
            code, out, _ = await p4ct(tmp_path, "import", "all.json", "--json")
            assert (code, json.loads(out)) == (0, {"imported": 2499, "known": 1})
            assert len(controller.tracker) == 2500
            # One mistake in the last of 2500, or too little room, and nothing changes.
            await p4ct(tmp_path, "flush")
            table = json.loads((tmp_path / "all.json").read_text())
            table["connections"][-1]["state"] = "DONE"
            (tmp_path / "wrong.json").write_text(json.dumps(table))
            code, _, err = await p4ct(tmp_path, "import", "wrong.json")
            assert code == 2
            assert "wrong.json: connection 2500: state: 'DONE' is no state of" in err
            controller.tracker.max_connections = 2499
            code, _, err = await p4ct(tmp_path, "import", "all.json")
            assert code == 1
            assert "nothing was imported: 2500 connections, and room for 2499" in err
            assert len(controller.tracker) == 0
            code, _, err = await p4ct(tmp_path, "import", "gone.json")
            assert (code, "gone.json: cannot be read" in err) == (2, True)
            code, _, err = await p4ct(tmp_path, "export", "no/such/folder.json")
            assert (code, "cannot be written" in err) == (1, True)
            code, out, _ = await p4ct(tmp_path, "export", "-")
            assert json.loads(out)["connections"] == []

    asyncio.run(main())
