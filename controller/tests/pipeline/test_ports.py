# SPDX-License-Identifier: Apache-2.0
"""The port table and what it refuses."""

from __future__ import annotations

import pytest
from p4ct.pipeline import PortError, PortTable, Vport


def test_lookup() -> None:
    table = PortTable([Vport(1, "a", 7), Vport(2, "b", 7, vlan=5, kind="uplink")])
    assert table.by_id[2].name == "b"
    assert table.by_name["a"].port == 7
    assert table.numbers == {"a": 1, "b": 2}
    assert (table.name(2), table.name(9)) == ("b", "9")


@pytest.mark.parametrize(
    ("vports", "message"),
    [
        ([Vport(0, "a", 1)], "id 0 is not in 1 to 1023"),
        ([Vport(1024, "a", 1)], "id 1024 is not in 1 to 1023"),
        ([Vport(1, "a", 1, vlan=4095)], "vlan 4095 is not in 1 to 4094"),
        ([Vport(1, "a", 1, vlan=0)], "vlan 0 is not in"),
        ([Vport(1, "a", 1), Vport(1, "b", 2)], "'a' and 'b' both have id 1"),
        ([Vport(1, "a", 1), Vport(2, "a", 2)], "two vports are named 'a'"),
        ([Vport(1, "a", 1), Vport(2, "b", 1)], "both claim untagged frames of port 1"),
        ([Vport(1, "a", 1, vlan=5), Vport(2, "b", 1, vlan=5)], "both claim VLAN 5 of port 1"),
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
