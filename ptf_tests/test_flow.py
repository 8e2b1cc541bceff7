# SPDX-License-Identifier: Apache-2.0
"""Flow entries: stateless traffic, by any fields, with priorities and counters of their own."""

import ipaddress

from ptf_base.connections import ORIGINAL
from ptf_base.each import each
from ptf_base.eswitch import StationsTest
from ptf_base.frames import ETHERTYPE_EXPERIMENTAL, EXT, VM1, VM2, Ether, Raw, frame, key, pad
from scapy.layers.inet6 import ICMPv6ND_NS, IPv6
from scapy.layers.l2 import ARP

FULL = (1 << 128) - 1


class Arp(StationsTest):
    """ARP by its EtherType: forwarded, counted by entry and path, padding included."""

    def runTest(self):
        match = self.add_flow(self.vm1, VM2.port, {"ether_type": 0x0806}, priority=5, path=77)
        entry = self.watch_entry("flow", match, 5)
        path = self.watch("path_counter", 77)
        data = bytes(Ether(src=VM1.mac, dst=VM2.mac) / ARP(op="is-at", hwsrc=VM1.mac, psrc=VM1.ip4))
        for sent in (data, pad(data)):
            self.forwards(self.vm1, sent, VM2.port)
        entry.expect(data, pad(data))
        path.expect(data, pad(data))
        self.punts(self.vm1, frame("udp", 4, VM1, VM2), "MISS")


class NeighbourDiscovery(StationsTest):
    """A neighbour solicitation by ICMPv6 type."""

    def runTest(self):
        match = {"ether_type": 0x86DD, "proto": 58, "dport": 135 << 8}
        self.add_flow(self.vm1, VM2.port, match, priority=5)
        header = Ether(src=VM1.mac, dst="33:33:ff:00:00:02")
        solicitation = ICMPv6ND_NS(tgt=VM2.ip6)
        data = bytes(header / IPv6(src=VM1.ip6, dst="ff02::1:ff00:2", hlim=255) / solicitation)
        self.forwards(self.vm1, data, VM2.port)
        self.punts(self.vm1, frame("icmp", 6, VM1, VM2), "MISS")


@each(proto=("tcp", "udp", "icmp"), family=(4, 6))
class EveryField(StationsTest):
    """All fields matched in full; changing any one of them in the entry makes it miss."""

    def runTest(self):
        data = frame(self.proto, self.family, VM1, VM2)
        number, sport, dport = key(self.proto, self.family, 40000, 80)
        whole = {
            "eth_src": VM1.mac,
            "eth_dst": VM2.mac,
            "ether_type": {4: 0x0800, 6: 0x86DD}[self.family],
            "src": VM1.ip(self.family),
            "dst": VM2.ip(self.family),
            "proto": number,
            "sport": sport,
            "dport": dport,
        }
        match = self.add_flow(self.vm1, VM2.port, whole, priority=1)
        entry = self.watch_entry("flow", match, 1)
        self.forwards(self.vm1, data, VM2.port)
        entry.expect(data)
        self.delete("flow", match, 1)
        others = {
            "eth_src": VM2.mac,
            "eth_dst": VM1.mac,
            "ether_type": 0x88B5,
            "src": EXT.ip(self.family),
            "dst": EXT.ip(self.family),
            "proto": 99,
            "sport": sport + 1,
            "dport": dport + 1,
        }
        for name, value in others.items():
            self.add_flow(self.vm1, VM2.port, {**whole, name: value}, priority=1)
        self.punts(self.vm1, data, "MISS")


class Masks(StationsTest):
    """Prefixes of both families; an IPv4 address is in the low 32 bits."""

    def runTest(self):
        net4 = int(ipaddress.ip_address("10.0.0.0"))
        mask4 = FULL ^ 0xFF
        net6 = int(ipaddress.ip_address("fd00::"))
        mask6 = FULL ^ 0xFFFF
        self.add_flow(self.vm1, VM2.port, {"ether_type": 0x0800, "dst": (net4, mask4)}, priority=1)
        self.add_flow(self.vm1, EXT.port, {"ether_type": 0x86DD, "dst": (net6, mask6)}, priority=1)
        self.forwards(self.vm1, frame("udp", 4, VM1, VM2), VM2.port)
        self.forwards(self.vm1, frame("udp", 6, VM1, VM2), EXT.port)
        for family in (4, 6):
            self.punts(self.vm1, frame("udp", family, VM1, EXT), "MISS")


class Priorities(StationsTest):
    """The higher number wins, whatever the order of insertion; direct counters count its hits
    only."""

    def runTest(self):
        port80 = {"proto": 17, "dport": 80}
        low = self.add_flow(self.vm1, VM2.port, {}, priority=1)
        high = self.add_flow(self.vm1, EXT.port, port80, priority=100)
        middle = self.add_flow(self.vm1, VM1.port, {"proto": 17}, priority=50)
        watches = [
            self.watch_entry("flow", match, priority)
            for match, priority in ((low, 1), (middle, 50), (high, 100))
        ]
        data = frame("udp", 4, VM1, EXT)
        for port, match, priority in ((EXT.port, high, 100), (VM1.port, middle, 50)):
            self.forwards(self.vm1, data, port)
            watches.pop().expect(data)
            self.delete("flow", match, priority)
        self.forwards(self.vm1, data, VM2.port)
        watches.pop().expect(data)


class SameMatchOtherPriority(StationsTest):
    """The same match with another priority is another entry."""

    def runTest(self):
        match = self.add_flow(self.vm1, VM2.port, {"proto": 17}, priority=1)
        self.add_flow(self.vm1, EXT.port, {"proto": 17}, priority=2)
        data = frame("udp", 4, VM1, EXT)
        self.forwards(self.vm1, data, EXT.port)
        self.delete("flow", match, 2)
        self.forwards(self.vm1, data, VM2.port)


class VportIsExact(StationsTest):
    """An entry serves the vport that it was made for."""

    def runTest(self):
        self.add_flow(self.vm1, EXT.port, {}, priority=1)
        self.punts(self.vm2, frame("udp", 4, VM2, EXT), "MISS")
        self.forwards(self.vm1, frame("udp", 4, VM1, EXT), EXT.port)


class ConnectionBeforeFlow(StationsTest):
    """A connection's entry is used, and the flow neither forwards nor counts."""

    def runTest(self):
        match = self.add_flow(self.vm1, VM2.port, {}, priority=1, path=8)
        connection = self.connect(paths=(9, 10))
        flow, paths = self.watch_entry("flow", match, 1), [self.watch("path_counter", 8)]
        paths.append(self.watch("path_counter", 9))
        data = connection.frame()
        self.forwards(self.vm1, data, EXT.port)
        flow.expect()
        paths[0].expect()
        paths[1].expect(data)


class FlowLeavesConnectionCells(StationsTest):
    """A flow counts no connection: least of all index 0."""

    def runTest(self):
        self.add_flow(self.vm1, VM2.port, {}, priority=1)
        cell = self.watch("ct_counter", 0)
        self.forwards(self.vm1, frame("udp", 4, VM1, VM2), VM2.port)
        cell.expect()


class FlowModified(StationsTest):
    """MODIFY gives an entry another next hop and path; its direct counter goes on."""

    def runTest(self):
        match = self.add_flow(self.vm1, VM2.port, {"proto": 17}, priority=3, path=1)
        entry = self.watch_entry("flow", match, 3)
        data = frame("udp", 6, VM1, EXT)
        self.forwards(self.vm1, data, VM2.port)
        params = {"path": 2, "next_hop": EXT.port}
        update = self.entry_update("MODIFY", "flow", match, "flow_forward", params, priority=3)
        self.write([update])
        path = self.watch("path_counter", 2)
        self.forwards(self.vm1, data, EXT.port)
        path.expect(data)
        entry.expect(data, data)


class NonIpByAddress(StationsTest):
    """Fields that a frame does not have are 0 to a flow."""

    def runTest(self):
        self.add_flow(self.vm1, VM2.port, {"src": (0, FULL), "sport": (0, 0xFFFF)}, priority=1)
        header = Ether(src=VM1.mac, dst=VM2.mac, type=ETHERTYPE_EXPERIMENTAL)
        self.forwards(self.vm1, bytes(header / Raw(b"x")), VM2.port)
        self.punts(self.vm1, frame("udp", 4, VM1, VM2), "MISS")


class EchoOfNoConnection(StationsTest):
    """A draining or trapped connection aside, a flow may carry what is tracked elsewhere."""

    def runTest(self):
        connection = self.connect("icmp")
        self.add_flow(self.vm1, VM2.port, {"proto": 1}, priority=1)
        self.forwards(self.vm1, connection.frame(sport=5), VM2.port)
        data = connection.frame()
        count = self.watch_connection(connection)[ORIGINAL]
        self.forwards(self.vm1, data, EXT.port)
        count.expect(data)
