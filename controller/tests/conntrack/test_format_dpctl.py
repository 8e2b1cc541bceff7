# SPDX-License-Identifier: Apache-2.0
"""Lines of dpctl/dump-conntrack, as Open vSwitch prints them."""

from __future__ import annotations

from p4ct.conntrack import Tracker, conntrack_line
from p4ct.conntrack.format_dpctl import dpctl_line

from .conftest import ORIG, REPLY, Wire


def wire(*, v6: bool = False, zone: int = 0) -> Wire:
    return Wire(Tracker(), v6=v6, zone=zone)


def test_tcp() -> None:
    made = wire()
    made.handshake()
    assert dpctl_line(made.conn, made.now) == (
        "tcp,orig=(src=10.0.0.1,dst=10.0.0.2,sport=40000,dport=80),"
        "reply=(src=10.0.0.2,dst=10.0.0.1,sport=80,dport=40000),protoinfo=(state=ESTABLISHED)"
    )


def test_udp_with_zone_mark_and_label() -> None:
    made = wire(v6=True, zone=5)
    made.udp(ORIG)
    made.conn.mark = 170
    made.conn.label = 0xAA00000000
    assert dpctl_line(made.conn, made.now) == (
        "udp,orig=(src=fd00::1,dst=fd00::2,sport=40000,dport=80),"
        "reply=(src=fd00::2,dst=fd00::1,sport=80,dport=40000),zone=5,mark=170,labels=0xaa00000000"
    )


def test_icmp_and_a_protocol_without_ports() -> None:
    made = wire()
    made.ping(ORIG, identifier=500)
    assert dpctl_line(made.conn, made.now) == (
        "icmp,orig=(src=10.0.0.1,dst=10.0.0.2,id=500,type=8,code=0),"
        "reply=(src=10.0.0.2,dst=10.0.0.1,id=500,type=0,code=0)"
    )
    made = wire()
    made.ip(ORIG, 112)
    assert dpctl_line(made.conn, made.now) == (
        "112,orig=(src=10.0.0.1,dst=10.0.0.2),reply=(src=10.0.0.2,dst=10.0.0.1)"
    )


def test_statistics() -> None:
    made = wire(zone=3)
    made.handshake()
    made.now += 100.5
    assert dpctl_line(made.conn, made.now, statistics=True) == (
        "tcp,orig=(src=10.0.0.1,dst=10.0.0.2,sport=40000,dport=80,packets=2,bytes=108),"
        "reply=(src=10.0.0.2,dst=10.0.0.1,sport=80,dport=40000,packets=1,bytes=54),zone=3,"
        "status=SEEN_REPLY|ASSURED|CONFIRMED,timeout=431899,protoinfo=(state=ESTABLISHED)"
    )
    made.tracker.hold(made.conn, object())
    assert "CONFIRMED|OFFLOADED," in dpctl_line(made.conn, made.now, statistics=True)
    other = wire()
    other.udp(ORIG)
    other.udp(REPLY)
    assert "status=SEEN_REPLY|CONFIRMED," in dpctl_line(other.conn, other.now, statistics=True)


def test_a_helper() -> None:
    made = wire()
    pkt = made.tcp_packet(ORIG, "S")
    made.tracker.commit(made.tracker.track(pkt, 0, made.now), pkt, made.now, alg="ftp")
    assert dpctl_line(made.conn, made.now).endswith(",protoinfo=(state=SYN_SENT),helper=ftp")
    assert conntrack_line(made.conn, made.now).endswith(" mark=0 use=1 helper=ftp")
