# SPDX-License-Identifier: Apache-2.0
"""Packets with a wrong L4 checksum are invalid, unless that is switched off or hardware knows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from p4ct.conntrack import CtState, Timeouts, Tracker
from p4ct.packet import Packet, parse
from p4ct.packet.build import icmp_echo_frame, ip_frame, sctp_frame, tcp_frame, udp_frame
from p4ct.packet.checksum import crc32c
from p4ct.packet.l4_check import l4_checksum_error

INIT = bytes.fromhex("01000014000000110001000000010001") + bytes.fromhex("00000001")
ENDS = [("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")]
PROTOCOLS = ("TCP", "UDP", "ICMP", "SCTP")


def frame(protocol: str, ends: tuple[str, str], payload: bytes = b"abc") -> bytes:
    where: dict[str, Any] = {"src": ends[0], "dst": ends[1]}
    ports = {"sport": 1000, "dport": 80}
    if protocol == "TCP":
        return tcp_frame(**where, **ports, flags=2, payload=payload)
    if protocol == "UDP":
        return udp_frame(**where, **ports, payload=payload)
    if protocol == "ICMP":
        return icmp_echo_frame(**where, identifier=7, payload=payload)
    return sctp_frame(**where, **ports, vtag=0, chunks=INIT)


def start(pkt: Packet) -> int:
    return pkt.l4_offset


@pytest.mark.parametrize("ends", ENDS, ids=["v4", "v6"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_any_flipped_bit_is_found(protocol: str, ends: tuple[str, str]) -> None:
    good = frame(protocol, ends)
    pkt = parse(good)
    assert l4_checksum_error(pkt) == ""
    assert pkt.checked
    at = {"TCP": 16, "UDP": 6, "ICMP": 2, "SCTP": 8}[protocol]
    for offset in (0, at, at + 1, len(good) - pkt.l4_offset - 1):
        bad = bytearray(good)
        bad[pkt.l4_offset + offset] ^= 0x10
        broken = parse(bytes(bad))
        assert not broken.error
        assert protocol in l4_checksum_error(broken)
        assert not broken.checked


@pytest.mark.parametrize("ends", ENDS, ids=["v4", "v6"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_tracker_refuses_it(protocol: str, ends: tuple[str, str]) -> None:
    bad = bytearray(frame(protocol, ends))
    bad[-1] ^= 1
    tracker = Tracker(Timeouts())
    assert tracker.peek(parse(bytes(bad)), 0, 1.0).reason.startswith("bad ")
    result = tracker.track(parse(bytes(bad)), 0, 1.0)
    assert result.state == CtState.TRK | CtState.INV
    assert result.reason.startswith("bad ")
    assert result.reason.endswith(" checksum")
    assert tracker.stats["invalid"] == 1
    believed = parse(bytes(bad))
    believed.checked = True  # the hardware's word
    assert tracker.track(believed, 0, 1.0).state == CtState.TRK | CtState.NEW
    trusting = Tracker(Timeouts(), checksum=False)
    assert trusting.track(parse(bytes(bad)), 0, 1.0).state == CtState.TRK | CtState.NEW


@pytest.mark.parametrize("ends", ENDS, ids=["v4", "v6"])
def test_udp_without_a_checksum_is_taken(ends: tuple[str, str]) -> None:
    pkt = parse(frame("UDP", ends))
    at = pkt.l4_offset + 6
    bare = pkt.frame[:at] + b"\0\0" + pkt.frame[at + 2 :]
    assert l4_checksum_error(parse(bare)) == ""


def test_other_protocols_have_none_that_we_know() -> None:
    for proto in (47, 58, 112):
        assert l4_checksum_error(parse(ip_frame(src="10.0.0.1", dst="10.0.0.2", proto=proto))) == ""


def test_an_icmp_message_of_zeros_is_wrong() -> None:
    """Its sum is 0, which no correct checksum makes."""
    pkt = parse(ip_frame(src="10.0.0.1", dst="10.0.0.2", proto=1, payload=bytes(8)))
    assert l4_checksum_error(pkt) == "bad ICMP checksum"


def test_crc32c_of_known_bytes() -> None:
    """RFC 3720 appendix B.4."""
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E


@given(st.sampled_from(["TCP", "UDP", "ICMP"]), st.sampled_from(ENDS), st.binary(max_size=60))
def test_what_build_makes_is_right(protocol: str, ends: tuple[str, str], payload: bytes) -> None:
    assert l4_checksum_error(parse(frame(protocol, ends, payload))) == ""
