# SPDX-License-Identifier: Apache-2.0
"""One of each entry, for the tests of this folder."""

from pathlib import Path

from p4ct.eswitch.entries import (
    CtDrain,
    CtEntry,
    CtForward,
    CtKey,
    FlowEntry,
    FlowKey,
    L2PairEntry,
    Nat,
    NextHopEntry,
    TunnelTermEntry,
    VportEntry,
)
from p4ct.eswitch.enums import VlanOp
from p4ct.p4runtime.p4info import P4InfoIndex, load_p4info
from p4ct.packet.vxlan import Tunnel

P4INFO_MESSAGE = load_p4info(Path(__file__).parents[3] / "p4src/compiled/eswitch.p4info.txtpb")
P4INFO = P4InfoIndex(P4INFO_MESSAGE)

MAC1 = bytes.fromhex("020000000001")
MAC2 = bytes.fromhex("0000000000ff")

V4 = CtKey(4, 0x10001, bytes([10, 0, 0, 1]), bytes([0, 0, 0, 9]), 6, 40000, 80)
V6 = CtKey(6, 3, bytes(15) + b"\1", bytes.fromhex("fd00" + "00" * 13 + "02"), 58, 7, 0x8000)

CT_V4 = CtEntry(V4, CtForward(65535, 255, 1, 65535, 0xFFFFFF), 30_000_000_000, b"zone 7\0\xff")
CT_V6 = CtEntry(V6, CtForward(0, 0, 0, 0, 0))
NAT_V4 = CtEntry(
    V4._replace(sport=1),
    CtForward(3, 2, 1, 7, 9, True, Nat(bytes([0, 0, 0, 1]), bytes([192, 0, 2, 1]), 65535, 0)),
)
NAT_V6 = CtEntry(
    V6._replace(sport=1),
    CtForward(4, 2, 0, 7, 9, nat=Nat(bytes(15) + b"\2", V6.dst, 0, 0x8000)),
)
TUNNEL_V4 = Tunnel(0xFFFFFF, bytes([192, 0, 2, 1]), bytes([0, 0, 0, 7]), MAC1, MAC2, 63, 255)
TUNNEL_V6 = Tunnel(0, V6.src, V6.dst, MAC2, MAC1, 0, 1)
DRAIN = CtEntry(V4, CtDrain(65535, 255, 1))

ENTRIES = [
    VportEntry(3, None, 1),
    VportEntry(511, 4095, 1023),
    VportEntry(3, 0, 5),
    VportEntry(3, 0, 6, tunnel_vport=6),
    TunnelTermEntry(4, bytes([0, 0, 0, 7]), 0, 6),
    TunnelTermEntry(6, V6.dst, 0xFFFFFF, 65535),
    L2PairEntry(1, MAC1, MAC2, 0xFFFFFFFF),
    CT_V4,
    NAT_V4,
    CT_V6,
    NAT_V6,
    FlowEntry(FlowKey(1, 10), 0, 1),
    FlowEntry(
        FlowKey(
            vport=1023,
            priority=65000,
            eth_src=(1, 1),
            eth_dst=(0x020000000001, 0xFFFFFFFFFFFF),
            ether_type=(0x0800, 0xFFFF),
            src=(0x0A000000, 0xFF000000),
            dst=(1 << 127, 1 << 127),
            proto=(17, 255),
            sport=(0, 0xFFFF),
            dport=(53, 0xFFFF),
        ),
        path=9,
        next_hop=4,
        idle_timeout_ns=5_000_000_000,
        metadata=b"flow 3",
    ),
    NextHopEntry(1, "output", port=2, mtu=1500, vlan_op=VlanOp.PUSH, vlan_id=100),
    NextHopEntry(2, "route", 1, 9000, VlanOp.KEEP, 0, MAC1, MAC2),
    NextHopEntry(3, "vxlan", 2, 1450, VlanOp.POP, tunnel=TUNNEL_V4),
    NextHopEntry(4, "vxlan", 2, 1430, VlanOp.KEEP, 0, MAC1, MAC2, TUNNEL_V6),
    NextHopEntry(0xFFFFFF, "drop"),
]
