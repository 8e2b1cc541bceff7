# SPDX-License-Identifier: Apache-2.0
"""Changed payloads and numbers, judged by scapy: lengths, checksums, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from p4ct.packet.parse import parse
from p4ct.packet.segment import payload_of, renumber, replace_payload
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

SACK = [("NOP", None), ("NOP", None), ("SAck", (1000, 1100, 4294967290, 5))]


def segment(v6: bool, payload: bytes, **fields: object) -> bytes:
    ip = IPv6(src="fd00::1", dst="fd00::2") if v6 else IP(src="10.0.0.1", dst="10.0.0.2")
    given: dict[str, object] = {"sport": 1, "dport": 21, "seq": 100, "ack": 200, "flags": "A"}
    return bytes(
        Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
        / ip
        / TCP(**{**given, **fields})
        / Raw(payload)
    )


def fresh_checksums(frame: bytes) -> bytes:
    """The frame as scapy would build it."""
    packet = Ether(frame)
    if IP in packet:
        del packet[IP].chksum, packet[IP].len
    else:
        del packet[IPv6].plen
    del packet[TCP].chksum
    return bytes(packet)


@pytest.mark.parametrize("v6", [False, True])
@given(data=st.data(), payload=st.binary(min_size=1, max_size=60), text=st.binary(max_size=60))
def test_replace_payload(v6: bool, data: st.DataObject, payload: bytes, text: bytes) -> None:
    start = data.draw(st.integers(0, len(payload)))
    end = data.draw(st.integers(start, len(payload)))
    pkt = parse(segment(v6, payload, options=SACK))
    changed = replace_payload(pkt, start, end, text)
    assert payload_of(changed) == payload[:start] + text + payload[end:]
    assert changed.frame == fresh_checksums(changed.frame)
    again = parse(changed.frame)
    for name in ("l4_len", "payload_len", "seq", "ack", "error", "doff", "flags"):
        assert getattr(changed, name) == getattr(again, name), name
    assert changed.wire_len == pkt.wire_len


@pytest.mark.parametrize("v6", [False, True])
@given(shift=st.integers(-(2**31), 2**31), back=st.integers(-(2**31), 2**31))
def test_renumber(v6: bool, shift: int, back: int) -> None:
    pkt = parse(segment(v6, b"line\r\n", options=SACK))
    changed = renumber(pkt, lambda n: (n + shift) % 2**32, lambda n: (n + back) % 2**32)
    assert changed.frame == fresh_checksums(changed.frame)
    tcp = Ether(changed.frame)[TCP]
    assert (tcp.seq, tcp.ack) == ((100 + shift) % 2**32, (200 + back) % 2**32)
    edges = dict(tcp.options)["SAck"]
    assert edges == tuple((edge + back) % 2**32 for edge in (1000, 1100, 4294967290, 5))
    assert (changed.seq, changed.ack) == (tcp.seq, tcp.ack)


def test_without_ack_nothing_is_acknowledged() -> None:
    pkt = parse(segment(False, b"", flags="S", ack=0))
    assert renumber(pkt, None, lambda n: n + 5).frame == pkt.frame


def test_a_wrong_checksum_stays_wrong() -> None:
    frame = bytearray(segment(False, b"line\r\n"))
    frame[50] ^= 0x40
    changed = replace_payload(parse(bytes(frame)), 0, 4, b"longer")
    good = fresh_checksums(changed.frame)
    assert changed.frame[:50] == good[:50]
    assert changed.frame[50:52] != good[50:52]


def test_odd_options_are_left_alone() -> None:
    for options in (b"\x05", b"\x05\x01\0\0", b"\x05\x0a\x01\x02", b"\x00\x05\x0a\0"):
        pkt = parse(segment(False, b"x"))
        frame = bytearray(pkt.frame)
        frame[46] = 0x60
        frame[54:54] = options.ljust(4, b"\0")
        frame[16:18] = (int.from_bytes(frame[16:18], "big") + 4).to_bytes(2, "big")
        made = parse(fresh_checksums(bytes(frame)))
        assert renumber(made, None, lambda n: n).frame == made.frame
