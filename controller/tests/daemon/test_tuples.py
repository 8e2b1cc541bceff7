# SPDX-License-Identifier: Apache-2.0
"""Filter words and tuples as operators write them."""

from __future__ import annotations

import pytest
from p4ct.daemon.tuples import Network, Question, TupleError, parse_filter, parse_tuple
from p4ct.packet.text import parse_ip
from p4ct.pipeline.ports import PortTable, Vport

PORTS = PortTable([Vport(1, "vm1", 11), Vport(3, "ext", 13, kind="uplink")])
A, B = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 3])
A6, B6 = parse_ip("fd00::1"), parse_ip("fd00::3")


@pytest.mark.parametrize(
    ("words", "chosen"),
    [
        ([], {}),
        (["tcp"], {"proto": 6}),
        (["TCP", "dport=80"], {"proto": 6, "dport": 80}),
        (["tcp,dport=80 zone=1"], {"proto": 6, "dport": 80, "zone": 1}),
        (["proto=udp"], {"proto": 17}),
        (["proto=UDP"], {"proto": 17}),
        (["proto=89"], {"proto": 89}),
        (["proto=0"], {"proto": 0}),
        (["icmp6"], {"proto": 58}),
        (["src=10.0.0.1", "dst=fd00::3"], {"src": A, "dst": B6}),
        (["mark=0x10"], {"mark": 16}),
        (["mark=0x10/0xf0"], {"mark_bits": (16, 0xF0)}),
        (["label=5"], {"label_bits": (5, (1 << 128) - 1)}),
        (["label=5/0xf"], {"label_bits": (5, 15)}),
        (["orig-src=10.0.0.1", "reply-dport=5"], {"orig-src": A, "reply-dport": 5}),
        (["orig-src=10.0.0.9/24"], {"orig-src_net": Network(4, 0x0A000000, 0xFFFFFF00)}),
        (["type=8", "code=0", "id=7"], {"type": 8, "code": 0, "id": 7}),
        (["unreplied"], {"unreplied": True}),
        (["state=unreplied"], {"state": "UNREPLIED"}),
        (["state=established"], {"state": "ESTABLISHED"}),
        (["FIN_WAIT"], {"state": "FIN_WAIT"}),
        (["replied"], {"state": "REPLIED"}),
        (["family=ipv6"], {"version": 6}),
        (["tcp", "proto=6"], {"proto": 6}),
        (["assured", "OFFLOADED"], {"assured": True, "offloaded": True}),
        (["src=10.0.0.9/24"], {"src_net": Network(4, 0x0A000000, 0xFFFFFF00)}),
        (["dst=::/0"], {"dst_net": Network(16, 0, 0)}),
    ],
)
def test_filter(words: list[str], chosen: dict[str, object]) -> None:
    assert parse_filter(words) == chosen


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["dpor=80"], "'dpor=80' is not understood; did you mean 'dport'?"),
        (["tpc"], "'tpc' is not understood; did you mean 'tcp'?"),
        (["xyzzy"], "'xyzzy' is not understood; known: src, dst, sport,"),
        (["ESTABLISHD"], "'ESTABLISHD' is not understood; did you mean 'ESTABLISHED'?"),
        (["port=80"], "'port=80' is not understood; did you mean 'sport' or 'dport'?"),
        (["src=10.0.0.0/33"], "'src=10.0.0.0/33': '10.0.0.0/33' is no network; for example 10."),
        (["src=10.0.0"], "'src=10.0.0': '10.0.0' is no IPv4 or IPv6 address"),
        (["src"], "'src': '' is no IPv4 or IPv6 address"),
        (["sport=65536"], "'sport=65536': '65536' is not a number from 0 to 65535"),
        (["zone=-1"], "'zone=-1': '-1' is not a number from 0 to 65535"),
        (["mark=4294967296"], "'mark=4294967296': "),
        (["proto="], "'proto=': '' is not a number from 0 to 255"),
        (["proto=256"], "'proto=256': '256' is not a number from 0 to 255"),
        (["state=ESTABLISHD"], "'state=ESTABLISHD' is not understood; did you mean 'ESTABLISHED'?"),
        (["family=ipv5"], "'family=ipv5' is not understood; did you mean 'ipv"),
        (["type=256"], "'type=256': '256' is not a number from 0 to 255"),
        (["mark=1/x"], "'mark=1/x': 'x' is not a number from 0 to 4294967295"),
        (["label=1/"], "'label=1/': '' is not a number from 0 to "),
        (["reply-srce=1"], "'reply-srce=1' is not understood; did you mean 'reply-src'?"),
        (["tcp", "udp"], "'udp' contradicts what stands before it"),
        (["dport=1", "dport=2"], "'dport=2' contradicts what stands before it"),
    ],
)
def test_filter_mistakes(words: list[str], message: str) -> None:
    with pytest.raises(TupleError) as caught:
        parse_filter(words)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "question"),
    [
        (
            "tcp src=10.0.0.1 dst=10.0.0.3 sport=40000 dport=80 in_port=vm1",
            Question(4, 6, A, B, 40000, 80, 1, b"", b"", None),
        ),
        (
            "udp,src=fd00::1,dst=fd00::3,sport=1,dport=2,zone=7,in_port=3",
            Question(6, 17, A6, B6, 1, 2, 3, b"", b"", 7),
        ),
        ("tcp src=10.0.0.1 dst=10.0.0.3", Question(4, 6, A, B, 0, 0, 0, b"", b"", None)),
        # The words of a line of conntrack -L.
        (
            "icmp src=10.0.0.1 dst=10.0.0.3 type=8 code=0 id=77",
            Question(4, 1, A, B, 77, 0x0800, 0, b"", b"", None),
        ),
        (
            "icmp src=10.0.0.1 dst=10.0.0.3 type=0 id=77",
            Question(4, 1, A, B, 77, 0, 0, b"", b"", None),
        ),
        ("icmp src=fd00::1 dst=fd00::3", Question(6, 58, A6, B6, 0, 0x8000, 0, b"", b"", None)),
        (
            "proto=58 src=fd00::1 dst=fd00::3 type=129",
            Question(6, 58, A6, B6, 0, 0x8100, 0, b"", b"", None),
        ),
        (
            "tcp src=10.0.0.1 dst=10.0.0.3 dl_src=02:00:00:00:00:01 eth_dst=02:00:00:00:00:03",
            Question(
                4, 6, A, B, 0, 0, 0, bytes([2, 0, 0, 0, 0, 1]), bytes([2, 0, 0, 0, 0, 3]), None
            ),
        ),
    ],
)
def test_tuple(text: str, question: Question) -> None:
    assert parse_tuple(text, PORTS) == question


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "missing: a protocol, src, dst; for example: tcp src="),
        ("tcp src=10.0.0.1", "missing: dst; for example"),
        ("tcp src=10.0.0.1 dst=fd00::3", "src and dst are of different families"),
        ("tcp src=10.0.0.1 dst=10.0.0.3 in_port=vm9", "there is no vport 'vm9'; known: vm1, ext"),
        ("tcp src=10.0.0.1 dst=10.0.0.3 in_port=2", "there is no vport '2'"),
        ("tcp src=10.0.0.1 dst=10.0.0.3 eth_src=2:0", "'eth_src=2:0': '2:0' is no MAC address"),
        ("tcp src=10.0.0.1 dst=10.0.0.3 dprot=80", "'dprot=80' is not understood; did you mean"),
        ("tcp udp src=10.0.0.1 dst=10.0.0.3", "'udp' contradicts"),
        ("tcp src=10.0.0.1 dst=10.0.0.3 src=10.0.0.2", "'src=10.0.0.2' contradicts"),
        ("tcp src=10.0.0.1 dst=10.0.0.3 packest=4", "'packest=4' is not understood; known: "),
        ("tcp src=10.0.0.1 src=10.0.0.2 dst=10.0.0.3", "'src=10.0.0.2' contradicts"),
        ("tcp src=10.0.0.1 dst=10.0.0.3 id=4", "only ICMP has id; write sport= and dport="),
        ("icmp src=10.0.0.1 dst=10.0.0.3 dport=4", "ICMP has no dport; write type=, code= and id="),
        ("icmp src=10.0.0.1 dst=10.0.0.3 type=3", "only echo can be explained: type=8 (request)"),
        ("icmpv6 src=10.0.0.1 dst=10.0.0.3", "ICMPv6 with IPv4 addresses; write icmp"),
        ("gre src=10.0.0.1 dst=10.0.0.3", "packets of protocol 47 cannot be explained; only icmp"),
        ("tcp src=10.0.0.1 dst=10.0.0.3 type=256", "'type=256': '256' is not a number from 0 to"),
    ],
)
def test_tuple_mistakes(text: str, message: str) -> None:
    with pytest.raises(TupleError) as caught:
        parse_tuple(text, PORTS)
    assert str(caught.value).startswith(message)


LINES = (
    (
        "tcp      6 431998 ESTABLISHED src=10.0.0.1 dst=10.0.0.3 sport=40000 dport=80 packets=2002 "
        "bytes=1108108 src=10.0.0.3 dst=10.0.0.1 sport=80 dport=40000 packets=1 bytes=54 [ASSURED] "
        "[OFFLOAD] mark=0 labels=0x5 zone=1 use=1",
        Question(4, 6, A, B, 40000, 80, 0, b"", b"", 1),
    ),
    (
        "icmp     1 3 src=10.0.0.1 dst=10.0.0.3 type=8 code=0 id=121 packets=1 bytes=98 "
        "[UNREPLIED] src=10.0.0.3 dst=10.0.0.1 type=0 code=0 id=121 packets=0 bytes=0 mark=0 use=1",
        Question(4, 1, A, B, 121, 0x0800, 0, b"", b"", None),
    ),
    (
        "src=10.0.0.1 dst=10.0.0.3 sport=1 dport=2 src=10.0.0.3 dst=10.0.0.1 sport=2 dport=1 udp",
        Question(4, 17, A, B, 1, 2, 0, b"", b"", None),
    ),
)


@pytest.mark.parametrize(("line", "question"), LINES)
def test_a_line_of_conntrack_list_will_do(line: str, question: Question) -> None:
    assert parse_tuple(line, PORTS) == question


def test_the_list_of_words_has_the_states_only_where_one_could_stand() -> None:
    with pytest.raises(TupleError, match=r"known: .*assured, .*; states: .*ESTABLISHED.*REPLIED"):
        parse_filter(["xyzzy"])
    with pytest.raises(TupleError) as caught:
        parse_filter(["xyzzy=4"])
    assert "states" not in str(caught.value)
