# SPDX-License-Identifier: Apache-2.0
"""Action profiles and selectors: answers, what a read gives back, and where packets go."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from p4rt_stubs.p4.config.v1 import p4info_pb2 as p4info
from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4rt

from .client import match
from .live import V1MODEL, Live, load_config, serve

GROUP_SIZE = 8
Weighted = tuple[int, int]


@pytest.fixture
def live(cache_dir: Path) -> Iterator[Live]:
    config = load_config("selector", V1MODEL)
    for profile in config.p4info.action_profiles:
        if profile.preamble.name == "In.sel":
            profile.max_group_size = GROUP_SIZE
    with serve(config, cache_dir) as running:
        yield running


def member(live: Live, number: int, port: int = 1, profile: str = "sel") -> dict[str, object]:
    action = live.action("send", port, number).action
    return {
        "action_profile_member": p4rt.ActionProfileMember(
            action_profile_id=live.ids[profile], member_id=number, action=action
        )
    }


def group(live: Live, number: int, *members: Weighted, **more: object) -> dict[str, object]:
    """`members`: (member id, weight) each."""
    message = p4rt.ActionProfileGroup(action_profile_id=live.ids["sel"], group_id=number, **more)
    for member_id, weight in members:
        message.members.add(member_id=member_id, weight=weight)
    return {"action_profile_group": message}


def entry(live: Live, *, table: str = "choose", **action: object) -> dict[str, object]:
    field = match(1, lpm=(b"\x05", 8)) if table == "choose" else match(1, exact=b"\x05")
    entry = p4rt.TableEntry(table_id=live.ids[table], match=[field])
    if action:
        entry.action.CopyFrom(p4rt.TableAction(**action))
    return {"table_entry": entry}


def action_set(
    live: Live, *actions: tuple[int, int], **more: object
) -> p4rt.ActionProfileActionSet:
    """`actions`: (port, weight) each."""
    message = p4rt.ActionProfileActionSet()
    for port, weight in actions:
        item = message.action_profile_actions.add(weight=weight, **more)
        item.action.CopyFrom(live.action("send", port, port).action)
    return message


def ports(live: Live, flows: int = 64) -> dict[int, int]:
    """How many of these flows leave on which port."""
    for flow in range(flows):
        live.dataplane.inject(0, bytes([5, flow, 0, 0]))
    counts = {port: len(live.sent(port)) for port in range(4)}
    return {port: count for port, count in counts.items() if count}


def test_member_follows_its_modification(live: Live) -> None:
    live.write("INSERT", **member(live, 7, port=2))
    live.write("INSERT", **entry(live, action_profile_member_id=7))
    assert ports(live) == {2: 64}
    live.write("MODIFY", **member(live, 7, port=3))
    assert ports(live) == {3: 64}
    assert live.read(**entry(live)) == [p4rt.Entity(**entry(live, action_profile_member_id=7))]


def test_group_shares_flows_by_weight(live: Live) -> None:
    for number, port in ((1, 2), (2, 3)):
        live.write("INSERT", **member(live, number, port))
    live.write("INSERT", **group(live, 1, (1, 1), (2, 3), max_size=4))
    live.write("INSERT", **entry(live, action_profile_group_id=1))
    shares = ports(live, 255)
    assert sum(shares.values()) == 255
    assert shares.keys() == {2, 3}
    assert 2 * shares[2] < shares[3]
    live.write("MODIFY", **group(live, 1, (2, 1)))
    assert ports(live) == {3: 64}


def test_everything_comes_back(live: Live) -> None:
    members = [member(live, 1), member(live, 2, port=3)]
    groups = [group(live, 4, (2, 2), (1, 1), max_size=5), group(live, 9)]
    groups[0]["action_profile_group"].members[0].watch_port = b"\x01"
    for written in (*members, *groups):
        live.write("INSERT", **written)
    sel = live.ids["sel"]
    every = p4rt.ActionProfileMember(action_profile_id=sel)
    assert live.read(action_profile_member=every) == [p4rt.Entity(**m) for m in members]
    assert live.read(action_profile_member=p4rt.ActionProfileMember()) == [
        p4rt.Entity(**m) for m in members
    ]
    one = p4rt.ActionProfileMember(action_profile_id=sel, member_id=2)
    assert live.read(action_profile_member=one) == [p4rt.Entity(**members[1])]
    every = p4rt.ActionProfileGroup(action_profile_id=sel)
    assert live.read(action_profile_group=every) == [p4rt.Entity(**g) for g in groups]
    one = p4rt.ActionProfileGroup(action_profile_id=sel, group_id=4)
    assert live.read(action_profile_group=one) == [p4rt.Entity(**groups[0])]


def test_missing_ones_read_as_nothing(live: Live) -> None:
    sel = live.ids["sel"]
    missing = p4rt.ActionProfileMember(action_profile_id=sel, member_id=5)
    assert live.read(action_profile_member=missing) == []
    missing = p4rt.ActionProfileGroup(action_profile_id=sel, group_id=5)
    assert live.read(action_profile_group=missing) == []
    unknown = p4rt.ActionProfileMember(action_profile_id=1)
    assert live.read_refused(action_profile_member=unknown) == "INVALID_ARGUMENT"


def test_member_refusals(live: Live) -> None:
    live.write("INSERT", **member(live, 1))
    assert live.refused("INSERT", **member(live, 1)) == "ALREADY_EXISTS"
    assert live.refused("MODIFY", **member(live, 2)) == "NOT_FOUND"
    assert live.refused("DELETE", **member(live, 2)) == "NOT_FOUND"
    assert live.refused("INSERT", **member(live, 0)) == "INVALID_ARGUMENT"
    without = member(live, 2)
    without["action_profile_member"].ClearField("action")
    assert live.refused("INSERT", **without) == "INVALID_ARGUMENT"
    elsewhere = member(live, 2)
    elsewhere["action_profile_member"].action_profile_id = live.ids["choose"]
    assert live.refused("INSERT", **elsewhere) == "INVALID_ARGUMENT"
    other = member(live, 2)
    other["action_profile_member"].action.CopyFrom(live.action("mark", 1).action)
    assert live.refused("INSERT", **other) == "INVALID_ARGUMENT"
    for number in range(2, 65):
        live.write("INSERT", **member(live, number))
    assert live.refused("INSERT", **member(live, 65)) == "RESOURCE_EXHAUSTED"


def test_what_is_used_stays(live: Live) -> None:
    live.write("INSERT", **member(live, 1))
    live.write("INSERT", **group(live, 1, (1, 1)))
    live.write("INSERT", **entry(live, action_profile_group_id=1))
    assert live.refused("DELETE", **member(live, 1)) == "FAILED_PRECONDITION"
    assert live.refused("DELETE", **group(live, 1)) == "FAILED_PRECONDITION"
    live.write("DELETE", **entry(live))
    live.write("DELETE", **group(live, 1))
    live.write("DELETE", **member(live, 1))


@pytest.mark.parametrize(
    ("members", "size", "code"),
    [
        ([(3, 1)], 0, "NOT_FOUND"),
        ([(1, 0)], 0, "INVALID_ARGUMENT"),
        ([(1, -1)], 0, "INVALID_ARGUMENT"),
        ([(1, 1), (1, 1)], 0, "INVALID_ARGUMENT"),
        ([], GROUP_SIZE + 1, "INVALID_ARGUMENT"),
        ([], -1, "INVALID_ARGUMENT"),
        ([(1, 2), (2, 3)], 4, "RESOURCE_EXHAUSTED"),
        ([(1, GROUP_SIZE + 1)], 0, "RESOURCE_EXHAUSTED"),
    ],
)
def test_refused_group_leaves_nothing(
    live: Live, members: list[Weighted], size: int, code: str
) -> None:
    live.write("INSERT", **member(live, 1))
    live.write("INSERT", **member(live, 2))
    assert live.refused("INSERT", **group(live, 1, *members, max_size=size)) == code
    assert live.read(action_profile_group=p4rt.ActionProfileGroup()) == []


def test_group_refusals(live: Live) -> None:
    live.write("INSERT", **group(live, 1, max_size=2))
    assert live.refused("INSERT", **group(live, 1)) == "ALREADY_EXISTS"
    assert live.refused("INSERT", **group(live, 0)) == "INVALID_ARGUMENT"
    assert live.refused("MODIFY", **group(live, 2)) == "NOT_FOUND"
    assert live.refused("DELETE", **group(live, 2)) == "NOT_FOUND"
    assert live.refused("MODIFY", **group(live, 1, max_size=3)) == "INVALID_ARGUMENT"
    live.write("MODIFY", **group(live, 1))
    live.write("MODIFY", **group(live, 1, max_size=2))
    plain = group(live, 3)
    plain["action_profile_group"].action_profile_id = live.ids["plain"]
    assert live.refused("INSERT", **plain) == "INVALID_ARGUMENT"


def test_member_and_group_ids_are_separate(live: Live) -> None:
    live.write("INSERT", **member(live, 1))
    live.write("INSERT", **group(live, 1, (1, 1)))


def test_entries_that_do_not_fit_the_table(live: Live) -> None:
    for action, code in (
        ({"action_profile_member_id": 5}, "NOT_FOUND"),
        ({"action_profile_group_id": 5}, "NOT_FOUND"),
        ({"action": live.action("send", 1, 1).action}, "INVALID_ARGUMENT"),
        ({}, "INVALID_ARGUMENT"),
    ):
        assert live.refused("INSERT", **entry(live, **action)) == code
    for action in (
        {"action_profile_group_id": 5},
        {"action_profile_action_set": action_set(live, (1, 1))},
    ):
        refused = live.refused("INSERT", **entry(live, table="first", **action))
        assert refused == "INVALID_ARGUMENT"
    default = p4rt.TableEntry(
        table_id=live.ids["choose"], is_default_action=True, action=live.action("NoAction")
    )
    assert live.refused("MODIFY", table_entry=default) == "INVALID_ARGUMENT"


def test_action_set_is_read_back_verbatim(live: Live) -> None:
    chosen = action_set(live, (3, 1), (2, 3), (3, 1))
    chosen.action_profile_actions[1].watch_port = b"\x02"
    written = entry(live, action_profile_action_set=chosen)
    live.write("INSERT", **written)
    assert live.read(**entry(live)) == [p4rt.Entity(**written)]
    assert live.read(**written) == [p4rt.Entity(**written)]  # as a filter
    assert ports(live, 255).keys() == {2, 3}
    live.write("MODIFY", **entry(live, action_profile_action_set=action_set(live, (1, 1))))
    assert ports(live) == {1: 64}
    live.write("DELETE", **entry(live))
    assert live.read(**entry(live)) == []


def test_action_set_refusals(live: Live) -> None:
    for chosen, code in (
        (action_set(live), "UNIMPLEMENTED"),
        (action_set(live, (1, 0)), "INVALID_ARGUMENT"),
        (action_set(live, (1, GROUP_SIZE), (2, 1)), "RESOURCE_EXHAUSTED"),
    ):
        assert live.refused("INSERT", **entry(live, action_profile_action_set=chosen)) == code
    assert live.read(**entry(live)) == []


def test_members_and_action_sets_are_not_mixed(live: Live) -> None:
    one_shot = entry(live, action_profile_action_set=action_set(live, (1, 1)))
    live.write("INSERT", **one_shot)
    assert live.refused("INSERT", **member(live, 1)) == "INVALID_ARGUMENT"
    assert live.refused("INSERT", **group(live, 1)) == "INVALID_ARGUMENT"
    live.write("INSERT", **member(live, 1, profile="plain"))  # another profile
    live.write("DELETE", **one_shot)
    live.write("INSERT", **member(live, 1))
    assert live.refused("INSERT", **one_shot) == "INVALID_ARGUMENT"
    live.push()
    live.write("INSERT", **one_shot)


@pytest.mark.parametrize("form", [{"watch_port": b"\x02"}, {"watch": 2}])
def test_watched_port_that_goes_down(live: Live, form: dict[str, object]) -> None:
    chosen = action_set(live, (3, 1))
    live_port = chosen.action_profile_actions.add(weight=1, **form)
    live_port.action.CopyFrom(live.action("send", 2, 2).action)
    live.write("INSERT", **entry(live, action_profile_action_set=chosen))
    assert ports(live, 255).keys() == {2, 3}
    live.dataplane.set_port_up(2, False)
    assert ports(live, 255).keys() == {3}
    live.dataplane.set_port_up(2, True)
    assert ports(live, 255).keys() == {2, 3}
    (read,) = live.read(**entry(live))
    found = read.table_entry.action.action_profile_action_set.action_profile_actions[1]
    assert found.watch_port == b"\x02"


def test_push_clears_members_and_groups(live: Live) -> None:
    live.write("INSERT", **member(live, 1))
    live.write("INSERT", **group(live, 1, (1, 1)))
    live.push()
    assert live.read(action_profile_member=p4rt.ActionProfileMember()) == []
    assert live.read(action_profile_group=p4rt.ActionProfileGroup()) == []


@pytest.mark.parametrize("spoil", ["name", "size", "with_selector", "sum_of_members"])
def test_p4info_must_agree(live: Live, spoil: str) -> None:
    config = load_config("selector", V1MODEL)
    profile: p4info.ActionProfile = config.p4info.action_profiles[1]
    if spoil == "name":
        profile.preamble.name = "In.other"
    elif spoil == "size":
        profile.size = 3
    elif spoil == "with_selector":
        profile.with_selector = False
    else:
        profile.sum_of_members.SetInParent()
    with pytest.raises(Exception, match=r"(?s)INVALID_ARGUMENT.*action profile"):
        live.client.push(config, election_id={"low": 1})
