# SPDX-License-Identifier: Apache-2.0
"""p4runtime-shell and finsy, as they are, against softswitch as it is."""

from __future__ import annotations

from collections.abc import Callable

from .conftest import Peer, Wire

Meet = Callable[[str, str], tuple[Peer, Wire]]

DST = bytes.fromhex("020000000001")
FRAME = DST + bytes(6) + b"\x08\x00" + bytes(50)
UNKNOWN = b"\x02" * 6 + FRAME[6:]
ALREADY_EXISTS = 6


def test_p4runtime_shell(meet: Meet) -> None:
    peer, wire = meet(".venv-shell", "drive_shell.py")
    assert peer.hears("tables") == ["L2Ingress.l2", "L2Ingress.policer"]
    assert peer.hears("inserted twice") == [ALREADY_EXISTS]
    assert len(peer.hears("read")) == 1
    assert peer.hears("group") == [[1, 1], [2, 2]]
    peer.hears("listening")
    wire.send(1, UNKNOWN)
    assert peer.hears("packet-in") == [UNKNOWN.hex(), {"1": "01", "2": "06"}]
    assert wire.receive() == (3, bytes(range(60)))
    peer.hears("ready for traffic")
    for _ in range(3):
        wire.send(1, FRAME)
        assert wire.receive() == (2, FRAME)
    peer.go_on()
    assert peer.hears("counted") == [3]
    assert peer.hears("left") == 0
    peer.hears("end")
    peer.end()


def test_finsy(meet: Meet) -> None:
    peer, wire = meet("build/finsy", "drive_finsy.py")
    assert peer.hears("program") == ["l2", "policer"]
    assert peer.hears("inserted twice") == [ALREADY_EXISTS]
    assert peer.hears("read") == [[2, int.from_bytes(DST, "big")]]
    assert peer.hears("group") == [[1, 4], [2, 5]]
    assert peer.hears("register") == [0]
    peer.hears("listening")
    assert wire.receive() == (3, bytes(range(60)))
    wire.send(1, FRAME)
    assert wire.receive() == (2, FRAME)
    wire.send(1, UNKNOWN)
    assert peer.hears("packet-in") == [UNKNOWN.hex(), 1, 6]
    assert peer.hears("counted") == [1]
    assert peer.hears("left") == 0
    peer.hears("end")
    peer.go_on()
    peer.end()
