# SPDX-License-Identifier: Apache-2.0
"""What the switch refuses, with which code, and that it then does what it did before."""

import pytest
from google.rpc import code_pb2
from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4
from ptf_base.connections import ORIGINAL, REPLY
from ptf_base.counters import Count
from ptf_base.each import each
from ptf_base.entities import counter_entry, identity, params_of, table_entry, update
from ptf_base.errors import RpcFailed, WriteFailed
from ptf_base.eswitch import EswitchTest, StationsTest
from ptf_base.frames import EXT, VM1, VM2, frame
from ptf_base.wire import Wire

# The specification says PERMISSION_DENIED; BMv2 says UNKNOWN to an insert, else NOT_FOUND.
CONST = {"PERMISSION_DENIED", "UNKNOWN", "NOT_FOUND"}


class Duplicate(StationsTest):
    """ALREADY_EXISTS, in an exact and in a ternary table; the first entry stays."""

    def runTest(self):
        connection = self.connect("udp")
        other = self.connection_update("INSERT", connection, ORIGINAL, "ct_drain")
        assert self.refused(other) == ["ALREADY_EXISTS"]
        self.forwards(self.vm1, connection.frame(), EXT.port)
        match = self.add_flow(self.vm2, VM1.port, {"proto": 17}, priority=3)
        params = {"path": 0, "next_hop": EXT.port}
        again = self.entry_update("INSERT", "flow", match, "flow_forward", params, priority=3)
        assert self.refused(again) == ["ALREADY_EXISTS"]
        self.forwards(self.vm2, frame("udp", 4, VM2, EXT), VM1.port)


@each(kind=("MODIFY", "DELETE"))
class Missing(StationsTest):
    """NOT_FOUND: no such key, or not with that priority."""

    def runTest(self):
        connection = self.connect()
        self.drain(connection)
        self.remove(connection)
        gone = self.connection_update(self.kind, connection, REPLY)
        assert self.refused(gone) == ["NOT_FOUND"]
        match = self.add_flow(self.vm1, VM2.port, {"proto": 17}, priority=3)
        params = {"path": 0, "next_hop": 1}
        other = self.entry_update(self.kind, "flow", match, "flow_forward", params, priority=4)
        assert self.refused(other) == ["NOT_FOUND"]


class BadEntries(StationsTest):
    """INVALID_ARGUMENT for what the program does not have or what does not fit."""

    def runTest(self):
        good = {"next_hop": 900}
        params = {"port": 1, "mtu": 0, "vlan_op": "KEEP", "vlan_id": 0}
        flow = {"vport": self.vm1.id, "proto": 17}
        flow_params = {"path": 0, "next_hop": 1}
        bad = {
            "unknown table": self.broken(
                good, params, lambda e: setattr(e, "table_id", 0x02FFFFFF)
            ),
            "unknown action": self.broken(
                good, params, lambda e: setattr(e.action.action, "action_id", 0x01FFFFFF)
            ),
            "another table's action": self.entry_update(
                "INSERT", "next_hop", good, "set_vport", {"vport": 1}
            ),
            "no action": self.entry_update("INSERT", "next_hop", good),
            "missing key": self.entry_update("INSERT", "next_hop", {}, "nh_output", params),
            "key too wide": self.broken(
                good, params, lambda e: setattr(e.match[0].exact, "value", b"\1\0\0\0")
            ),
            "unknown key": self.broken(good, params, lambda e: setattr(e.match[0], "field_id", 99)),
            "key twice": self.broken(good, params, lambda e: e.match.append(e.match[0])),
            "missing parameter": self.entry_update(
                "INSERT", "next_hop", good, "nh_output", {"port": 1}
            ),
            "parameter too wide": self.broken(
                good, params, lambda e: setattr(e.action.action.params[0], "value", b"\xff\xff")
            ),
            "unknown parameter": self.broken(
                good, params, lambda e: setattr(e.action.action.params[0], "param_id", 99)
            ),
            "priority of an exact entry": self.entry_update(
                "INSERT", "next_hop", good, "nh_output", params, priority=1
            ),
            "no priority of a ternary entry": self.entry_update(
                "INSERT", "flow", flow, "flow_forward", flow_params
            ),
            "bits outside the mask": self.entry_update(
                "INSERT",
                "flow",
                {**flow, "dport": (0xFF, 0x0F)},
                "flow_forward",
                flow_params,
                priority=1,
            ),
            "timeout where there is none": self.entry_update(
                "INSERT", "next_hop", good, "nh_output", params, idle_timeout_ns=10**9
            ),
        }
        for what, item in bad.items():
            assert self.refused(item) == ["INVALID_ARGUMENT"], what

    def broken(self, match, params, change):
        item = self.entry_update("INSERT", "next_hop", match, "nh_output", params)
        change(item.entity.table_entry)
        return item


class MixedBatch(StationsTest):
    """Every update of a batch is tried in order and has its own code; what is right is done."""

    def runTest(self):
        def next_hop(kind, number, port=EXT.port):
            params = {"port": port, "mtu": 0, "vlan_op": "KEEP", "vlan_id": 0}
            return self.entry_update(kind, "next_hop", {"next_hop": number}, "nh_output", params)

        self.add_next_hop(80, VM2.port)
        codes = self.refused(
            next_hop("INSERT", 81),
            next_hop("INSERT", 80),
            next_hop("DELETE", 82),
            next_hop("MODIFY", 80),
            next_hop("INSERT", 83),
        )
        assert codes == ["OK", "ALREADY_EXISTS", "NOT_FOUND", "OK", "OK"]
        for number in (80, 81, 83):
            data = frame("udp", 4, VM1, EXT, payload=b"%d" % number)
            self.packet_out(data, "NEXT_HOP", next_hop=number)
            self.verify_forwarded(EXT.port, data)


class BothOrNone(StationsTest):
    """A batch whose second entry fails leaves the first, which the controller must take back."""

    def runTest(self):
        connection = self.connect("udp")
        self.remove(connection)
        self.write([self.connection_update("INSERT", connection, REPLY, "ct_drain")])
        both = [self.connection_update("INSERT", connection, d) for d in (ORIGINAL, REPLY)]
        assert self.refused(*both) == ["OK", "ALREADY_EXISTS"]
        self.forwards(self.vm1, connection.frame(), EXT.port)


class TrapIsConst(StationsTest):
    """No entry of the trap can be added, changed or removed; it still traps."""

    def runTest(self):
        before = self.trap_entries()
        reasons = {reason for _, reason, _, _ in before}
        assert {"TCP_SYN", "TCP_FIN", "TCP_RST", "FRAGMENT", "TTL"} <= reasons, reasons
        entries = self.read_traps()
        for entry in entries:
            entry.ClearField("counter_data")
            entry.ClearField("is_const")
        wider = {"tcp_flags": (0, 2)}
        punt = {"reason": "NONE", "class_": "MISS"}
        refused = [self.entry_update("INSERT", "trap", wider, "punt", punt, priority=2**30)]
        for entry in entries:
            removal = update("DELETE", table_entry(self.names, "trap", {}))
            removal.entity.table_entry.CopyFrom(entry)
            change = update("MODIFY", removal.entity)
            change.entity.table_entry.action.action.params[0].value = b"\0"
            refused += [removal, change]
        for item in refused:
            codes = self.refused(item)
            assert set(codes) <= CONST, codes
        assert self.trap_entries() == before
        connection = self.connect()
        data = connection.frame(flags="S")
        self.punts(self.vm1, data, "TCP_SYN", hit=connection.hit(ORIGINAL))

    def trap_entries(self):
        found = []
        for entry in self.read_traps():
            action = params_of(self.names, entry.action.action)
            matches = tuple(m.SerializeToString(deterministic=True) for m in entry.match)
            found.append((entry.priority, action["reason"], action["class_"], matches))
        return sorted(found)


class DefaultsAreConst(EswitchTest):
    """What a miss does stays the program's: here, that a missing next hop does not drop."""

    def runTest(self):
        item = self.entry_update("MODIFY", "next_hop", {}, "nh_drop")
        item.entity.table_entry.is_default_action = True
        assert self.refused(item) == ["PERMISSION_DENIED"]


class NotPrimary(StationsTest):
    """A controller with a lower election id is a backup: it may not write."""

    def runTest(self):
        wire = self.switch.wire
        backup = Wire(
            wire.address, self.names, device_id=wire.device_id, election_id=wire.election_id - 1
        )
        try:
            answer = backup.open()
            assert answer.election_id.low == wire.election_id
            assert answer.status.code == code_pb2.ALREADY_EXISTS
            with pytest.raises(WriteFailed) as raised:
                backup.write([self.entry_update("DELETE", "next_hop", {"next_hop": 1})])
            assert raised.value.codes == ["PERMISSION_DENIED"]
        finally:
            backup.close()


class Reads(StationsTest):
    """An entry that is not there reads as nothing, one that is there as it was written."""

    def runTest(self):
        missing = table_entry(self.names, "next_hop", {"next_hop": 999})
        assert self.switch.wire.read(missing) == []
        connection = self.connect(
            "udp", 6, metadata=b"\0\1\xff", controller_metadata=2**63 + 1, idle_timeout_ns=10**12
        )
        wanted = table_entry(self.names, "ct_v6", connection.match(REPLY))
        (read,) = self.switch.wire.read(wanted)
        entry = read.table_entry
        assert params_of(self.names, entry.action.action) == connection.forward_params(REPLY)
        assert entry.metadata == connection.metadata
        assert entry.controller_metadata == connection.controller_metadata
        assert entry.idle_timeout_ns == connection.idle_timeout_ns
        assert identity(entry) == identity(wanted.table_entry)


class WildcardReads(StationsTest):
    """A table without a match reads all of it; table 0 all tables."""

    def runTest(self):
        connections = [self.connect("udp", 4, sport=41000 + n) for n in range(150)]
        written = {
            identity(table_entry(self.names, "ct_v4", c.match(d)).table_entry)
            for c in connections
            for d in (ORIGINAL, REPLY)
        }
        read = self.switch.wire.read(table_entry(self.names, "ct_v4", {}))
        assert {identity(e.table_entry) for e in read} == written
        assert len(read) == len(written)
        everything = p4.Entity()
        everything.table_entry.SetInParent()
        tables = {e.table_entry.table_id for e in self.switch.wire.read(everything)}
        names = {self.names.table_name(number) for number in tables}
        assert names == {"vport", "l2_pair", "ct_v4", "next_hop", "trap"}


class CounterCells(StationsTest):
    """Cells can be set; they go on from there. The last is there, the next is not."""

    def runTest(self):
        connection = self.connect()
        there, _ = self.watch_connection(connection)
        cell = counter_entry(self.names, "ct_counter", 2 * connection.index)
        cell.counter_entry.data.packet_count = 1000
        cell.counter_entry.data.byte_count = 2**40
        self.write([update("MODIFY", cell)])
        self.forwards(self.vm1, connection.frame(), EXT.port)
        assert there.count() == Count(1001, 2**40 + len(connection.frame()))
        size = self.names.counter("ct_counter").size
        self.watch("ct_counter", size - 1).expect()
        with pytest.raises(RpcFailed):
            self.watch("ct_counter", size)
