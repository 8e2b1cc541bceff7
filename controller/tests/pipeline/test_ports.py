# SPDX-License-Identifier: Apache-2.0
"""The port table and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
from p4ct.packet.vxlan import Tunnel
from p4ct.pipeline import PortError, PortTable, Vport
from p4ct.pipeline.ports import Vxlan

MAC1, MAC2 = "02:00:00:00:00:01", "02:00:00:00:00:02"


def vxlan(
    id: int = 1, name: str = "a", port: int = 3, vlan: int | None = None, **tunnel: Any
) -> Vport:
    """A vport in VNI 7 from 192.0.2.1 to 192.0.2.2."""
    fields = {"vni": 7, "local": "192.0.2.1", "remote": "192.0.2.2"}
    fields |= {"outer_eth_src": MAC1, "outer_eth_dst": MAC2}
    return Vport(id, name, port, vlan, vxlan=Vxlan(**fields | tunnel))


def test_lookup() -> None:
    table = PortTable([Vport(1, "a", 7), Vport(2, "b", 7, vlan=5, kind="uplink")])
    assert table.by_id[2].name == "b"
    assert table.by_name["a"].port == 7
    assert table.numbers == {"a": 1, "b": 2}
    assert (table.name(2), table.name(9)) == ("b", "9")


@pytest.mark.parametrize(
    ("vports", "message"),
    [
        ([Vport(0, "a", 1)], "id 0 is not in 1 to 1022"),
        ([Vport(1023, "a", 1)], "id 1023 is not in 1 to 1022"),
        ([Vport(1, "a", 1, vlan=4095)], "vlan 4095 is not in 1 to 4094"),
        ([Vport(1, "a", 1, vlan=0)], "vlan 0 is not in"),
        ([Vport(1, "a", 1), Vport(1, "b", 2)], "'a' and 'b' both have id 1"),
        ([Vport(1, "a", 1), Vport(2, "a", 2)], "two vports are named 'a'"),
        ([Vport(1, "a", 1), Vport(2, "b", 1)], "both claim untagged frames of port 1"),
        ([Vport(1, "a", 1, vlan=5), Vport(2, "b", 1, vlan=5)], "both claim VLAN 5 of port 1"),
        ([Vport(1, "a", 1, mtu=67)], "mtu 67 is not 0"),
        ([Vport(1, "a", 1, mtu=65536)], "mtu 65536 is not 0"),
        ([vxlan(vni=1 << 24)], "vxlan.vni 16777216 is not in 0 to 16777215"),
        ([vxlan(dscp=64)], "vxlan.dscp 64 is not in 0 to 63"),
        ([vxlan(ttl=0)], "vxlan.ttl 0 is not in 1 to 255"),
        ([vxlan(local="here")], "'a': vxlan: not an IPv4 or IPv6 address: 'here'"),
        ([vxlan(outer_eth_dst="02")], "vxlan: not a MAC address: '02'"),
        ([vxlan(remote="fd00::2")], "local 192.0.2.1 and remote fd00::2 differ in family"),
        ([vxlan(remote="192.0.2.1")], "local and remote are both 192.0.2.1"),
        (
            [vxlan(), vxlan(2, "b", remote="192.0.2.3")],
            "both claim untagged frames in VNI 7 to 192.0.2.1 of port 3",
        ),
        ([Vport(1, "NORMAL", 1)], "another meaning"),
        ([Vport(1, "42", 1)], "another meaning"),
        ([Vport(1, "a,b", 1)], "cannot be used in flows"),
        ([Vport(1, "", 1)], "cannot be used in flows"),
    ],
)
def test_refusals(vports: list[Vport], message: str) -> None:
    with pytest.raises(PortError, match=message):
        PortTable(vports)


def test_same_dataplane_port_with_and_without_tag() -> None:
    assert len(PortTable([Vport(1, "a", 1), Vport(2, "b", 1, vlan=5)]).by_id) == 2


def test_vports_in_tunnels() -> None:
    """Flat, tagged, in a tunnel, tagged in it, in another port's, and in one to another address."""
    vports = [
        Vport(1, "flat", 3),
        Vport(2, "tagged", 3, vlan=5),
        vxlan(9, "inside"),
        vxlan(8, "inside-tagged", vlan=5),
        vxlan(7, "second-uplink", port=4),
        vxlan(6, "six", local="fd00::1", remote="fd00::2", dscp=46, ttl=9),
    ]
    table = PortTable(vports)
    four = (bytes([192, 0, 2, 1]), 7)
    six = (b"\xfd" + bytes(14) + b"\1", 7)
    assert table.tunnel_ends == {four: 7, six: 6}
    assert [table.tunnel_number(id_) for id_ in (1, 2, 6, 7, 8, 9)] == [0, 0, 6, 7, 7, 7]
    assert table.on_wire(3, None, 5) is vports[1]
    assert table.on_wire(3, four, None) is vports[2]
    assert table.on_wire(3, four, 5) is vports[3]
    assert table.on_wire(4, four, None) is vports[4]
    assert table.on_wire(4, four, 5) is None
    macs = (bytes([2, 0, 0, 0, 0, 1]), bytes([2, 0, 0, 0, 0, 2]))
    assert table.tunnels[6] == Tunnel(7, six[0], b"\xfd" + bytes(14) + b"\2", *macs, 46, 9)
    assert set(table.tunnels) == {6, 7, 8, 9}
