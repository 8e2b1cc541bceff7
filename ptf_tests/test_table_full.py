# SPDX-License-Identifier: Apache-2.0
"""A table holds what it promises; one more is refused, and the rest goes on."""

from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4
from ptf_base.each import each
from ptf_base.eswitch import EswitchTest
from ptf_base.frames import EXT, VM1, VM2, frame

# The specification says RESOURCE_EXHAUSTED; BMv2 says UNKNOWN.
FULL = {"RESOURCE_EXHAUSTED", "UNKNOWN"}
BATCH = 1024


@each(table=("tunnel_term_v4", "tunnel_term_v6", "vport", "next_hop", "flow"))
class TableFull(EswitchTest):
    """Up to its size in P4Info, row by row; the one beyond is refused, and goes in once another
    has gone."""

    def runTest(self):
        size = self.names.table(self.table).size
        rows = [self.row(number) for number in range(size + 1)]
        for first in range(0, size, BATCH):
            self.write(rows[first : min(first + BATCH, size)])
        (code,) = self.refused(rows[size])
        allowed = {"RESOURCE_EXHAUSTED"} if self.target == "softswitch" else FULL
        assert code in allowed, code
        wanted = p4.Entity()
        wanted.table_entry.table_id = rows[0].entity.table_entry.table_id
        assert len(self.switch.wire.read(wanted)) == size
        removal = p4.Update(type=p4.Update.DELETE, entity=rows[5].entity)
        self.write([removal])
        self.write([rows[size]])
        (code,) = self.refused(rows[5])
        assert code in allowed, code

    def row(self, number):
        """An INSERT of the table's row of that number."""
        if self.table.startswith("tunnel"):
            outer = "192.0.2.1" if self.table.endswith("4") else "2001:db8::1"
            match, action = {"outer_dst": outer, "vni": number}, "terminate"
            params = {"tunnel_vport": number + 1}
        elif self.table == "vport":
            match = {"port": 1, "tunnel_vport": number, "vlan_present": 0, "vlan_id": 0}
            action, params = "set_vport", {"vport": 1 + number % 1023}
        elif self.table == "next_hop":
            match, action = {"next_hop": number}, "nh_output"
            params = {"port": 1, "mtu": 0, "vlan_op": "KEEP", "vlan_id": 0}
        else:
            match, action = {"vport": 1, "sport": number}, "flow_forward"
            params = {"path": 0, "next_hop": number % 4096}
        priority = number + 1 if self.table == "flow" else 0
        return self.entry_update("INSERT", self.table, match, action, params, priority=priority)


class LastNextHopWorks(EswitchTest):
    """The last row of a full table is as good as the first."""

    def runTest(self):
        vm1 = self.add_station(VM1)
        size = self.names.table("next_hop").size
        params = {"port": VM2.port, "mtu": 0, "vlan_op": "KEEP", "vlan_id": 0}
        rows = [
            self.entry_update("INSERT", "next_hop", {"next_hop": 10000 + n}, "nh_output", params)
            for n in range(size - 1)
        ]
        for first in range(0, len(rows), BATCH):
            self.write(rows[first : first + BATCH])
        self.add_flow(vm1, 10000 + size - 2, {}, priority=1)
        data = frame("udp", 4, VM1, EXT)
        self.forwards(vm1, data, VM2.port)
