# SPDX-License-Identifier: Apache-2.0
"""What flows write: what entries can do is done by them, the rest stays in software."""

from __future__ import annotations

import pytest
from p4ct.packet.text import format_ip, parse_ip

from .model import ACK, SYN, World
from .translated import NAT, SERVER, Ends

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
