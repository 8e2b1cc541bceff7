# SPDX-License-Identifier: Apache-2.0
"""Odd packets, each with its fate, although entries would take them."""

from ptf_base.connections import ORIGINAL
from ptf_base.each import each
from ptf_base.eswitch import EswitchTest, StationsTest
from ptf_base.frames import EXT, VM1, VM2, frame
from scapy.layers.inet6 import (
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)

EXTENSIONS = {
    "hop by hop": IPv6ExtHdrHopByHop(),
    "routing": IPv6ExtHdrRouting(),
    "destination options": IPv6ExtHdrDestOpt(),
}
NOT_READ = (0, 43, 50, 51, 59, 60, 135, 139, 140)
UNKNOWN_PROTOCOLS = {
    4: (0, 2, 4, 41, 47, 58, 89, 132, 136, 255),
    6: (1, 2, 4, 41, 47, 89, 132, 255),
}


@each(family=(4, 6))
class UnknownProtocol(StationsTest):
    """No connection, but a flow may carry it; without one it comes up."""

    def runTest(self):
        connection = self.connect("udp", self.family)
        field = {4: "proto", 6: "nh"}[self.family]
        frames = [connection.frame(ip={field: n}) for n in UNKNOWN_PROTOCOLS[self.family]]
        for data in frames:
            self.punts(self.vm1, data, "MISS")
        self.add_flow(self.vm1, VM2.port, {}, priority=1)
        for data in frames:
            self.forwards(self.vm1, data, VM2.port)


@each(src=("ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01", "33:33:00:00:00:01"), family=(4, 6))
class GroupSource(StationsTest):
    """A frame from a group address belongs to no pair: up, not through the connection."""

    def runTest(self):
        connection = self.connect("udp", self.family)
        counts = self.watch_connection(connection)
        self.punts(self.vm1, connection.frame(eth={"src": self.src}), "MISS")
        self.punts(self.vm1, connection.frame(eth={"dst": self.src}), "MISS")
        for count in counts:
            count.expect()


@each(proto=("tcp", "udp", "icmp"))
class ExtensionHeaders(StationsTest):
    """IPv6 extension headers: up, whatever is behind them."""

    def runTest(self):
        connection = self.connect(self.proto, 6)
        self.add_flow(self.vm1, VM2.port, {}, priority=1)
        entry = self.watch_trap("IP_OPTIONS", "EXCEPTION")
        sent = [connection.frame(between=header) for header in EXTENSIONS.values()]
        sent += [connection.frame(ip={"nh": number}) for number in NOT_READ]
        for data in sent:
            self.punts(self.vm1, data, "IP_OPTIONS")
        entry.expect(*sent)


@each(proto=("tcp", "udp", "icmp"))
class Fragments6(StationsTest):
    """IPv6 fragments, the first, a later one and one that is whole."""

    def runTest(self):
        connection = self.connect(self.proto, 6)
        self.add_flow(self.vm1, VM2.port, {}, priority=1)
        for offset, more in ((0, 1), (100, 1), (100, 0), (0, 0)):
            header = IPv6ExtHdrFragment(offset=offset, m=more, id=7)
            self.punts(self.vm1, connection.frame(between=header), "FRAGMENT")


@each(family=(4, 6), proto=("tcp", "udp", "icmp"))
class LandAttack(StationsTest):
    """Source and destination the same, with an entry and a flow for it."""

    def runTest(self):
        self.add_flow(self.vm1, VM2.port, {}, priority=1)
        data = frame(self.proto, self.family, VM1, EXT, sport=80, ip={"dst": VM1.ip(self.family)})
        self.punts(self.vm1, data, "SAME_ADDRESS")


class ReservedBit(StationsTest):
    """The reserved IPv4 flag is nobody's business; DF neither."""

    def runTest(self):
        connection = self.connect("udp")
        for flags in (0b010, 0b100, 0b110):
            self.forwards(self.vm1, connection.frame(ip={"flags": flags}), EXT.port)


class TcpReservedBits(StationsTest):
    """The reserved bits of TCP neither."""

    def runTest(self):
        connection = self.connect("tcp")
        for bits in (1, 7):
            self.forwards(self.vm1, connection.frame(l4={"reserved": bits}), EXT.port)


@each(proto=("tcp", "udp", "icmp"), family=(4, 6), vlan=(None, 31))
class EveryHeader(EswitchTest):
    """Every combination of headers: miss, hit with exact counts, flow, trap."""

    def runTest(self):
        self.add_next_hop(VM1.port, VM1.port)
        self.add_next_hop(EXT.port, EXT.port)
        vm1 = self.add_vport(VM1.vport, VM1.port, self.vlan)
        ext = self.add_vport(EXT.vport, EXT.port, self.vlan)
        data = frame(self.proto, self.family, VM1, EXT, vlan=self.vlan)
        self.punts(vm1, data, "MISS")
        self.add_flow(vm1, VM1.port, {}, priority=1)
        self.forwards(vm1, data, VM1.port)
        connection = self.add_connection(
            self.proto, self.family, client=(VM1, vm1), server=(EXT, ext)
        )
        count = self.watch_connection(connection)[ORIGINAL]
        self.forwards(vm1, data, EXT.port)
        low = connection.frame(ttl=1)
        self.punts(vm1, low, "TTL", hit=connection.hit(ORIGINAL))
        count.expect(data)
