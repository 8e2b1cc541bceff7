# SPDX-License-Identifier: Apache-2.0
"""Translated connections in the eswitch: entries carry the rewrite, both ways, and survive."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from p4ct.conntrack import Connection, Tuple
from p4ct.eswitch.entries import CtForward, Nat
from p4ct.offload import reasons
from p4ct.offload.manager import OffloadOptions
from p4ct.packet import Packet, build, parse
from p4ct.packet.text import format_ip, parse_ip
from p4ct.packet.too_big import fragments

from .model import ACK, FIN, MAC, RST, SYN, ModelSwitch, World, learn

CLIENT, SERVER, NAT, FRONT = "10.0.0.1", "10.0.0.3", "10.0.0.100", "10.0.0.200"
V6 = {CLIENT: "fd00::1", SERVER: "fd00::3", NAT: "fd00::100", FRONT: "fd00::200"}


def policy(ports: str = "") -> str:
    """From inside all is translated to NAT, with these ports; from outside TCP to the client."""
    lines = ["table=0,priority=100,arp,actions=NORMAL"]
    for family, names in (("ip", {}), ("ipv6", V6)):
        tcp = "tcp" if family == "ip" else "tcp6"
        own, client = names.get(NAT, NAT), names.get(CLIENT, CLIENT)
        inside = f"src=[{own}]{ports}" if names and ports else f"src={own}{ports}"
        outside = f"dst=[{client}]:80" if names else f"dst={client}:80"
        lines += [
            f"table=0,priority=50,{family},actions=ct(zone=1,nat,table=1)",
            f"table=1,priority=90,{family},ct_state=+trk+est,actions=goto_table:2",
            f"table=1,priority=90,{family},ct_state=+trk+rel,actions=goto_table:2",
            f"table=1,priority=80,in_port=vm1,ct_state=+trk+new,{family},"
            f"actions=ct(commit,zone=1,nat({inside}),table=2)",
            f"table=1,priority=80,in_port=ext,ct_state=+trk+new,{tcp},"
            f"actions=ct(commit,zone=1,nat({outside}),table=2)",
        ]
    return "\n".join([*lines, "table=2,priority=0,actions=NORMAL"]) + "\n"


class Ends:
    """A client and a server; each answers to where the other's packets seem to come from."""

    def __init__(
        self,
        world: World,
        proto: str = "tcp",
        sport: int = 40000,
        *,
        inside: bool = True,
        v6: bool = False,
        dport: int = 80,
        ttl: int = 64,
    ) -> None:
        self.world = world
        self.proto = proto
        self.ttl = ttl
        self.side = ("vm1", "ext") if inside else ("ext", "vm1")
        names = (CLIENT, SERVER) if inside else (SERVER, FRONT)
        client, server = (parse_ip(V6[name] if v6 else name) for name in names)
        if proto == "icmp":
            dport = 0
        #: What each end writes into its packets: addresses and ports.
        self.ends = [(client, server, sport, dport), (b"", b"", 0, 0)]
        self.seq = [1000, 5000]
        self.seen: list[Packet] = []

    def send(self, who: int, flags: int = ACK, payload: bytes = b"", *, check: bool = True) -> str:
        """One packet of the client (0) or the server (1); what arrived is noted in `seen`."""
        src, dst, sport, dport = self.ends[who]
        link = {
            "eth_src": MAC[self.side[who]],
            "eth_dst": MAC[self.side[1 - who]],
            "ttl": self.ttl,
        }
        if self.proto == "tcp":
            frame = build.tcp_frame(
                **link, src=src, dst=dst, sport=sport, dport=dport, seq=self.seq[who],
                ack=self.seq[1 - who] if flags & ACK else 0, flags=flags, payload=payload,
            )  # fmt: skip
            self.seq[who] += len(payload) + bool(flags & SYN) + bool(flags & FIN)
        elif self.proto == "udp":
            frame = build.udp_frame(
                **link, src=src, dst=dst, sport=sport, dport=dport, payload=payload
            )
        else:
            frame = build.icmp_echo_frame(
                **link, src=src, dst=dst, identifier=sport, reply=bool(who), payload=payload
            )
        before = len(self.world.delivered)
        how = self.world.packet(frame, 1 if self.side[who] == "vm1" else 3)
        for port, arrived in self.world.delivered[before:]:
            assert port == (1 if self.side[1 - who] == "vm1" else 3)
            pkt = parse(arrived)
            self.seen.append(pkt)
            other = (pkt.dst, pkt.src, pkt.dport, pkt.sport)
            if self.proto == "icmp":
                other = (pkt.dst, pkt.src, pkt.sport, 0)
            if who == 0:
                self.ends[1] = other
            elif check:
                assert (other[0], other[1]) == self.ends[0][:2], "the answer is not from the server"
        return how

    def open(self) -> Ends:
        if self.proto == "tcp":
            self.send(0, SYN)
            self.send(1, SYN | ACK)
            self.send(0, ACK)
        for who in (0, 1, 0, 1):
            self.send(who, payload=b"hello")
        return self

    @property
    def arrived(self) -> tuple[str, str, int, int]:
        """Ends of the last packet that arrived anywhere."""
        pkt = self.seen[-1]
        return format_ip(pkt.src), format_ip(pkt.dst), pkt.sport, pkt.dport


def new_world(text: str = "", **more: object) -> World:
    world = World(policy=text or policy(), **more)  # type: ignore[arg-type]
    learn(world)
    return world


def nat_of(world: World) -> dict[int, Nat | None]:
    found: dict[int, Nat | None] = {}
    for entry in world.switch.ct.values():
        assert isinstance(entry.action, CtForward)
        found[entry.action.direction] = entry.action.nat
    return found


@pytest.mark.parametrize("v6", [False, True], ids=["v4", "v6"])
@pytest.mark.parametrize("proto", ["tcp", "udp", "icmp"])
def test_source(proto: str, v6: bool) -> None:
    world = new_world()
    ends = Ends(world, proto, v6=v6).open()
    client, server, nat = (V6[n] if v6 else n for n in (CLIENT, SERVER, NAT))
    echo = (8 if not v6 else 128) << 8, 0 if not v6 else 129 << 8
    last = {"tcp": 80, "udp": 80, "icmp": echo[0]}[proto]
    assert ends.send(0, payload=b"to the server") == "hardware"
    assert ends.arrived == (nat, server, 40000, last)
    assert ends.send(1, payload=b"to the client") == "hardware"
    back = (server, client, 40000, echo[1]) if proto == "icmp" else (server, client, 80, 40000)
    assert ends.arrived == back
    addresses = {d: (nat.src, nat.dst) for d, nat in nat_of(world).items() if nat}
    assert addresses == {
        0: (parse_ip(nat), parse_ip(server)),
        1: (parse_ip(server), parse_ip(client)),
    }


@pytest.mark.parametrize("v6", [False, True], ids=["v4", "v6"])
def test_destination_and_port(v6: bool) -> None:
    world = new_world()
    ends = Ends(world, inside=False, v6=v6, dport=8080).open()
    client, server, front = (V6[n] if v6 else n for n in (CLIENT, SERVER, FRONT))
    assert ends.send(0, payload=b"in") == "hardware"
    assert ends.arrived == (server, client, 40000, 80)
    assert ends.send(1, payload=b"out") == "hardware"
    assert ends.arrived == (front, server, 8080, 40000)


def test_both_ends_by_two_zones() -> None:
    text = policy().replace(
        f"ct(commit,zone=1,nat(dst={CLIENT}:80),table=2)",
        f"ct(commit,zone=1,nat(dst={CLIENT}:80),table=3)",
    )
    text = text.replace("table=1,priority=90,ip,ct_state=+trk+est,actions=goto_table:2",
        "table=1,priority=91,ip,in_port=ext,ct_state=+trk+est,actions=ct(zone=2,nat,table=2)\n"
        "table=1,priority=90,ip,in_port=vm1,ct_state=+trk+est,actions=goto_table:2")  # fmt: skip
    text = text.replace("table=0,priority=50,ip,actions=ct(zone=1,nat,table=1)",
        "table=0,priority=50,ip,in_port=ext,actions=ct(zone=1,nat,table=1)\n"
        "table=0,priority=50,ip,in_port=vm1,actions=ct(zone=2,nat,table=4)\n"
        "table=4,priority=1,ip,actions=ct(zone=1,nat,table=1)\n"
        f"table=3,ip,actions=ct(commit,zone=2,nat(src={NAT}),table=2)")  # fmt: skip
    world = new_world(text)
    ends = Ends(world, inside=False, dport=8080).open()
    assert ends.send(0, payload=b"in") == "hardware"
    assert ends.arrived == (NAT, CLIENT, 40000, 80)
    assert ends.send(1, payload=b"out") == "hardware"
    assert ends.arrived == (FRONT, SERVER, 8080, 40000)
    (record,) = world.manager.active()
    assert len(record.members) == 2


def test_hairpin() -> None:
    """A client reaches a server beside it by the server's outside address."""
    text = (
        "table=0,ip,actions=ct(zone=1,nat,table=1)\n"
        "table=1,priority=2,ip,ct_state=+trk+new,actions=ct(commit,zone=1,nat(dst=10.0.0.1:80),"
        "table=3)\ntable=3,ip,actions=ct(commit,zone=2,nat(src=10.0.0.100),table=2)\n"
        "table=1,priority=1,ip,ct_state=+trk+est-rpl,actions=ct(zone=2,nat,table=2)\n"
        "table=0,priority=40000,ip,nw_dst=10.0.0.100,actions=ct(zone=2,nat,table=5)\n"
        "table=5,ip,actions=ct(zone=1,nat,table=2)\n"
        "table=2,ip,nw_dst=10.0.0.1,actions=in_port\n"
    )
    world = World(policy=text)
    own = build.tcp_frame(eth_src=MAC["vm1"], eth_dst=MAC["ext"], src=CLIENT, dst=FRONT,
                          sport=5000, dport=8080, flags=SYN)  # fmt: skip
    world.packet(own, 1)
    ((port, frame),) = world.delivered
    there = parse(frame)
    assert (port, format_ip(there.src), format_ip(there.dst)) == (1, NAT, CLIENT)
    answer = build.tcp_frame(eth_src=MAC["vm1"], eth_dst=MAC["ext"], src=CLIENT, dst=NAT,
                             sport=80, dport=there.sport, flags=SYN | ACK, ack=1)  # fmt: skip
    world.packet(answer, 1)
    back = parse(world.delivered[-1][1])
    assert len(world.delivered) == 2
    assert (format_ip(back.src), back.sport) == (FRONT, 8080)
    assert (format_ip(back.dst), back.dport) == (CLIENT, 5000)


def test_exhaustion_drops_and_is_counted() -> None:
    world = new_world(policy(":5000"))
    Ends(world, sport=40000).open()
    other = Ends(world, sport=40001)
    before = len(world.delivered)
    assert other.send(0, SYN) == "software"
    assert len(world.delivered) == before
    assert world.pipeline.drops == {"ct(commit,nat): no free address and port": 1}
    assert len(world.connections()) == 1


def test_an_error_about_an_offloaded_connection_is_translated() -> None:
    world = new_world()
    ends = Ends(world, "udp").open()
    seen = next(pkt for pkt in ends.seen if pkt.src == parse_ip(NAT))
    error = build.icmp_frame(eth_src=MAC["ext"], eth_dst=MAC["vm1"], src="10.0.0.3", dst=NAT,
                             icmp_type=3, icmp_code=3, body=bytes(4) + seen.frame[14:])  # fmt: skip
    world.packet(error, 3)
    sent = build.udp_frame(eth_src=MAC["vm1"], eth_dst=MAC["ext"], src=CLIENT, dst=SERVER,
                           sport=40000, dport=80, payload=b"hello")  # fmt: skip
    expected = build.icmp_frame(eth_src=MAC["ext"], eth_dst=MAC["vm1"], src="10.0.0.3", dst=CLIENT,
                                icmp_type=3, icmp_code=3, body=bytes(4) + sent[14:])  # fmt: skip
    assert world.delivered[-1] == (1, expected)


def test_a_packet_that_is_too_long_is_answered_as_it_was_sent() -> None:
    from p4ct.pipeline.ports import PortTable, Vport

    ports = PortTable([Vport(1, "vm1", 1), Vport(3, "ext", 3, kind="uplink", mtu=600)])
    world = World(policy=policy(), ports=ports)
    learn(world)
    frame = build.udp_frame(eth_src=MAC["vm1"], eth_dst=MAC["ext"], src=V6[CLIENT], dst=V6[SERVER],
                            sport=1, dport=2, payload=bytes(700))  # fmt: skip
    world.packet(frame, 1)
    ((port, answer),) = world.delivered
    assert port == 1
    quoted = parse(answer).frame[14 + 40 + 8 :]
    assert quoted[:48] == frame[14:62]


def test_fragments_are_translated_whole_and_leave_as_they_came() -> None:
    world = new_world()
    frame = build.udp_frame(eth_src=MAC["vm1"], eth_dst=MAC["ext"], src=CLIENT, dst=SERVER,
                            sport=40000, dport=80, payload=bytes(range(256)) * 12)  # fmt: skip
    pieces = fragments(parse(frame), 1500)
    assert len(pieces) == 3
    for piece in reversed(pieces):
        world.packet(piece, 1)
    there = build.udp_frame(eth_src=MAC["vm1"], eth_dst=MAC["ext"], src=NAT, dst=SERVER,
                            sport=40000, dport=80, payload=bytes(range(256)) * 12)  # fmt: skip
    assert [frame for _, frame in world.delivered] == fragments(parse(there), 1500)


@pytest.mark.parametrize("proto", ["tcp", "udp", "icmp"])
def test_a_restart_keeps_the_translation(proto: str) -> None:
    first = new_world()
    ends = Ends(first, proto).open()
    world = World(policy=policy(), switch=first.switch)
    assert world.reconcile().kept == 1
    (connection,) = world.connections()
    assert connection.reply.dst == parse_ip(NAT)
    ends.world = world
    assert ends.send(0, payload=b"still") == "hardware"
    assert ends.arrived[0] == NAT
    assert ends.send(1, payload=b"here") == "hardware"
    assert ends.arrived[1] == CLIENT
    # and with a policy that no longer translates what it let through, the entries go
    third = World(policy=policy().replace(",nat,", ","), switch=world.switch)
    assert third.reconcile().kept == 0
    assert not world.switch.ct


def test_entries_with_another_translation_are_not_kept() -> None:
    first = new_world()
    Ends(first).open()
    switch: ModelSwitch = first.switch
    for key, entry in list(switch.ct.items()):
        action = entry.action
        assert isinstance(action, CtForward)
        if action.direction == 0 and action.nat is not None:
            other = replace(action, nat=replace(action.nat, src=parse_ip("10.0.0.99")))
            switch.ct[key] = replace(entry, action=other)
    world = World(policy=policy(), switch=switch)
    drift = world.reconcile()
    assert (drift.kept, dict(drift.removed)) == (0, {"it is translated otherwise now": 1})
    assert not switch.ct


def test_after_the_end_nothing_is_left() -> None:
    world = new_world()
    ends = Ends(world).open()
    ends.send(0, FIN | ACK)
    ends.send(1, FIN | ACK)
    ends.send(0, ACK)
    assert world.switch.empty
    world.later(1000.0)
    assert not world.connections()


# -- routing -------------------------------------------------------------------------------

ROUTER_IN, ROUTER_OUT = "02:00:00:00:00:aa", "02:00:00:00:00:bb"
ROUTED = f"""
table=0,ip,actions=ct(zone=1,nat,table=1)
table=1,priority=2,ip,in_port=vm1,ct_state=+trk+new,actions=ct(commit,zone=1,nat(src={NAT}),table=2)
table=1,priority=1,ip,ct_state=+trk+est,actions=resubmit(,2)
table=2,ip,in_port=vm1,actions=dec_ttl,mod_dl_src:{ROUTER_OUT},mod_dl_dst:02:00:00:00:00:02,ext
table=2,ip,in_port=ext,actions=dec_ttl,mod_dl_src:{ROUTER_IN},mod_dl_dst:02:00:00:00:00:01,vm1
"""


def test_translated_and_routed_by_entries() -> None:
    world = World(policy=ROUTED)
    ends = Ends(world).open()
    software = ends.seen[0]
    assert ends.send(0, payload=b"in") == "hardware"
    there = ends.seen[-1]
    assert (there.eth_src.hex(":"), there.eth_dst.hex(":")) == (ROUTER_OUT, "02:00:00:00:00:02")
    assert (there.ttl, format_ip(there.src)) == (63, NAT)
    assert (software.eth_src, software.ttl) == (there.eth_src, 63)
    assert ends.send(1, payload=b"out") == "hardware"
    assert ends.seen[-1].eth_src.hex(":") == ROUTER_IN
    again = World(policy=ROUTED, switch=world.switch)
    assert again.reconcile().kept == 1


@pytest.mark.parametrize(
    ("action", "why"),
    [
        ("mod_dl_dst:02:00:00:00:00:01", ""),
        ("mod_dl_dst:02:00:00:00:00:07", "other MAC addresses without dec_ttl"),
        ("mod_nw_ttl:64", "looks at nw_ttl"),
        ("set_field:4->nw_tos", "its headers are changed"),
        ("set_field:0->nw_tos", "looks at nw_tos"),
        ("dec_ttl,dec_ttl", "its headers are changed in a way that the eswitch cannot"),
        ("set_field:10.0.0.77->nw_src", ""),
        ("load:1->reg3[],move:nw_ttl[]->reg4[0..7]", "looks at nw_ttl"),
    ],
)
def test_what_an_entry_cannot_do_stays_in_software(action: str, why: str) -> None:
    text = ROUTED.replace("dec_ttl,mod_dl_src:02:00:00:00:00:aa,mod_dl_dst:02:00:00:00:00:01",
                          action)  # fmt: skip
    world = World(policy=text)
    ends = Ends(world)
    ends.send(0, SYN)
    ends.ends[1] = (parse_ip(SERVER), parse_ip(NAT), 80, 40000)
    for who, flags in ((1, SYN | ACK), (0, ACK), (0, ACK), (1, ACK)):
        ends.send(who, flags, check=False)
    (connection,) = world.connections()
    assert connection.offload_reason.startswith(why)
    assert (connection.offload is None) == bool(why)


# -- mark and label ------------------------------------------------------------------------

MARKED = """
table=0,priority=100,arp,actions=NORMAL
table=0,ip,actions=ct(zone=1,table=1)
table=1,priority=9,tcp,ct_state=+trk+est,ct_label=0x8/0x8,actions=drop
table=1,priority=8,icmp,ct_state=+trk+rel,actions=ct(commit,zone=1,exec(load:1->ct_label[3])),NORMAL
table=1,priority=2,tcp,ct_state=+trk+est,actions=NORMAL
table=1,priority=1,tcp,ct_state=+trk+new,actions=ct(commit,zone=1,exec(set_field:7->ct_mark)),NORMAL
"""


def test_a_new_label_ends_the_entries_before_its_packet_goes_on() -> None:
    world = new_world(MARKED)
    ends = Ends(world).open()
    assert ends.send(0, payload=b"x") == "hardware"
    (connection,) = world.connections()
    assert connection.mark == 7
    quote = ends.seen[-1].frame[14:]
    error = build.icmp_frame(eth_src=MAC["ext"], eth_dst=MAC["vm1"], src="10.0.0.3", dst=CLIENT,
                             icmp_type=3, icmp_code=3, body=bytes(4) + quote)  # fmt: skip
    gone: list[bool] = []
    send = world.slow_path.wire.send
    world.slow_path.wire.send = lambda port, frame: (
        gone.append(not world.switch.ct) or send(port, frame)
    )
    world.packet(error, 3)
    assert gone == [True]
    assert connection.label == 8
    before = len(world.delivered)
    ends.send(0, payload=b"denied now")
    assert len(world.delivered) == before
    assert world.manager.removed[reasons.MARK_CHANGED] == 1


def test_the_packet_that_changes_a_mark_is_no_basis_for_an_entry() -> None:
    world = new_world(
        "table=0,priority=9,arp,actions=NORMAL\n"
        "table=0,ip,actions=ct(zone=1,table=1)\n"
        "table=1,priority=3,udp,ct_state=+trk+est,ct_mark=1,actions=drop\n"
        "table=1,priority=2,udp,ct_state=+trk+est,in_port=vm1,"
        "actions=ct(commit,zone=1,exec(set_field:1->ct_mark)),NORMAL\n"
        "table=1,priority=1,udp,ct_state=+trk,actions=ct(commit,zone=1),NORMAL\n"
    )
    ends = Ends(world, "udp")
    delivered: list[int] = []
    for who in (0, 1, 1, 0, 0, 1, 0, 1):
        ends.send(who)
        delivered.append(len(world.delivered))
    assert delivered == [1, 2, 3, 4, 4, 4, 4, 4]
    assert not world.switch.ct


def test_label_and_mark_survive_a_restart() -> None:
    text = MARKED.replace(
        "set_field:7->ct_mark",
        "set_field:7->ct_mark,set_field:0x123456789abcdef0123456780->ct_label",
    )
    first = new_world(text)
    Ends(first).open()
    world = World(policy=text, switch=first.switch)
    assert world.reconcile().kept == 1
    (connection,) = world.connections()
    assert (connection.mark, connection.label) == (7, 0x123456789ABCDEF0123456780)


# -- properties ----------------------------------------------------------------------------

STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("tcp"),
            st.integers(0, 2),
            st.integers(0, 1),
            st.sampled_from([SYN, SYN | ACK, ACK, ACK, ACK, FIN | ACK, RST | ACK]),
            st.integers(0, 2),
        ),
        st.tuples(st.just("open"), st.integers(0, 5)),
        st.tuples(st.just("more"), st.integers(0, 5), st.integers(0, 1)),
        st.tuples(st.just("idle")),
    ),
    max_size=30,
)


def play(world: World, steps: list[tuple]) -> None:
    """Three TCP, two UDP connections and a ping; two sources have the same port outside."""
    kinds = [
        ("tcp", 40000),
        ("tcp", 40001),
        ("tcp", 40002),
        ("udp", 4000),
        ("udp", 4001),
        ("icmp", 9),
    ]
    all_ends = [Ends(world, proto, sport) for proto, sport in kinds]
    for step in steps:
        match step:
            case ("tcp", number, who, flags, size):
                if who == 0 or all_ends[number].ends[1][0]:
                    all_ends[number].send(who, flags, bytes(size))
            case ("open", number):
                ends = all_ends[number]
                ends.send(0, SYN)
                if ends.ends[1][0]:
                    ends.open()
            case ("more", number, who):
                if who == 0 or all_ends[number].ends[1][0]:
                    all_ends[number].send(who)
            case _:
                world.report_idle()


@settings(deadline=None, max_examples=80)
@given(STEPS)
def test_transparency(steps: list[tuple]) -> None:
    """Invariant 1 with a range that is too small for all: same packets with offload as without."""
    text = policy(":7000-7001")
    on = new_world(text, liberal=True)
    off = new_world(text, liberal=True, options=OffloadOptions(enabled=False))
    for world in (on, off):
        play(world, steps)
    assert off.by_hardware == 0
    assert Counter(on.delivered) == Counter(off.delivered)


@settings(deadline=None, max_examples=60)
@given(STEPS)
def test_entries_are_a_bijection_and_nothing_leaks(steps: list[tuple]) -> None:
    world = new_world(policy(":7000-7001"))
    play(world, steps)
    leaving = Counter(
        (key.proto, action.nat)
        for key, entry in world.switch.ct.items()
        if isinstance(action := entry.action, CtForward)
    )
    assert not leaving or max(leaving.values()) == 1
    replies: set[tuple[int, Tuple]] = set()
    connection: Connection
    for connection in world.connections():
        assert (connection.zone, connection.reply) not in replies
        replies.add((connection.zone, connection.reply))
        if connection.proto in (6, 17) and connection.original.src == parse_ip(CLIENT):
            assert connection.reply.dst == parse_ip(NAT)
            assert connection.reply.dport in (7000, 7001)
    for _ in range(3):
        world.later(4000.0)
        world.report_idle()
    world.later(500000.0)
    world.report_idle()
    world.later(500000.0)
    assert not world.connections()
    assert world.switch.empty
