# SPDX-License-Identifier: Apache-2.0
"""Conntrack scenarios as of Open vSwitch: basics, zones, marks, labels, limits and timeouts.

Each is played with offload and without (`scripts.play`); docs/ovs-scenarios.md has the list.
"""

from __future__ import annotations

import pytest
from p4ct.conntrack import Limits, Timeouts

from .model import World
from .scripts import play

#: From vm1 connections may begin, from outside come their answers only.
ONE_WAY = """
table=0,ip,actions=ct(zone=1,table=1)
table=1,priority=9,ip,in_port=vm1,ct_state=+trk+new,actions=ct(commit,zone=1),ext
table=1,priority=8,ip,in_port=vm1,ct_state=+trk+est,actions=ext
table=1,priority=7,ip,in_port=ext,ct_state=+trk+est,actions=vm1
table=1,priority=6,ip,in_port=ext,ct_state=+trk+rel,actions=vm1
table=1,priority=0,actions=drop
"""
THERE, BACK = "10.0.0.1,1000 > 10.0.0.3,80", "10.0.0.3,80 > 10.0.0.1,1000"
HANDSHAKE = f"""
vm1: tcp/S {THERE} -> ext
ext: tcp/SA {BACK} -> vm1
vm1: tcp/A {THERE} -> ext
"""
TCP = f"""{HANDSHAKE}
vm1: tcp/A {THERE} -> ext
ext: tcp/A {BACK} -> vm1
vm1: tcp/A {THERE} => ext
ext: tcp/A {BACK} => vm1
"""
UDP = f"""
vm1: udp {THERE} -> ext
2x ext: udp {BACK} -> vm1
vm1: udp {THERE} -> ext
vm1: udp {THERE} => ext
ext: udp {BACK} => vm1
"""


def in_v6(flows: str, script: str) -> tuple[str, str]:
    return flows.replace(",ip,", ",ipv6,"), script.replace("10.0.0.", "fd00::")


@pytest.mark.parametrize("v6", [False, True], ids=["v4", "v6"])
def test_ping_one_way(v6: bool) -> None:
    script = """
        ext: ping/9 10.0.0.3 > 10.0.0.1 -> nothing
        vm1: ping/7 10.0.0.1 > 10.0.0.3 -> ext
        ext: pong/8 10.0.0.3 > 10.0.0.1 -> nothing
        2x ext: pong/7 10.0.0.3 > 10.0.0.1 -> vm1
        2x vm1: ping/7 10.0.0.1 > 10.0.0.3 -> ext
        vm1: ping/7 10.0.0.1 > 10.0.0.3 => ext
        ext: pong/7 10.0.0.3 > 10.0.0.1 => vm1
        ext: ping/7 10.0.0.3 > 10.0.0.1 -> nothing
        """
    play(*(in_v6(ONE_WAY, script) if v6 else (ONE_WAY, script)))


@pytest.mark.parametrize("v6", [False, True], ids=["v4", "v6"])
def test_http_one_way(v6: bool) -> None:
    script = f"ext: tcp/S 10.0.0.3,1000 > 10.0.0.1,80 -> nothing\n{TCP}"
    play(*(in_v6(ONE_WAY, script) if v6 else (ONE_WAY, script)))


def test_an_unsolicited_reply_is_dropped_until_there_is_a_connection() -> None:
    play(ONE_WAY, f"ext: udp {BACK} -> nothing\n{UDP}")


@pytest.mark.parametrize("protocol", ["tcp/S", "udp"])
def test_one_way_never_becomes_established(protocol: str) -> None:
    play(
        ONE_WAY + "table=1,priority=20,ct_state=+trk+est,actions=in_port\n",
        f"3x vm1: {protocol} {THERE} -> ext\ncount unreplied = 1",
    )


def test_a_reply_to_what_was_not_committed() -> None:
    """A SYN-ACK without connection is invalid; a UDP answer is new. Policy may let both pass."""
    flows = """
        table=0,ip,actions=ct(table=1)
        table=1,priority=3,in_port=vm1,ip,actions=ext
        table=1,priority=2,in_port=ext,udp,ct_state=+trk+new,actions=vm1
        """
    script = f"""
        vm1: tcp/S {THERE} -> ext
        ext: tcp/SA {BACK} -> {{}}
        vm1: udp {THERE} -> ext
        ext: udp {BACK} -> vm1
        count = 0
        """
    play(flows, script.format("nothing"))
    allowed = flows + "table=1,priority=1,in_port=ext,ct_state=+trk+inv,actions=vm1\n"
    play(allowed, script.format("vm1"))


def test_generic_protocol() -> None:
    play(
        ONE_WAY,
        """
        ext: proto/112 10.0.0.3 > 10.0.0.1 -> nothing
        2x vm1: proto/112 10.0.0.1 > 10.0.0.3 -> ext
        2x ext: proto/112 10.0.0.3 > 10.0.0.1 -> vm1
        2x vm1: proto/112 10.0.0.1 > 10.0.0.3 -> ext
        ext: proto/113 10.0.0.3 > 10.0.0.1 -> nothing
        show 112,orig=(src=10.0.0.1,dst=10.0.0.3),reply=(src=10.0.0.3,dst=10.0.0.1),zone=1
        """,
    )


def test_commit_and_recirculate_with_registers() -> None:
    flows = """
        table=0,ip,in_port=vm1,actions=load:0x5->reg3[],ct(commit,zone=1,table=1)
        table=0,ip,in_port=ext,actions=load:0x6->reg3[],ct(zone=1,table=1)
        table=1,ip,reg3=5,ct_state=+trk,actions=ext
        table=1,ip,reg3=6,ct_state=+trk+est+rpl,actions=vm1
        """
    play(flows, UDP)


def test_resubmit_to_ct_several_times() -> None:
    """Two ct() for a packet, of which each sends its own copy."""
    flows = """
        table=0,ip,in_port=vm1,actions=ct(commit,zone=1,table=1),ct(commit,zone=2,table=2)
        table=0,ip,in_port=ext,actions=resubmit(,3),resubmit(,4)
        table=1,ip,ct_zone=1,actions=load:1->reg0[]
        table=2,ip,ct_zone=2,actions=ext
        table=3,ip,actions=ct(zone=1,table=5)
        table=4,ip,actions=ct(zone=2,table=6)
        table=5,ip,ct_state=+trk+est,actions=drop
        table=6,ip,ct_state=+trk+est+rpl,actions=vm1
        """
    play(
        flows,
        f"""
        vm1: udp {THERE} -> ext
        3x ext: udp {BACK} -> vm1
        3x vm1: udp {THERE} -> ext
        count zone=1 = 1
        count zone=2 = 1
        """,
    )


def test_force_commit_turns_the_direction() -> None:
    flows = """
        table=0,udp,in_port=vm1,actions=ct(commit,zone=1),ext
        table=0,udp,in_port=ext,actions=ct(commit,force,zone=1),vm1
        """
    turned = (
        "show udp,orig=(src=10.0.0.3,dst=10.0.0.1,sport=80,dport=1000),"
        "reply=(src=10.0.0.1,dst=10.0.0.3,sport=1000,dport=80),zone=1"
    )
    first = (
        "show udp,orig=(src=10.0.0.1,dst=10.0.0.3,sport=1000,dport=80),"
        "reply=(src=10.0.0.3,dst=10.0.0.1,sport=80,dport=1000),zone=1"
    )
    play(
        flows,
        f"vm1: udp {THERE} -> ext\n{first}\next: udp {BACK} -> vm1\n{turned}\ncount = 1\n"
        f"3x vm1: udp {THERE} -> ext\n3x ext: udp {BACK} -> vm1\n{turned}\ncount = 1",
    )


KEYS = ["", "zone=1", "tcp dport=80", "src=10.0.0.1", "orig-dst=10.0.0.3", "mark=7", "label=9"]


@pytest.mark.parametrize("words", [*KEYS, "reply-src=10.0.0.3", "reply-dport=1000"])
def test_flush_by_each_part(words: str) -> None:
    """What was flushed is unknown: its answers are dropped; what was not goes on by entries."""
    flows = ONE_WAY.replace(
        "ct(commit,zone=1)",
        "ct(commit,zone=1,exec(set_field:7->ct_mark,set_field:9->ct_label))",
    )
    play(
        flows,
        f"""{TCP}
        flush zone=2
        flush udp
        flush mark=8
        vm1: tcp/A {THERE} => ext
        flush {words}
        count = 0
        ext: tcp/SA {BACK} -> nothing
        """,
    )


def test_flush_of_sctp() -> None:
    play(
        ONE_WAY,
        f"""
        vm1: sctp/INIT {THERE} -> ext
        ext: sctp/INIT_ACK {BACK} -> vm1
        count sctp sport=1000 = 1
        flush sctp sport=1000
        count = 0
        ext: sctp/INIT_ACK {BACK} -> nothing
        """,
    )


def test_flush_of_many_by_port() -> None:
    many = [f"vm1: udp 10.0.0.1,{1000 + i} > 10.0.0.3,80 -> ext" for i in range(20)]
    other = "vm1: udp 10.0.0.1,1000 > 10.0.0.3,81 -> ext"
    script = [*many, other, "count = 21", "flush dport=80", "count = 1", "flush dport=81"]
    play(ONE_WAY, "\n".join([*script, "count = 0"]))


# -- zones ---------------------------------------------------------------------------------


def test_a_connection_of_another_zone_does_not_match() -> None:
    flows = ONE_WAY.replace("in_port=ext,ct_state=+trk+est", "in_port=ext,ct_zone=2,ct_state=+est")
    play(flows.replace("+est,actions=vm1", "+est+trk,actions=vm1"), f"""
        vm1: udp {THERE} -> ext
        ext: udp {BACK} -> nothing
        """)  # fmt: skip


@pytest.mark.parametrize("zone", ["reg0[0..15]", "reg1[8..23]"])
def test_zone_from_a_field(zone: str) -> None:
    """The zone is what the register holds; with another one the connection is unknown."""
    load = f"load:0x1001->{zone.replace('reg', 'NXM_NX_REG')}"
    flows = f"""
        table=0,ip,in_port=vm1,actions={load},ct(commit,zone={zone},table=1)
        table=0,udp,in_port=ext,tp_src=80,actions={load},ct(zone={zone},table=1)
        table=1,ip,in_port=vm1,ct_zone=0x1001,actions=ext
        table=1,ip,in_port=ext,ct_zone=0x1001,ct_state=+trk+est,actions=vm1
        """
    play(flows, UDP + "count zone=4097 = 1")
    elsewhere = flows.replace("tp_src=80,actions=load:0x1001", "tp_src=80,actions=load:0x1002")
    elsewhere = elsewhere.replace("in_port=ext,ct_zone=0x1001", "in_port=ext")
    play(elsewhere, f"vm1: udp {THERE} -> ext\next: udp {BACK} -> nothing")


def test_a_zone_for_each_source() -> None:
    """Two hundred zones with a connection each, of which none lets another's answer in."""
    flows = """
        table=0,ip,in_port=vm1,actions=ct(commit,zone=NXM_OF_IP_SRC[0..15],table=1)
        table=0,ip,in_port=ext,actions=ct(zone=NXM_OF_IP_DST[0..15],table=1)
        table=1,ip,in_port=vm1,actions=ext
        table=1,ip,in_port=ext,ct_state=+trk+est+rpl,actions=vm1
        """
    lines = []
    for number in range(1, 201):
        zone, host = number << 8 | 1, f"10.0.{number}.1"
        lines += [
            f"vm1: udp {host},1000 > 10.0.0.3,80 -> ext",
            f"ext: udp 10.0.0.3,80 > 10.1.{number}.1,1000 -> nothing",
            f"2x ext: udp 10.0.0.3,80 > {host},1000 -> vm1",
        ]
        if number % 50 == 0:
            lines += [f"vm1: udp {host},1000 > 10.0.0.3,80 -> ext"]
            lines += [f"vm1: udp {host},1000 > 10.0.0.3,80 => ext", f"count zone={zone} = 1"]
    play(flows, "\n".join([*lines, "count = 200", "flush zone=257", "count = 199"]))


@pytest.mark.parametrize("field", ["MARK", "LABEL"])
def test_zone_from_what_another_connection_carries(field: str) -> None:
    """Mark or label of the connection in zone 1 say the zone of the second ct()."""
    chosen = f"load:0x1002->NXM_NX_CT_{field}[0..15]"
    second = f"zone=NXM_NX_CT_{field}[0..15]"
    flows = f"""
        table=0,ip,in_port=vm1,actions=ct(commit,zone=1,exec({chosen}),table=1)
        table=1,ip,actions=ct(commit,{second},table=2)
        table=2,ip,ct_zone=0x1002,actions=ext
        table=0,ip,in_port=ext,actions=ct(zone=1,table=3)
        table=3,ip,ct_state=+trk+est,actions=ct({second},table=4)
        table=4,ip,ct_state=+trk+est+rpl,ct_zone=0x1002,actions=vm1
        """
    play(flows, f"{UDP}count zone=1 = 1\ncount zone=4098 = 1")


def test_one_packet_commits_in_two_zones() -> None:
    flows = """
        table=0,ip,in_port=vm1,actions=ct(commit,zone=1,table=1)
        table=1,ip,actions=ct(commit,zone=2,table=2)
        table=2,ip,actions=ext
        table=0,ip,in_port=ext,actions=ct(zone=2,table=3)
        table=3,ip,ct_state=+trk+est,actions=ct(zone=1,table=4)
        table=4,ip,ct_state=+trk+est,actions=vm1
        """
    script = f"{UDP}count zone=1 = 1\ncount zone=2 = 1\n"
    play(flows, script + f"flush zone=1\next: udp {BACK} -> nothing")


def test_mark_and_label_are_of_the_zone_that_set_them() -> None:
    flows = """
        table=0,ip,in_port=vm1,actions=ct(commit,zone=1,exec(load:5->ct_mark[]),table=1)
        table=1,ip,actions=ct(commit,zone=2,exec(load:6->ct_label[0..63]),table=2)
        table=2,ip,actions=ext
        table=0,ip,in_port=ext,actions=ct(zone=2,table=3)
        table=3,ip,ct_state=+trk+est,ct_mark=0,ct_label=6,actions=ct(zone=1,table=4)
        table=4,ip,ct_state=+trk+est,ct_mark=5,ct_label=0,actions=vm1
        """
    play(flows, f"{UDP}count zone=1 mark=5 label=0 = 1\ncount zone=2 mark=0 label=6 = 1")


def test_limit_by_zone() -> None:
    """At its limit a zone keeps what is assured and refuses; another zone goes on."""
    flows = (
        ONE_WAY
        + """
        table=0,priority=40000,ip,in_port=vm2,actions=ct(commit,zone=2),ext
        """
    )
    open_three = "\n".join(TCP.replace("1000", str(port)) for port in (1000, 1001, 1002))
    play(
        flows,
        f"""{open_three}
        vm1: tcp/S 10.0.0.1,1003 > 10.0.0.3,80 -> nothing
        count zone=1 = 3
        vm2: udp 10.0.0.2,1000 > 10.0.0.3,80 -> ext
        count zone=2 = 1
        flush tcp dport=80 sport=1001
        vm1: tcp/S 10.0.0.1,1003 > 10.0.0.3,80 -> ext
        count zone=1 = 3
        """,
        limits=Limits().with_zone(1, connections=3),
    )


# -- mark and label ------------------------------------------------------------------------


def test_mark() -> None:
    flows = ONE_WAY.replace("commit,zone=1", "commit,zone=1,exec(set_field:1->ct_mark)").replace(
        "in_port=ext,ct_state=+trk+est", "in_port=ext,ct_state=+trk+est,ct_mark=1"
    )
    play(flows, UDP)
    play(flows.replace("set_field:1->", "set_field:2->"), f"""
        vm1: udp {THERE} -> ext
        ext: udp {BACK} -> nothing
        """)  # fmt: skip


@pytest.mark.parametrize(
    ("field", "low", "high"), [("mark", "0x2/0x2", "0x3"), ("label", "2/2", "3")]
)
def test_bits_are_added_by_the_reply(field: str, low: str, high: str) -> None:
    flows = f"""
        table=0,ip,actions=ct(zone=1,table=1)
        table=1,priority=9,in_port=vm1,ip,ct_state=+trk+new,
         actions=ct(commit,zone=1,exec(set_field:0x1->ct_{field})),ext
        table=1,priority=8,in_port=ext,ip,ct_state=+trk+est,ct_{field}=1,
         actions=ct(commit,zone=1,exec(set_field:{low}->ct_{field})),vm1
        table=1,priority=7,ip,in_port=ext,ct_state=+trk+est,ct_{field}={high},actions=vm1
        table=1,priority=7,ip,in_port=vm1,ct_state=+trk+est,ct_{field}={high},actions=ext
        """.replace(",\n         actions", ",actions")
    play(flows, f"{UDP}count {field}=3 = 1")


def test_mark_from_a_register() -> None:
    flows = ONE_WAY.replace(
        "actions=ct(commit,zone=1)",
        "actions=load:3->reg0[],ct(commit,zone=1,exec(move:NXM_NX_REG0[]->NXM_NX_CT_MARK[]))",
    )
    play(flows.replace("ext,ct_state=+trk+est", "ext,ct_state=+trk+est,ct_mark=3"), UDP)


def test_label() -> None:
    value = "0x0a000d000005000001"
    flows = ONE_WAY.replace(
        "commit,zone=1", f"commit,zone=1,exec(set_field:{value}->ct_label)"
    ).replace("ext,ct_state=+trk+est", f"ext,ct_state=+trk+est,ct_label={value}")
    play(flows, UDP)


# -- timeouts ------------------------------------------------------------------------------


def test_timeouts_of_a_policy() -> None:
    """A connection keeps those that its flow named; the entries of one end no later."""
    commit = "ct(commit,zone=1)"
    assert commit in ONE_WAY
    flows = ONE_WAY.replace(commit, "ct(commit,zone=1,timeout=short)")
    flows += "table=0,priority=40000,udp,in_port=vm2,actions=ct(commit,zone=1),ext\n"
    timeouts = Timeouts().with_zone(1, udp=20).with_policy("short", udp=3, udp_stream=7)
    on = play(
        flows,
        f"""
        vm1: udp {THERE} -> ext
        vm2: udp 10.0.0.2,1000 > 10.0.0.3,80 -> ext
        wait 4
        count zone=1 = 1
        wait 17
        count = 0
        vm1: udp {THERE} -> ext
        ext: udp {BACK} -> vm1
        vm1: udp {THERE} -> ext
        """,
        timeouts=timeouts,
    )
    assert {entry.idle_timeout_ns for entry in on.world.switch.ct.values()} == {7 * 10**9}
    again = World(policy=flows, ports=on.world.ports, switch=on.world.switch, timeouts=timeouts)
    assert again.reconcile().kept == 1
    (connection,) = again.connections()
    assert (connection.timeout_policy, connection.timeout) == ("short", 3)


def test_timeouts_of_a_zone() -> None:
    flows = ONE_WAY + "table=0,priority=40000,udp,in_port=vm2,actions=ct(commit,zone=5),ext\n"
    timeouts = Timeouts().with_zone(5, udp=3)
    play(
        flows,
        f"""
        vm1: udp {THERE} -> ext
        vm2: udp 10.0.0.2,1000 > 10.0.0.3,80 -> ext
        wait 4
        count zone=1 = 1
        count zone=5 = 0
        vm2: udp 10.0.0.2,1000 > 10.0.0.3,80 -> ext
        count zone=5 = 1
        wait 27
        count = 0
        """,
        timeouts=timeouts,
    )
