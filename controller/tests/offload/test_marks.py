# SPDX-License-Identifier: Apache-2.0
"""Mark and label: flows may look at them, so a change ends what was decided by the old ones."""

from __future__ import annotations

from p4ct.offload import reasons
from p4ct.packet import build

from .model import MAC, World
from .translated import CLIENT, Ends, new_world

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
