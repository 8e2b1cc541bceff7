# SPDX-License-Identifier: Apache-2.0
"""What was not looked at cannot matter: the property that offloading rests on.

Two packets that agree on the fields that the first one's result looked at, and that conntrack gives
the same answers for, get the same result.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from p4ct.conntrack import CtState
from p4ct.packet import Packet, parse
from p4ct.packet.build import tcp_frame, udp_frame
from p4ct.pipeline import Field, FieldSet, PeekConntrack, Result
from p4ct.pipeline.fields import CT_FIELDS, REGISTERS, build_key

terms = st.sampled_from(
    [
        "in_port=vm1",
        "in_port=vm2",
        "dl_src=02:00:00:00:00:01",
        "dl_dst=02:00:00:00:00:02/ff:ff:ff:ff:ff:fe",
        "dl_vlan=5",
        "dl_vlan=0xffff",
        "dl_vlan_pcp=1",
        "nw_src=10.0.0.0/31",
        "nw_src=10.0.0.1",
        "nw_dst=10.0.0.2",
        "nw_tos=4",
        "nw_ecn=1",
        "nw_ttl=1",
        "nw_frag=no",
        "ct_state=+trk",
        "ct_state=-trk",
        "ct_state=+new",
        "ct_state=+est+trk",
        "ct_zone=1",
        "ct_mark=1",
        "reg1=1/1",
        "nw_proto=6",
        "nw_proto=17",
    ]
)
tcp_terms = st.sampled_from(
    ["tp_src=1", "tp_dst=0/1", "tp_dst=2", "tcp_flags=+syn", "tcp_flags=-ack"]
)
actions = st.sampled_from(
    [
        "drop",
        "vm1",
        "vm2,ext",
        "in_port",
        "NORMAL",
        "ct(table=1)",
        "ct(zone=1,table=2)",
        "ct(commit),ext",
        "ct(commit,zone=1,table=3),vm2",
        "resubmit(,2)",
        "resubmit(vm2,3)",
        "resubmit(,3),NORMAL",
        "ct_clear,resubmit(,1)",
        "set_field:10.0.0.2->nw_dst,resubmit(,2),vm2",
        "set_field:1->nw_ttl,resubmit(,3)",
        "set_field:4->nw_tos,ext",
        "dec_ttl,set_field:02:00:00:00:00:02->eth_dst,NORMAL",
        "move:nw_src[0..7]->reg1[0..7],resubmit(,1)",
        "load:1->reg1[0..1],ct(zone=reg1[0],table=2)",
        "ct(commit,exec(set_field:1->ct_mark),table=3),ext",
        "pop_vlan,resubmit(,1)",
        "push_vlan:0x8100,resubmit(,2),vm2",
        "mod_vlan_vid:5,NORMAL",
        "load:2->reg1[],output:reg1[0..1],output:nw_ttl[0..1]",
        "resubmit(,1,ct),vm2",
        "set_vlan_pcp:1,ct(table=3)",
        "load:1->NXM_OF_VLAN_TCI[0..2],ext",
    ]
)


@st.composite
def flow_text(draw: st.DrawFn) -> str:
    chosen = draw(st.lists(terms, max_size=3, unique_by=lambda term: term.partition("=")[0]))
    words = ["ip"]
    if draw(st.booleans()):
        chosen = [term for term in chosen if not term.startswith("nw_proto")]
        words = ["tcp", *draw(st.lists(tcp_terms, max_size=1))]
    if "dl_vlan=0xffff" in chosen:
        chosen = [term for term in chosen if not term.startswith("dl_vlan_pcp")]
    table, priority = draw(st.integers(0, 3)), draw(st.integers(0, 3))
    match = ",".join([*words, *chosen])
    return f"table={table},priority={priority},{match},actions={draw(actions)}"


@st.composite
def packets(draw: st.DrawFn) -> tuple[Packet, int]:
    small = st.integers(1, 2)
    fields = {
        "src": f"10.0.0.{draw(small)}",
        "dst": f"10.0.0.{draw(small)}",
        "sport": draw(small),
        "dport": draw(small),
        "eth_src": f"02:00:00:00:00:0{draw(small)}",
        "eth_dst": f"02:00:00:00:00:0{draw(st.integers(1, 3))}",
        "ttl": draw(st.integers(1, 3)),
        "tos": draw(st.sampled_from([0, 1, 4])),
    }
    vlan = draw(st.sampled_from([None, 5]))
    if vlan is not None:
        fields |= {"vlan_id": vlan, "vlan_pcp": draw(st.integers(0, 1))}
    if draw(st.booleans()):
        frame = tcp_frame(**fields, flags=draw(st.sampled_from([2, 0x10, 0x12])))
    else:
        frame = udp_frame(**fields)
    return parse(frame), draw(st.integers(1, 3))


states = st.sampled_from(
    [CtState.TRK | CtState.NEW, CtState.TRK | CtState.EST, CtState.TRK | CtState.INV]
)


def outcome(result: Result) -> tuple[object, ...]:
    return (
        result.outputs,
        result.drop_reason,
        [flow.id for flow in result.path],
        int(result.looked_at),
        [(visit.zone, visit.committed) for visit in result.ct],
        result.flood,
        result.fdb_dependencies,
    )


def agree(first: tuple[Packet, int], second: tuple[Packet, int], looked: FieldSet) -> bool:
    one, two = build_key(*first), build_key(*second)
    # A TTL of 1 or less is trapped by the eswitch, whatever entry there is.
    if (one[Field.NW_TTL] <= 1) != (two[Field.NW_TTL] <= 1):
        return False
    return all(
        one[field] == two[field]
        for field in looked.fields()
        if field not in (*CT_FIELDS, *REGISTERS)
    )


def blend(first: tuple[Packet, int], other: tuple[Packet, int], looked: FieldSet) -> Packet | None:
    """`other` with the looked-at fields of `first`: a packet that agrees in a different way."""
    one, two = build_key(*first), build_key(*other)
    pick = [one[f] if f in looked else two[f] for f in Field]
    if pick[Field.NW_PROTO] not in (6, 17):
        return None
    fields = {
        "src": pick[Field.NW_SRC].to_bytes(4, "big"),
        "dst": pick[Field.NW_DST].to_bytes(4, "big"),
        "sport": pick[Field.TP_SRC],
        "dport": pick[Field.TP_DST],
        "eth_src": pick[Field.DL_SRC].to_bytes(6, "big"),
        "eth_dst": pick[Field.DL_DST].to_bytes(6, "big"),
        "ttl": pick[Field.NW_TTL],
        "tos": pick[Field.NW_TOS] | pick[Field.NW_ECN],
    }
    if pick[Field.VLAN_VID]:
        fields |= {"vlan_id": pick[Field.VLAN_VID] & 0xFFF, "vlan_pcp": pick[Field.VLAN_PCP]}
    if pick[Field.NW_PROTO] == 6:
        return parse(tcp_frame(**fields, flags=pick[Field.TCP_FLAGS]))
    return parse(udp_frame(**fields))


@settings(max_examples=150)
@given(
    policy=st.lists(flow_text(), min_size=1, max_size=10),
    first=packets(),
    other=packets(),
    zones=st.fixed_dictionaries({0: states, 1: states}),
    known=st.booleans(),
)
def test_what_was_not_looked_at_does_not_matter(policy, first, other, zones, known) -> None:
    from p4ct.pipeline import Flow, parse_flows

    switch = _switch()
    unique: dict[object, Flow] = {}
    for line in policy:
        if "dl_vlan=5" in line or "dl_vlan_pcp" in line:
            line = line.replace("push_vlan:0x8100,", "")  # not a second one
        else:
            line = line.replace("set_vlan_pcp", "mod_vlan_pcp")
        if "+new" not in line and "+est" not in line:
            line = line.replace("resubmit(,1,ct)", "resubmit(,1)")
        (flow,) = parse_flows(line, ports=switch.ports.numbers)
        unique.setdefault(flow.slot, flow)
    switch.pipeline.replace(unique.values())
    switch.ct.states = zones
    if known:
        for vlan in (0, 5):
            switch.pipeline.macs.learn(vlan, bytes.fromhex("020000000002"), 2, 0.0)
    peek = PeekConntrack(switch.ct)
    result = switch.pipeline.process(*first, 0.0, ct=peek)
    looked = result.looked_at
    blended = blend(first, other, looked)
    in_port = first[1] if Field.IN_PORT in looked else other[1]
    for packet in (other, None if blended is None else (blended, in_port)):
        if packet is not None and agree(first, packet, looked):
            assert outcome(switch.pipeline.process(*packet, 0.0, ct=peek)) == outcome(result)


def _switch():
    from p4ct.pipeline import Pipeline, PortTable, Vport

    class Fixed:
        """The same answer for every packet of a zone."""

        def __init__(self) -> None:
            self.states: dict[int, CtState] = {}

        def peek(self, pkt: Packet, zone: int, now: float):
            from p4ct.conntrack import CtResult, Direction

            return CtResult(self.states[zone], None, Direction.ORIGINAL, zone)

        def preview(self, result, pkt: Packet, now: float, **_: object):
            return None

    class Switch:
        ports = PortTable([Vport(1, "vm1", 1), Vport(2, "vm2", 2), Vport(3, "ext", 3)])

        def __init__(self) -> None:
            self.ct = Fixed()
            self.pipeline = Pipeline(self.ports, PeekConntrack(self.ct))

    return Switch()
