# SPDX-License-Identifier: Apache-2.0
"""Tags that flows put on, change and take off: by entries where those can, else in software."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from p4ct.eswitch.enums import VlanOp
from p4ct.offload.decide import Mode
from p4ct.offload.manager import OffloadOptions
from p4ct.offload.next_hops import rewrites
from p4ct.packet import build
from p4ct.packet.build import push_vlan
from p4ct.packet.parse import parse
from p4ct.packet.vxlan import decapsulate
from p4ct.pipeline.ports import PortTable, Vport, Vxlan

from .model import ACK, FIN, IP, MAC, RST, SYN, World, finish

#: `ext` and `ext5` are one wire: what leaves `ext` with tag 5 is answered on `ext5`.
VM, EXT, EXT5, EXT6 = 1, 3, 5, 6
TUNNEL = Vxlan(7, "192.0.2.1", "192.0.2.2", "02:00:00:00:01:01", "02:00:00:00:01:02")
FLOWS = """
table=0,ip,actions=ct(zone=1,table=1)
table=1,in_port=vm1,ip,ct_state=+trk+new,actions=ct(commit,zone=1),resubmit(,2)
table=1,priority=9,in_port=vm1,ip,ct_state=+trk+est,actions=resubmit(,2)
table=1,in_port=ext5,ip,ct_state=+trk+est,actions=resubmit(,3)
table=2,ip,actions=THERE
table=3,ip,actions=BACK
table=4,ip,dl_vlan=5,actions=ext
table=4,ip,dl_vlan=5,dl_vlan_pcp=1,priority=1,actions=drop
"""


def ports(**changes: object) -> PortTable:
    ext: dict[str, object] = {"port": 3, "kind": "uplink", **changes}
    return PortTable(
        [
            Vport(VM, "vm1", 1),
            Vport(EXT, "ext", **ext),  # type: ignore[arg-type]
            Vport(EXT5, "ext5", **{**ext, "vlan": 5}),  # type: ignore[arg-type]
            Vport(EXT6, "ext6", 6, vlan=6, kind="uplink"),
        ]
    )


def made(
    there: str,
    back: str = "vm1",
    *,
    enabled: bool = True,
    mode: Mode = Mode.ASSURED,
    **changes: object,
) -> World:
    return World(
        policy=FLOWS.replace("THERE", there).replace("BACK", back),
        ports=ports(**changes),
        options=OffloadOptions(enabled=enabled, mode=mode),
        liberal=True,
    )


class Ends:
    """vm1 and a server behind tag 5 of the uplink; TCP with the right numbers, and UDP."""

    def __init__(self, world: World, sport: int = 40000) -> None:
        self.world = world
        self.sport = sport
        self.seq = {"vm1": 1000, "ext": 5000}

    def frame(self, source: str, flags: int, payload: bytes, proto: str) -> bytes:
        target = "ext" if source == "vm1" else "vm1"
        port = {"vm1": self.sport, "ext": 80}
        ends = {
            "eth_src": MAC[source],
            "eth_dst": MAC[target],
            "src": IP[source],
            "dst": IP[target],
            "sport": port[source],
            "dport": port[target],
            "payload": payload,
        }
        if proto == "udp":
            return build.udp_frame(**ends)
        ack = self.seq[target] if flags & ACK else 0
        frame = build.tcp_frame(**ends, seq=self.seq[source], ack=ack, flags=flags)
        self.seq[source] += len(payload) + bool(flags & SYN) + bool(flags & FIN)
        return frame

    def send(
        self,
        source: str,
        flags: int = ACK,
        payload: bytes = b"",
        *,
        priority: int = 0,
        inner: bool = False,
        proto: str = "tcp",
    ) -> str:
        """priority: of the tag that it comes with, and DEI (4 bits).   inner: with one inside."""
        frame = self.frame(source, flags, payload, proto)
        if inner:
            frame = push_vlan(frame, 9, 1)
        if source == "ext":
            frame = push_vlan(frame, 5, priority >> 1, bool(priority & 1))
        elif priority and not inner:
            frame = push_vlan(frame, 0, priority >> 1, bool(priority & 1))
        return self.world.packet(frame, VM if source == "vm1" else EXT5)

    def open(self) -> Ends:
        self.send("vm1", SYN)
        self.send("ext", SYN | ACK)
        self.send("vm1", ACK)
        self.send("ext", ACK, b"hello")
        return self


def last(world: World) -> tuple[int, bytes]:
    return world.delivered[-1]


@pytest.mark.parametrize("there", ["mod_vlan_vid:5,ext", "push_vlan:0x8100,mod_vlan_vid:5,ext"])
def test_a_tag_is_put_on_by_entries(there: str) -> None:
    world = made(there)
    ends = Ends(world).open()
    plain = ends.frame("vm1", ACK, b"question", "tcp")
    ends.seq["vm1"] -= len(b"question")
    assert ends.send("vm1", ACK, b"question") == "hardware"
    assert last(world) == (3, push_vlan(plain, 5))
    assert ends.send("ext", ACK, b"answer") == "hardware"
    assert parse(last(world)[1]).vlan_id is None
    hops = {(hop.port, hop.vlan_op, hop.vlan_id) for hop in world.switch.hops.values()}
    assert hops == {(3, VlanOp.SET, 5), (1, VlanOp.POP, 0)}


def test_a_later_table_sees_the_tag_and_does_not_hinder() -> None:
    ends = Ends(made("push_vlan:0x8100,mod_vlan_vid:5,resubmit(,4)")).open()
    assert ends.send("vm1", ACK, b"question") == "hardware"


@pytest.mark.parametrize("priority", [0, 1, 6, 15])
def test_the_priority_that_it_came_with_goes_into_the_tag(priority: int) -> None:
    seen = set()
    for enabled in (True, False):
        world = made("push_vlan:0x8100,mod_vlan_vid:5,ext", enabled=enabled)
        ends = Ends(world).open()
        how = ends.send("vm1", ACK, b"question", priority=priority)
        assert how == ("hardware" if enabled else "software")
        seen.add(last(world))
    ((_, frame),) = seen
    assert frame[12:16] == b"\x81\x00" + (priority << 12 | 5).to_bytes(2, "big")


@pytest.mark.parametrize(
    ("there", "why"),
    [
        ("mod_vlan_vid:5,mod_vlan_pcp:3,ext", "a VLAN tag with a priority"),
        ("mod_vlan_vid:9,ext6", "two VLAN tags: that of its flows and that of vport ext6"),
        ("mod_vlan_vid:9,mod_dl_dst:2:0:0:0:0:9,ext", "other MAC addresses without dec_ttl"),
        ("mod_vlan_vid:9,mod_nw_tos:4,ext", "its headers are changed in a way that"),
    ],
)
def test_what_entries_cannot_do_stays_in_software(there: str, why: str) -> None:
    world = made(there)
    ends = Ends(world).open()
    assert ends.send("vm1", ACK, b"question") == "software"
    (connection,) = world.connections()
    assert connection.offload_reason.startswith(why)
    assert not world.switch.ct
    _, frame = last(world)
    if "ext6" in there:
        assert frame[12:22] == bytes.fromhex("81000006810000090800")
    elif "pcp" in there:
        assert frame[12:16] == bytes.fromhex("81006005")


def test_a_frame_with_a_tag_inside_makes_no_entry() -> None:
    """Entries match frames without: one made for it would let the others through."""
    world = made("ext")
    world.pipeline.replace(
        world.flows(FLOWS.replace("THERE", "ext").replace("BACK", "vm1")
                    + "table=0,priority=40000,ip,vlan_tci=0,actions=drop"),
        world.now,
    )  # fmt: skip
    ends = Ends(world)
    for source, flags in (("vm1", SYN), ("ext", SYN | ACK), ("vm1", ACK), ("ext", ACK)):
        ends.send(source, flags, inner=True)
    assert len(world.delivered) == 4
    assert not world.switch.ct
    (connection,) = world.connections()
    assert connection.offload_reason.startswith("a VLAN tag inside the vport's frames")
    ends.send("vm1", ACK, b"denied")
    assert len(world.delivered) == 4


def test_behind_an_entry_a_tag_inside_is_another_matter() -> None:
    """An entry is there; the same tuple inside a tag goes to software, and as flows say."""
    world = made("pop_vlan,ext")
    ends = Ends(world).open()
    assert ends.send("vm1", ACK, b"question") == "hardware"
    assert ends.send("vm1", ACK, b"question", inner=True) == "software"
    assert parse(last(world)[1]).vlan_id is None


def test_with_translation_and_a_route() -> None:
    text = FLOWS.replace("ct(commit,zone=1)", "ct(commit,zone=1,nat(src=10.0.0.100))")
    text = text.replace("ct(zone=1,table=1)", "ct(zone=1,nat,table=1)")
    there = "dec_ttl,mod_dl_src:2:0:0:0:0:aa,mod_dl_dst:2:0:0:0:0:bb,mod_vlan_vid:5,ext"
    delivered = []
    for enabled in (True, False):
        world = World(
            policy=text.replace("THERE", there).replace("BACK", "dec_ttl,vm1"),
            ports=ports(),
            options=OffloadOptions(enabled=enabled),
            liberal=True,
        )
        ends = Ends(world)
        ends.send("vm1", SYN)
        for source, flags in (("ext", SYN | ACK), ("vm1", ACK), ("ext", ACK), ("vm1", ACK)):
            frame = ends.frame(source, flags, b"x" * (flags == ACK), "tcp")
            if source == "ext":
                answer = build.tcp_frame(
                    eth_src=MAC["ext"], eth_dst=MAC["vm1"], src=IP["ext"], dst="10.0.0.100",
                    sport=80, dport=40000, seq=parse(frame).seq, ack=parse(frame).ack,
                    flags=flags, payload=b"x" * (flags == ACK),
                )  # fmt: skip
                how = world.packet(push_vlan(answer, 5), EXT5)
            else:
                how = world.packet(frame, VM)
        assert how == ("hardware" if enabled else "software")
        delivered.append(world.delivered)
    assert delivered[0] == delivered[1]
    there_frame = parse(delivered[0][-1][1])
    assert (there_frame.vlan_id, there_frame.ttl) == (5, 63)


def test_into_a_tunnel() -> None:
    delivered = []
    for enabled in (True, False):
        world = made("mod_vlan_vid:5,ext", enabled=enabled, vxlan=TUNNEL)
        ends = Ends(world).open()
        assert ends.send("vm1", ACK, b"deep") == ("hardware" if enabled else "software")
        delivered.append(world.delivered)
    assert delivered[0] == delivered[1]
    inside = decapsulate(delivered[0][-1][1])
    assert inside is not None
    assert parse(inside.frame).vlan_id == 5


def test_a_tagged_packet_that_is_too_long_leaves_in_tagged_fragments() -> None:
    world = made("mod_vlan_vid:5,ext", mtu=576)
    ends = Ends(world).open()
    world.delivered.clear()
    assert ends.send("vm1", ACK, bytes(1000), priority=6) == "software"
    pieces = [parse(frame) for _, frame in world.delivered]
    assert len(pieces) == 2
    assert {(pkt.vlan_id, pkt.vlan_pcp) for pkt in pieces} == {(5, 3)}
    assert all(pkt.frag and len(pkt.frame) <= 576 + 18 for pkt in pieces)


# -- restarts and moves --------------------------------------------------------------------

#: Connections that look the same on the wire: by `ext` with tag 5, and by `ext5`.
BOTH = FLOWS.replace("THERE", "mod_vlan_vid:5,ext").replace("BACK", "vm1") + (
    "table=2,priority=40000,tcp,tp_src=50000,actions=ext5\n"
)


def both(world: World | None = None) -> World:
    switch = None if world is None else world.switch
    return World(policy=BOTH, ports=ports(), switch=switch, liberal=True)


@pytest.mark.parametrize("sports", [(40000, 50000), (50000, 40000)])
def test_a_restart_keeps_rows_that_look_the_same(sports: tuple[int, int]) -> None:
    world = both()
    ends = [Ends(world, sport).open() for sport in sports]
    assert len([hop for hop in world.switch.hops.values() if hop.vlan_id == 5]) == 2
    again = both(world)
    drift = again.reconcile()
    assert (drift.kept, dict(drift.removed), len(again.switch.hops)) == (2, {}, 3)
    for end in ends:
        end.world = again
        assert end.send("vm1", ACK, b"still") == "hardware"
        end.send("vm1", RST | ACK)
    again.later(500.0)
    assert again.switch.empty


def test_a_row_that_no_entry_claims_goes() -> None:
    world = both()
    Ends(world, 50000).open()
    number = max(world.switch.hops) + 1
    (row,) = [hop for hop in world.switch.hops.values() if hop.vlan_id == 5]
    world.switch.hops[number] = type(row)(number, row.kind, port=3, vlan_op=VlanOp.SET, vlan_id=5)
    again = both(world)
    assert again.reconcile().kept == 1
    assert number not in again.switch.hops


def test_a_vport_that_moves_takes_its_tagged_packets_along() -> None:
    world = both()
    ends = [Ends(world, sport).open() for sport in (40000, 50000)]
    ext = msgspec.structs.replace(world.ports.by_id[EXT], port=4)
    world.ports.change([ext])
    ops = rewrites(world.manager.next_hops, world.ports, {EXT})
    assert finish(world.switch.write(ops)) == [None]
    for end, port in zip(ends, (4, 3), strict=True):
        assert end.send("vm1", ACK, b"where?") == "hardware"
        assert last(world)[0] == port
        assert parse(last(world)[1]).vlan_id == 5


# -- any flows, any packets ----------------------------------------------------------------

THERE = [
    "ext",
    "mod_vlan_vid:5,ext",
    "push_vlan:0x8100,set_field:4102->vlan_vid,ext",
    "push_vlan:0x8100,set_field:3->vlan_pcp,ext",
    "load:0x9005->NXM_OF_VLAN_TCI[],ext",
    "mod_vlan_vid:5,NORMAL",
    "mod_vlan_vid:5,resubmit(,4)",
    "mod_vlan_vid:5,pop_vlan,ext",
    "mod_vlan_vid:5,ext,vm1",
    "mod_vlan_vid:5,ext5",
    "pop_vlan,ext6",
    "set_vlan_vid:7,ext",
    "set_field:0/0x1000->vlan_vid,ext",
    "dec_ttl,mod_dl_src:2:0:0:0:0:aa,mod_vlan_vid:5,ext",
    "move:vlan_vid[]->reg1[0..12],mod_vlan_vid:5,ext",
]
BACK = ["vm1", "pop_vlan,vm1", "mod_vlan_vid:0,vm1", "mod_vlan_pcp:2,vm1", "set_vlan_vid:4,vm1"]
STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("tcp"),
            st.sampled_from(["vm1", "ext"]),
            st.sampled_from([SYN, SYN | ACK, ACK, ACK, ACK, FIN | ACK, RST | ACK]),
            st.sampled_from([0, 0, 0, 1, 6, 15]),
            st.sampled_from([False, False, False, True]),
        ),
        st.tuples(
            st.just("udp"), st.sampled_from(["vm1", "ext"]), st.just(0), st.integers(0, 15),
            st.booleans(),
        ),
        st.just(("open", "", 0, 0, False)),
        st.just(("idle", "", 0, 0, False)),
    ),
    max_size=25,
)  # fmt: skip


@settings(deadline=None, max_examples=120)
@given(st.sampled_from(THERE), st.sampled_from(BACK), STEPS, st.sampled_from(Mode))
def test_transparency(
    there: str, back: str, steps: list[tuple[str, str, int, int, bool]], mode: Mode
) -> None:
    """Invariant 1: whatever flows do to tags, the same frames leave with offload and without."""
    if mode is Mode.ASSUME:  # see SYN_RECV in docs/limitations.md
        steps = [(*step[:4], False) for step in steps]
    on, off = made(there, back, mode=mode), made(there, back, enabled=False)
    for world in (on, off):
        tcp, udp = Ends(world), Ends(world, 4000)
        for kind, source, flags, priority, inner in [("open", "", 0, 0, False), *steps]:
            match kind:
                case "tcp":
                    tcp.send(source, flags, b"data", priority=priority, inner=inner)
                case "udp":
                    udp.send(source, priority=priority, inner=inner, proto="udp")
                case "open":
                    tcp.open()
                case _:
                    world.report_idle()
    assert off.by_hardware == 0
    assert Counter(on.delivered) == Counter(off.delivered)


@pytest.mark.parametrize(
    ("back", "inner", "tag"),
    [
        ("mod_vlan_pcp:2,vm1", False, 0x4000),
        ("mod_vlan_pcp:0,vm1", False, 0xF000),
        ("load:1->NXM_OF_VLAN_TCI[12..15],vm1", True, 0x0009),
        ("mod_vlan_vid:4,vm1", True, 0x2004),
    ],
)
def test_a_tag_that_was_inside_or_has_a_priority_keeps_it(back: str, inner: bool, tag: int) -> None:
    world = made("ext", back)
    ends = Ends(world)
    ends.send("vm1", proto="udp", inner=inner)
    ends.send("ext", proto="udp", inner=inner, priority=15)
    port, frame = last(world)
    assert (port, frame[12:16]) == (1, b"\x81\x00" + tag.to_bytes(2, "big"))
