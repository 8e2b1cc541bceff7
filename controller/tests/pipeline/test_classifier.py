# SPDX-License-Identifier: Apache-2.0
"""The classifier against a plain search through all flows, and what it says it looked at."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from p4ct.pipeline import Field, FieldSet, Flow, Match, parse_flows
from p4ct.pipeline.classifier import Classifier
from p4ct.pipeline.fields import FIELDS, Key, Stage, field_set
from p4ct.pipeline.match import FieldMatch

PORTS = {"vm1": 1, "vm2": 2, "ext": 3}
F = Field


def make(text: str) -> tuple[Classifier, list[Flow]]:
    flows = parse_flows(text, ports=PORTS)
    return Classifier(flows), flows


def key(**values: int) -> Key:
    made = [0] * len(Field)
    for name, value in values.items():
        made[F[name.upper()]] = value
    return made


def test_highest_priority_wins_across_and_within_subtables() -> None:
    classifier, flows = make(
        "priority=1,actions=drop\n"
        "priority=5,tcp,actions=vm1\n"
        "priority=9,tcp,tp_dst=80,actions=vm2\n"
        "priority=7,tcp,tp_dst=81,actions=ext\n"
        "priority=8,ip,actions=NORMAL\n"
    )
    tcp = {"dl_type": 0x800, "nw_proto": 6}
    assert classifier.lookup(key(**tcp, tp_dst=80))[0] is flows[2]
    assert classifier.lookup(key(**tcp, tp_dst=81))[0] is flows[4]
    assert classifier.lookup(key(dl_type=0x800, nw_proto=17))[0] is flows[4]
    assert classifier.lookup(key(dl_type=0x806))[0] is flows[0]


def test_equal_priority_is_decided_by_age() -> None:
    text = "priority=5,ip,nw_src=10.0.0.1,actions=vm1\npriority=5,ip,nw_dst=10.0.0.2,actions=vm2\n"
    packet = key(dl_type=0x800, nw_src=0x0A000001, nw_dst=0x0A000002)
    classifier, flows = make(text)
    assert classifier.lookup(packet)[0] is flows[0]
    reversed_text = "\n".join(reversed(text.splitlines()))
    classifier, flows = make(reversed_text)
    assert classifier.lookup(packet)[0] is flows[0]


def test_equal_priority_in_a_subtable_that_is_searched_later() -> None:
    # The first subtable is on a par with the second only by its second, younger flow.
    classifier, flows = make(
        "priority=1,ip,nw_src=10.0.0.9,actions=drop\n"
        "priority=5,ip,nw_dst=10.0.0.2,actions=vm2\n"
        "priority=5,ip,nw_src=10.0.0.1,actions=vm1\n"
    )
    packet = key(dl_type=0x800, nw_src=0x0A000001, nw_dst=0x0A000002)
    assert classifier.lookup(packet)[0] is flows[1]


def test_nothing_found() -> None:
    classifier, _ = make("arp,actions=drop")
    assert classifier.lookup(key(dl_type=0x800)) == (None, 1 << F.DL_TYPE)
    assert Classifier([]).lookup(key()) == (None, 0)


def test_a_failed_match_is_a_look_but_only_as_far_as_it_got() -> None:
    classifier, flows = make(
        "priority=9,tcp,nw_src=10.0.0.1,tcp_flags=+syn,actions=drop\npriority=1,actions=vm1\n"
    )
    found, looked = classifier.lookup(key(dl_type=0x86DD))
    assert found is flows[1]
    assert FieldSet(looked).names() == ("dl_type",)
    _, looked = classifier.lookup(key(dl_type=0x800, nw_proto=17))
    assert FieldSet(looked).names() == ("dl_type", "nw_proto")
    _, looked = classifier.lookup(key(dl_type=0x800, nw_proto=6, nw_src=1))
    assert FieldSet(looked).names() == ("dl_type", "nw_proto", "nw_src")
    _, looked = classifier.lookup(key(dl_type=0x800, nw_proto=6, nw_src=0x0A000001))
    assert FieldSet(looked).names() == ("dl_type", "nw_proto", "nw_src", "tcp_flags")


def test_lower_priorities_than_the_hit_are_not_looked_at() -> None:
    classifier, _ = make("priority=9,in_port=vm1,actions=drop\npriority=1,ip,nw_ttl=1,actions=vm1")
    _, looked = classifier.lookup(key(in_port=1, dl_type=0x800))
    assert FieldSet(looked).names() == ("in_port",)
    _, looked = classifier.lookup(key(in_port=2, dl_type=0x800))
    assert FieldSet(looked).names() == ("dl_type", "in_port", "nw_ttl")


def test_uncovered_fields_are_looked_at_last() -> None:
    from p4ct.packet import parse
    from p4ct.pipeline import covered_by_connection_entry

    echo = covered_by_connection_entry(parse(bytes(60)))
    last = field_set(field for field in Field if FIELDS[field].stage == Stage.REST)
    assert not echo & last
    assert echo | last == field_set(Field)


# Few values in few fields, so that flows and packets meet.
FIELDS_USED = [F.IN_PORT, F.DL_TYPE, F.NW_PROTO, F.DL_SRC, F.NW_SRC, F.TP_DST, F.NW_TTL, F.CT_STATE]
values = st.integers(0, 3)
matches = st.dictionaries(
    st.sampled_from(FIELDS_USED), st.tuples(values, st.sampled_from([1, 2, 3, 0])), max_size=4
).map(
    lambda terms: Match(
        FieldMatch(field, value & mask if mask else value, mask or FIELDS[field].mask)
        for field, (value, mask) in terms.items()
    )
)
policies = st.lists(st.tuples(matches, st.integers(0, 3)), max_size=12)
keys = st.fixed_dictionaries(dict.fromkeys(FIELDS_USED, values))


def reference(flows: list[Flow], packet: Key) -> Flow | None:
    hits = [flow for flow in flows if flow.match.matches(packet)]
    return min(hits, key=lambda flow: (-flow.priority, flow.id), default=None)


@given(policy=policies, packet=keys, other=keys)
def test_same_answer_as_a_plain_search_and_honest_about_looks(
    policy: list[tuple[Match, int]], packet: dict[Field, int], other: dict[Field, int]
) -> None:
    flows = [Flow(match, (), priority=priority) for match, priority in policy]
    classifier = Classifier(flows)
    first: Key = [packet.get(field, 0) for field in Field]
    found, looked = classifier.lookup(first)
    assert found is reference(flows, first)
    # Whatever was not looked at may be anything.
    changed = [first[field] if looked >> field & 1 else other.get(field, 0) for field in Field]
    assert classifier.lookup(changed) == (found, looked)
