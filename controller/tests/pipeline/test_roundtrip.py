# SPDX-License-Identifier: Apache-2.0
"""Whatever flow there is, its dump-flows line parses back to the same flow."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from p4ct.conntrack import NatRange
from p4ct.pipeline import Flow, flow_line, parse_flows
from p4ct.pipeline.actions import (
    Ct,
    CtClear,
    DecTtl,
    GotoTable,
    InPort,
    Move,
    Normal,
    Output,
    OutputField,
    PopVlan,
    PushVlan,
    Resubmit,
    SetField,
    SetTag,
)
from p4ct.pipeline.fields import FIELDS, REGISTERS, Field
from p4ct.pipeline.match import FieldMatch, Match
from p4ct.pipeline.subfield import PREREQUISITES, WRITABLE, Subfield

PORTS = {"vm1": 1, "vm2": 2, "ext": 3}
NAMES = {number: name for name, number in PORTS.items()}
F = Field

LINK = {
    "ip": (0x0800, None),
    "ipv6": (0x86DD, None),
    "arp": (0x0806, None),
    "tcp": (0x0800, 6),
    "tcp6": (0x86DD, 6),
    "udp": (0x0800, 17),
    "icmp": (0x0800, 1),
    "icmp6": (0x86DD, 58),
    "sctp6": (0x86DD, 132),
    "gre": (0x0800, 47),
    "none": (None, None),
    "lldp": (0x88CC, None),
    "rarp": (0x8035, None),
}
ANY = [F.CT_ZONE, F.CT_MARK, F.CT_LABEL, F.DL_SRC, F.DL_DST, *REGISTERS]
IP = [F.NW_ECN, F.NW_TTL]
CT_STATES = [
    (0x20, 0x21),
    (0x22, 0x22),
    (0x21, 0x21),
    (0x30, 0x30),
    (0, 0x20),
    (0, 0xFF),
    (0x2A, 0xFF),
]
FRAGS = [(0, 3), (1, 1), (1, 3), (3, 3), (0, 2)]
MASKABLE = {
    F.CT_ZONE,
    F.CT_MARK,
    F.CT_LABEL,
    *REGISTERS,
    F.DL_SRC,
    F.DL_DST,
    F.NW_SRC,
    F.NW_DST,
    F.IPV6_SRC,
    F.IPV6_DST,
    F.ARP_SPA,
    F.ARP_TPA,
    F.ARP_SHA,
    F.ARP_THA,
    F.TP_SRC,
    F.TP_DST,
    F.TCP_FLAGS,
    F.ND_TARGET,
}


def fields_of(dl_type: int | None, proto: int | None) -> list[Field]:
    """The fields that a match on these protocols may have."""
    fields = list(ANY)
    if dl_type == 0x0806:
        fields += [F.ARP_SPA, F.ARP_TPA, F.ARP_OP, F.ARP_SHA, F.ARP_THA]
    if dl_type == 0x0800:
        fields += [*IP, F.NW_SRC, F.NW_DST]
    if dl_type == 0x86DD:
        fields += [*IP, F.IPV6_SRC, F.IPV6_DST]
    if proto in (6, 17):
        fields += [F.TP_SRC, F.TP_DST]
    if proto == 6:
        fields.append(F.TCP_FLAGS)
    if proto in (1, 58):
        fields += [F.ICMP_TYPE, F.ICMP_CODE]
    return fields


@st.composite
def matches(draw: st.DrawFn) -> Match:
    dl_type, proto = LINK[draw(st.sampled_from(sorted(LINK)))]
    terms: dict[Field, tuple[int, int]] = {}
    if dl_type is not None:
        terms[F.DL_TYPE] = dl_type, 0xFFFF
    if proto is not None:
        terms[F.NW_PROTO] = proto, 0xFF
    for field in draw(st.sets(st.sampled_from(fields_of(dl_type, proto)))):
        full = FIELDS[field].mask
        mask = draw(st.integers(1, full)) if field in MASKABLE and draw(st.booleans()) else full
        terms[field] = draw(st.integers(0, full)) & mask, mask
    if draw(st.booleans()):
        terms[F.IN_PORT] = draw(st.sampled_from(sorted(NAMES))), 0xFFFF
    if draw(st.booleans()):
        terms[F.CT_STATE] = draw(st.sampled_from(CT_STATES))
    if dl_type in (0x0800, 0x86DD) and draw(st.booleans()):
        terms[F.NW_FRAG] = draw(st.sampled_from(FRAGS))
        terms[F.NW_TOS] = draw(st.integers(0, 63)) << 2, 0xFC
    if draw(st.booleans()):
        mask = draw(st.integers(1, 0xFFFF) | st.sampled_from([0xFFFF, 0x1FFF, 0xF000, 0xEFFF]))
        tci = draw(st.integers(0, 0xFFFF)) & mask
        terms[F.VLAN_VID] = tci & 0x1FFF, mask & 0x1FFF
        terms[F.VLAN_PCP] = tci >> 13, mask >> 13
    if proto == 58 and draw(st.booleans()):
        terms |= {F.ICMP_TYPE: (135, 0xFF), F.ICMP_CODE: (0, 0xFF)}
        terms[F.ND_TARGET] = draw(st.integers(0, (1 << 128) - 1)), (1 << 128) - 1
    return Match(FieldMatch(field, *term) for field, term in terms.items())


ports = st.sampled_from(sorted(NAMES))
tables = st.integers(0, 254)
resubmits = st.one_of(
    st.builds(Resubmit, ports, st.none() | tables), st.builds(Resubmit, st.none(), tables)
)
#: Bits of the priority and any others; the VLAN id alone, or the priority alone, is a SetField.
tag_masks = st.integers(0x2000, 0xFFFF).filter(lambda mask: mask != 0xE000)
tags = st.tuples(st.integers(0, 0xFFFF), st.sampled_from([0xFFFF, 0xF000]) | tag_masks).map(
    lambda tag: SetTag(tag[0] & tag[1], tag[1])
)
plain = st.one_of(
    st.builds(Output, ports),
    st.just(InPort()),
    st.just(Normal()),
    st.just(CtClear()),
    st.just(PopVlan()),
    tags,
    resubmits,
)


@st.composite
def subfields(draw: st.DrawFn, fields: list[Field], bits: int | None = None) -> Subfield:
    field = draw(st.sampled_from([f for f in fields if bits is None or FIELDS[f].bits >= bits]))
    bits = draw(st.integers(1, min(16, FIELDS[field].bits))) if bits is None else bits
    return Subfield(field, draw(st.integers(0, FIELDS[field].bits - bits)), bits)


def writable(dl_type: int | None, proto: int | None) -> list[Field]:
    """What the actions of a flow with such a match may write."""
    has = {"ip": dl_type == 0x0800, "ipv6": dl_type == 0x86DD, "arp": dl_type == 0x0806}
    has["ip or ipv6"] = has["ip"] or has["ipv6"]
    has["vlan"] = False  # see `anew`
    has["tcp or udp"] = has["ip or ipv6"] and proto in (6, 17)
    return [f for f in sorted(WRITABLE) if f not in PREREQUISITES or has[PREREQUISITES[f]]]


@st.composite
def sets(draw: st.DrawFn, fields: list[Field]) -> SetField:
    field = draw(st.sampled_from(fields))
    full = 0xFC if field is F.NW_TOS else FIELDS[field].mask
    if field in (F.NW_ECN, F.NW_TTL, F.ARP_OP, F.VLAN_PCP):
        mask = draw(subfields([field])).mask
    else:
        fixed = field is F.NW_TOS or draw(st.booleans())
        mask = full if fixed else draw(st.integers(1, full))
    return SetField(field, draw(st.integers(0, full)) & mask, mask)


@st.composite
def moves(draw: st.DrawFn, sources: list[Field], targets: list[Field]) -> Move:
    target = draw(subfields([f for f in targets if f is not F.NW_TOS]))
    return Move(draw(subfields([f for f in sources if f is not F.NW_TOS], target.bits)), target)


@st.composite
def nats(draw: st.DrawFn, size: int) -> NatRange:
    numbers = st.integers(1, (1 << 8 * size) - 1)
    low, high = sorted((draw(numbers), draw(numbers)))
    ports = draw(st.none() | st.tuples(st.integers(1, 0xFFFF), st.integers(1, 0xFFFF)))
    flag = draw(st.sampled_from(["", "random", "hash"]))
    return NatRange(
        draw(st.booleans()),
        low.to_bytes(size, "big"),
        draw(st.sampled_from([low, high])).to_bytes(size, "big"),
        None if ports is None else (min(ports), max(ports)),
        random=flag == "random",
        hash=flag == "hash",
        persistent=draw(st.booleans()),
    )


@st.composite
def cts(draw: st.DrawFn, dl_type: int | None) -> Ct:
    commit = draw(st.booleans())
    nat = draw(st.booleans())
    marks = [F.CT_MARK, F.CT_LABEL]
    writes = sets(marks) | moves([*marks, *REGISTERS], marks)
    size = 4 if dl_type == 0x0800 else 16
    return Ct(
        commit,
        draw(st.integers(0, 0xFFFF) | subfields([*REGISTERS, F.CT_MARK])),
        draw(st.none() | tables),
        force=commit and draw(st.booleans()),
        alg=draw(st.sampled_from(["", "ftp", "tftp"])) if commit else "",
        timeout=draw(st.sampled_from(["", "short", "a.b-c_9"])) if commit else "",
        nat=nat,
        nat_range=draw(st.none() | nats(size)) if nat and commit else None,
        writes=tuple(draw(st.lists(writes, max_size=3))) if commit else (),
    )


#: A new tag, and what may be done to a tag only where one is for certain.
anew = st.lists(sets([F.VLAN_PCP]) | moves([F.VLAN_PCP, F.VLAN_VID], [F.VLAN_PCP]), max_size=2).map(
    lambda writes: [PopVlan(), PushVlan(), *writes]
)


@st.composite
def flows(draw: st.DrawFn) -> Flow:
    match = draw(matches())
    state = match.get(F.CT_STATE)
    trackable = match.exact(F.DL_TYPE) in (0x0800, 0x86DD) and not (
        state is not None and state.value & 0x10
    )
    dl_type, proto = match.exact(F.DL_TYPE), match.exact(F.NW_PROTO)
    places = writable(dl_type, proto)
    choices = plain | sets(places) | moves(places, places)
    choices |= subfields([*REGISTERS, F.IN_PORT]).map(OutputField)
    if trackable and state is not None and state.value & 0x0F:
        choices |= st.builds(Resubmit, st.none() | ports, tables, st.just(True))
    if dl_type in (0x0800, 0x86DD):
        choices |= st.just(DecTtl())
    if trackable:
        choices |= cts(dl_type)
    actions = draw(st.just([]) | anew) + draw(st.lists(choices, max_size=5))
    table = draw(tables)
    if table < 254 and draw(st.booleans()):
        actions.append(GotoTable(draw(st.integers(table + 1, 254))))
    return Flow(
        match,
        tuple(actions),
        table=table,
        priority=draw(st.integers(0, 0xFFFF) | st.just(0x8000)),
        cookie=draw(st.integers(0, (1 << 64) - 1)),
    )


@given(flow=flows(), named=st.booleans())
def test_round_trip(flow: Flow, named: bool) -> None:
    text = flow_line(flow, 12.5, NAMES.__getitem__ if named else str)
    (again,) = parse_flows(text, ports=PORTS, timeouts=["short", "a.b-c_9"])
    assert again.rule == flow.rule, text


def test_like_ovs_ofctl() -> None:
    text = "cookie=5,table=1,priority=7,tcp,in_port=vm1,tp_dst=80,ct_state=+trk+new"
    (flow,) = parse_flows(f"{text},actions=ct(commit,table=2),vm2", ports=PORTS)
    flow.created = 10.0
    flow.n_packets, flow.n_bytes = 3, 300
    flow.hw_packets, flow.hw_bytes = 40, 4000
    assert flow_line(flow, 11.5) == (
        " cookie=0x5, duration=1.500s, table=1, n_packets=43, n_bytes=4300, "
        "priority=7,ct_state=+new+trk,tcp,in_port=1,tp_dst=80 "
        "actions=ct(commit,table=2),output:2"
    )
    (flow,) = parse_flows("actions=drop", ports=PORTS)
    assert flow_line(flow, 0.0).endswith("n_bytes=0, actions=drop")
    (flow,) = parse_flows("priority=0,actions=NORMAL", ports=PORTS)
    assert flow_line(flow, 0.0).endswith("n_bytes=0, priority=0 actions=NORMAL")
