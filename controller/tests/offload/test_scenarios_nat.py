# SPDX-License-Identifier: Apache-2.0
"""Conntrack scenarios as of Open vSwitch: translation of sources and targets.

Each is played with offload and without (`scripts.play`); docs/ovs-scenarios.md has the list.
"""

from __future__ import annotations

import pytest

from .scripts import play

#: Inside is 10.0.0.1 and .2, outside 10.0.0.3; .100 is the address outside, or a service's.
SNAT = """
table=0,ip,actions=ct(zone=1,nat,table=1)
table=1,priority=9,ip,in_port=vm1,ct_state=+trk+new,actions=ct(commit,zone=1,nat(RANGE)),ext
table=1,priority=8,ip,in_port=vm1,ct_state=+trk+est,actions=ext
table=1,priority=7,ip,in_port=ext,ct_state=+trk+est,actions=vm1
table=1,priority=0,actions=drop
"""
DNAT = """
table=0,ip,actions=ct(zone=1,nat,table=1)
table=1,priority=9,ip,in_port=vm1,ct_state=+trk+new,actions=ct(commit,zone=1,nat(RANGE)),ext
table=1,priority=8,ip,in_port=vm1,ct_state=+trk+est,actions=ext
table=1,priority=7,ip,in_port=ext,ct_state=+trk+est,actions=vm1
"""


def snat(what: str) -> str:
    return SNAT.replace("RANGE", f"src={what}")


def exchange(
    own: str = "10.0.0.1,1000",
    peer: str = "10.0.0.3,80",
    *,
    own_seen: str = "",
    peer_seen: str = "",
    proto: str = "udp",
) -> str:
    """Packets both ways, the last of them by entries. `_seen`: as the other end knows it."""
    seen_own, real_peer = own_seen or own, peer_seen or peer
    there = f"{own} > {peer}", f"{seen_own} > {real_peer}"
    back = f"{real_peer} > {seen_own}", f"{peer} > {own}"
    kinds = [("vm1", "udp"), ("ext", "udp"), ("ext", "udp"), ("vm1", "udp")]
    last = "udp"
    if proto == "tcp":
        kinds = [("vm1", "tcp/S"), ("ext", "tcp/SA"), ("vm1", "tcp/A"), ("vm1", "tcp/A")]
        kinds.append(("ext", "tcp/A"))
        last = "tcp/A"
    lines = []
    for arrow, sent in (("->", kinds), ("=>", [("vm1", last), ("ext", last)])):
        for who, kind in sent:
            (before, after), to = (there, "ext") if who == "vm1" else (back, "vm1")
            lines.append(f"{who}: {kind} {before} {arrow} {to} {kind} {after}")
    return "\n".join(lines)


@pytest.mark.parametrize("proto", ["tcp", "udp"])
def test_simple_source(proto: str) -> None:
    script = exchange(own_seen="10.0.0.100,1000", proto=proto)
    kind = "tcp/S" if proto == "tcp" else "udp"
    script += f"\next: {kind} 10.0.0.3,80 > 10.0.0.100,1001 -> nothing"
    script += f"\next: {kind} 10.0.0.3,81 > 10.0.0.1,1000 -> nothing"
    play(snat("10.0.0.100"), script)


def test_source_with_a_port_range() -> None:
    """Three connections of one client to one server take the three ports that there are."""
    world = play(snat("10.0.0.100:34567"), exchange(own_seen="10.0.0.100,34567", proto="tcp")).world
    assert len(world.switch.ct) == 2
    flows = snat("10.0.0.100:34567-34568")
    script = exchange(own_seen="10.0.0.100,34567") + "\n"
    script += exchange(own="10.0.0.1,1001", own_seen="10.0.0.100,34568")
    play(flows, script + "\nvm1: udp 10.0.0.1,1002 > 10.0.0.3,80 -> nothing\ncount = 2")


def test_one_port_serves_a_connection_to_each_server() -> None:
    """The port is taken only where the other end is the same."""
    flows = snat("10.0.0.100:2000")
    script = exchange(own_seen="10.0.0.100,2000", peer="10.0.0.4,80") + "\n"
    script += exchange(own_seen="10.0.0.100,2000", own="10.0.0.2,1000", peer="10.0.0.5,80")
    play(flows, script + "\ncount reply-dport=2000 = 2")


def test_exhaustion_refuses_the_second() -> None:
    script = exchange(own_seen="10.0.0.100,3000", proto="tcp")
    script += "\n2x vm1: tcp/S 10.0.0.1,1001 > 10.0.0.3,80 -> nothing\ncount = 1"
    again = "\nvm1: tcp/S 10.0.0.1,1001 > 10.0.0.3,80 -> ext tcp/S 10.0.0.100,3000 > 10.0.0.3,80"
    play(snat("10.0.0.100:3000"), f"{script}\nflush{again}")


def test_the_same_identifier_of_three_hosts() -> None:
    lines = []
    for host, number in (("10.0.0.1", 500), ("10.0.0.2", 501), ("10.0.0.4", 502)):
        there = f"ping/500 {host} > 10.0.0.3", f"ping/{number} 10.0.0.100 > 10.0.0.3"
        back = f"pong/{number} 10.0.0.3 > 10.0.0.100", f"pong/500 10.0.0.3 > {host}"
        lines += [
            f"vm1: {there[0]} -> ext {there[1]}",
            f"2x ext: {back[0]} -> vm1 {back[1]}",
            f"2x vm1: {there[0]} -> ext {there[1]}",
            f"vm1: {there[0]} => ext {there[1]}",
            f"ext: {back[0]} => vm1 {back[1]}",
        ]
    play(snat("10.0.0.100"), "\n".join([*lines, "count = 3"]))


def test_a_port_range_does_not_change_identifiers() -> None:
    play(
        snat("10.0.0.100:34567-34568"),
        """
        2x vm1: ping/7 10.0.0.1 > 10.0.0.3 -> ext ping/7 10.0.0.100 > 10.0.0.3
        ext: pong/7 10.0.0.3 > 10.0.0.100 -> vm1 pong/7 10.0.0.3 > 10.0.0.1
        """,
    )


def test_a_mark_changed_by_the_reply() -> None:
    flows = snat("10.0.0.100").replace(
        "table=1,priority=7,ip,in_port=ext,ct_state=+trk+est,actions=vm1",
        "table=1,priority=7,ip,in_port=ext,ct_state=+trk+est,ct_mark=2,actions=vm1\n"
        "table=1,priority=6,ip,in_port=ext,ct_state=+trk+est,ct_mark=0,"
        "actions=ct(commit,zone=1,exec(set_field:2->ct_mark)),vm1",
    )
    play(flows, exchange(own_seen="10.0.0.100,1000") + "\ncount mark=2 = 1")


def test_source_zero_changes_the_port_only_of_a_tuple_that_is_taken() -> None:
    """Two connections in and out of one address: the second cannot have the port of the first."""
    flows = """
        table=0,ip,actions=ct(zone=1,nat,table=1)
        table=1,priority=9,ip,in_port=vm1,nw_dst=10.0.0.100,ct_state=+trk+new,
         actions=ct(commit,zone=1,nat(dst=10.0.0.3)),ext
        table=1,priority=8,ip,in_port=vm1,ct_state=+trk+new,
         actions=ct(commit,zone=1,nat(src=0.0.0.0)),ext
        table=1,priority=7,ip,in_port=vm1,ct_state=+trk+est,actions=ext
        table=1,priority=7,ip,in_port=ext,ct_state=+trk+est,actions=vm1
        """.replace(",\n         actions", ",actions")
    script = exchange(peer="10.0.0.100,80", peer_seen="10.0.0.3,80") + "\n"
    script += exchange(own="10.0.0.1,1001") + "\n"
    script += exchange(own_seen="10.0.0.1,1002")  # the next of 600 to 1023 that is free
    play(flows, script)


@pytest.mark.parametrize("proto", ["tcp", "udp"])
@pytest.mark.parametrize(
    ("target", "seen"),
    [("10.0.0.3", "10.0.0.3,80"), ("10.0.0.3:8080", "10.0.0.3,8080")],
    ids=["address", "port"],
)
def test_target(target: str, seen: str, proto: str) -> None:
    flows = DNAT.replace("RANGE", f"dst={target}")
    play(flows, exchange(peer="10.0.0.100,80", peer_seen=seen, proto=proto))


def test_a_target_is_translated_once() -> None:
    """A second nat for the connection changes nothing; the rest of that ct() is obeyed."""
    flows = DNAT.replace("RANGE", "dst=10.0.0.3").replace(
        "ct_state=+trk+est,actions=ext",
        "ct_state=+trk+est,actions=ct(commit,zone=1,nat(src=10.0.0.200),"
        "exec(set_field:5->ct_mark)),ext",
    )
    script = exchange(peer="10.0.0.100,80", peer_seen="10.0.0.3,80")
    play(flows, script.replace("=>", "->") + "\ncount mark=5 = 1\ncount dst=10.0.0.200 = 0")


def test_target_and_source_in_two_zones() -> None:
    flows = """
        table=0,ip,in_port=vm1,actions=ct(zone=1,nat,table=1)
        table=1,priority=9,ip,ct_state=+trk+new,actions=ct(commit,zone=1,nat(dst=10.0.0.3),table=2)
        table=1,priority=8,ip,ct_state=+trk+est,actions=resubmit(,2)
        table=2,ip,actions=ct(zone=2,nat,table=3)
        table=3,priority=9,ip,ct_state=+trk+new,actions=ct(commit,zone=2,nat(src=10.0.0.200)),ext
        table=3,priority=8,ip,ct_state=+trk+est,actions=ext
        table=0,ip,in_port=ext,actions=ct(zone=2,nat,table=4)
        table=4,ip,ct_state=+trk+est,actions=ct(zone=1,nat,table=5)
        table=5,ip,ct_state=+trk+est,actions=vm1
        """
    play(
        flows,
        exchange(own_seen="10.0.0.200,1000", peer="10.0.0.100,80", peer_seen="10.0.0.3,80")
        + "\ncount zone=1 = 1\ncount zone=2 = 1",
    )


def test_floating_address() -> None:
    """One host has an address of its own outside: what it begins, and what is begun to it."""
    flows = """
        table=0,ip,actions=ct(zone=1,nat,table=1)
        table=1,priority=9,ip,in_port=vm1,ct_state=+trk+new,
         actions=ct(commit,zone=1,nat(src=10.0.0.100)),ext
        table=1,priority=9,ip,in_port=ext,nw_dst=10.0.0.100,ct_state=+trk+new,
         actions=ct(commit,zone=1,nat(dst=10.0.0.1)),vm1
        table=1,priority=7,ip,in_port=vm1,ct_state=+trk+est,actions=ext
        table=1,priority=7,ip,in_port=ext,ct_state=+trk+est,actions=vm1
        """.replace(",\n         actions", ",actions")
    inward = """
        ext: udp 10.0.0.3,99 > 10.0.0.100,53 ARROW vm1 udp 10.0.0.3,99 > 10.0.0.1,53
        vm1: udp 10.0.0.1,53 > 10.0.0.3,99 ARROW ext udp 10.0.0.100,53 > 10.0.0.3,99
        """
    twice = inward.replace("ARROW", "->")
    script = exchange(own_seen="10.0.0.100,1000", proto="tcp") + twice + twice
    play(flows, script + inward.replace("ARROW", "=>"))


def test_a_tuple_changed_outside_ct_is_tracked_as_another() -> None:
    """A flow writes the address between two ct() of one zone: state is that of the new tuple."""
    flows = """
        table=0,ip,in_port=vm1,actions=ct(commit,zone=1,table=1)
        table=1,ip,in_port=vm1,actions=set_field:10.0.0.3->nw_dst,ct(commit,zone=1,table=2)
        table=2,ip,in_port=vm1,ct_state=+trk,actions=ext
        table=0,ip,in_port=ext,actions=ct(zone=1,table=3)
        table=3,ip,ct_state=+est+trk,actions=set_field:10.0.0.100->nw_src,ct(zone=1,table=4)
        table=4,ip,ct_state=+est+trk,actions=vm1
        """
    script = exchange(peer="10.0.0.100,80", peer_seen="10.0.0.3,80").replace("=>", "->")
    play(flows, f"{script}\ncount orig-dst=10.0.0.100 = 1\ncount orig-dst=10.0.0.3 = 1")


@pytest.mark.parametrize("kind", ["source", "target"])
def test_ipv6(kind: str) -> None:
    if kind == "source":
        flows = snat("fd00::100")
        script = exchange("fd00::1,1000", "fd00::3,80", own_seen="fd00::100,1000", proto="tcp")
    else:
        flows = DNAT.replace("RANGE", "dst=[fd00::3]:8080")
        ends = {"peer": "fd00::100,80", "peer_seen": "fd00::3,8080"}
        script = exchange("fd00::1,1000", **ends, proto="tcp")
    play(flows.replace(",ip,", ",ipv6,"), script)


@pytest.mark.parametrize("port", ["", ":34567"], ids=["port kept", "port range"])
def test_sctp_source(port: str) -> None:
    number = port[1:] or "1000"
    there = f"10.0.0.1,1000 > 10.0.0.3,80 -> ext sctp/WHAT 10.0.0.100,{number} > 10.0.0.3,80"
    back = f"10.0.0.3,80 > 10.0.0.100,{number} -> vm1 sctp/WHAT 10.0.0.3,80 > 10.0.0.1,1000"
    chunks = {"INIT": 0, "INIT_ACK": 1, "COOKIE_ECHO": 0, "COOKIE_ACK": 1, "DATA": 0, "ABORT": 0}
    script = [
        f"{'ext' if answer else 'vm1'}: sctp/{name} {(back if answer else there)}".replace(
            "WHAT", name
        )
        for name, answer in chunks.items()
    ]
    play(snat(f"10.0.0.100{port}"), "\n".join([*script, "count sctp state=CLOSED = 1"]))


def test_the_same_tuple_translated_in_two_zones() -> None:
    """Two tenants' hosts have one address; outside their connections have different ports."""
    flows = """
        table=0,ip,in_port=vm1,actions=ct(zone=1,nat,table=1)
        table=0,ip,in_port=vm2,actions=ct(zone=2,nat,table=1)
        table=1,priority=9,ip,in_port=vm1,ct_state=+trk+new,
         actions=ct(commit,zone=1,nat(src=10.0.0.100:2000)),ext
        table=1,priority=9,ip,in_port=vm2,ct_state=+trk+new,
         actions=ct(commit,zone=2,nat(src=10.0.0.100:3000)),ext
        table=1,priority=8,ip,in_port=vm1,ct_state=+trk+est,actions=ext
        table=1,priority=8,ip,in_port=vm2,ct_state=+trk+est,actions=ext
        table=0,udp,in_port=ext,tp_dst=2000,actions=ct(zone=1,nat,table=2)
        table=0,udp,in_port=ext,tp_dst=3000,actions=ct(zone=2,nat,table=2)
        table=2,ip,ct_zone=1,ct_state=+trk+est,actions=vm1
        table=2,ip,ct_zone=2,ct_state=+trk+est,actions=vm2
        """.replace(",\n         actions", ",actions")
    script = exchange(own_seen="10.0.0.100,2000")
    other = exchange(own_seen="10.0.0.100,3000").replace("vm1", "vm2").replace("=>", "->")
    play(flows, f"{script}\n{other}\ncount orig-src=10.0.0.1 orig-sport=1000 = 2")


def test_every_packet_keeps_its_dscp() -> None:
    there = "{} 10.0.0.1,1000 > 10.0.0.3,80 => ext {} 10.0.0.100,1000 > 10.0.0.3,80"
    lines = [f"vm1: {there}".replace("{}", f"udp/{tos}") for tos in (184, 40, 2, 255)]
    play(snat("10.0.0.100"), exchange(own_seen="10.0.0.100,1000") + "\n" + "\n".join(lines))
