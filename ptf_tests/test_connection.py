# SPDX-License-Identifier: Apache-2.0
"""Connection entries: what they forward and count, and what they must not match."""

from ptf_base.connections import ORIGINAL, REPLY
from ptf_base.each import each
from ptf_base.eswitch import StationsTest
from ptf_base.frames import EXT, VM1, VM2, frame, pad

PROTOS = ("tcp", "udp", "icmp")
OTHER_ICMP_TYPES = {4: (3, 5, 11, 12, 13), 6: (1, 2, 3, 4, 133, 135, 136)}


@each(proto=PROTOS, family=(4, 6))
class Forward(StationsTest):
    """Both directions pass unchanged; cells and paths count them to the byte."""

    def runTest(self):
        connection = self.connect(self.proto, self.family, paths=(101, 102))
        counts = self.watch_connection(connection)
        paths = [self.watch("path_counter", path) for path in (101, 102)]
        there = [connection.frame(payload=b"x" * size) for size in (0, 1, 10, 1400)]
        back = [connection.frame(REPLY, payload=b"y" * size) for size in (3, 700)]
        for data in there:
            self.forwards(self.vm1, data, EXT.port)
        for data in back:
            self.forwards(self.ext, data, VM1.port)
        for watch in (counts[ORIGINAL], paths[0]):
            watch.expect(*there)
        for watch in (counts[REPLY], paths[1]):
            watch.expect(*back)


class ForwardPadded(StationsTest):
    """Padding is part of the frame: it is sent on and counted."""

    def runTest(self):
        connection = self.connect("udp")
        count, _ = self.watch_connection(connection)
        data = pad(connection.frame(payload=b"x"))
        self.forwards(self.vm1, data, EXT.port)
        count.expect(data)


@each(flags=("A", "PA", "AU", "AEC"), family=(4, 6))
class TcpDataSegments(StationsTest):
    """ACK with any of PSH, URG, ECE and CWR is a segment of an open connection."""

    def runTest(self):
        connection = self.connect("tcp", self.family)
        self.forwards(self.vm1, connection.frame(flags=self.flags), EXT.port)
        self.forwards(self.ext, connection.frame(REPLY, flags=self.flags), VM1.port)


class TcpOptions(StationsTest):
    """A longer TCP header is none of the eswitch's business."""

    def runTest(self):
        connection = self.connect()
        options = [("NOP", None), ("NOP", None), ("Timestamp", (1, 2))]
        self.forwards(self.vm1, connection.frame(l4={"options": options}), EXT.port)
        self.forwards(self.vm1, connection.frame(l4={"options": [("NOP", None)] * 40}), EXT.port)


class UdpChecksumZero(StationsTest):
    """A UDP checksum of 0, or a wrong one, passes as it is: the eswitch does not look at it."""

    def runTest(self):
        connection = self.connect("udp")
        self.forwards(self.vm1, connection.frame(l4={"chksum": 0}), EXT.port)
        self.forwards(self.vm1, connection.frame(l4={"chksum": 0xDEAD}), EXT.port)


class UdpShorterThanIp(StationsTest):
    """A UDP length below the IP payload's is legal."""

    def runTest(self):
        connection = self.connect("udp")
        self.forwards(self.vm1, connection.frame(l4={"len": 8}), EXT.port)


@each(family=(4, 6))
class SpoofedMac(StationsTest):
    """An entry holds for the MAC pair that it was decided for, on the vport that it came in on."""

    def runTest(self):
        connection = self.connect("tcp", self.family)
        counts = self.watch_connection(connection)
        spoofed = connection.frame(eth={"src": VM2.mac})
        redirected = connection.frame(eth={"dst": VM2.mac})
        self.punts(self.vm1, spoofed, "MISS")
        self.punts(self.vm1, redirected, "MISS")
        self.punts(self.vm2, connection.frame(), "MISS")
        self.punts(self.vm1, connection.frame(REPLY), "MISS")
        for count in counts:
            count.expect()


@each(family=(4, 6))
class OtherMacPairs(StationsTest):
    """A known MAC pair has the entries of its own l2_id only."""

    def runTest(self):
        connection = self.connect("udp", self.family)
        self.add_l2_pair(self.vm2, VM2.mac, EXT.mac)
        self.add_l2_pair(self.vm1, VM1.mac, VM2.mac)
        self.punts(self.vm2, connection.frame(eth={"src": VM2.mac}), "MISS")
        self.punts(self.vm1, connection.frame(eth={"dst": VM2.mac}), "MISS")
        self.forwards(self.vm1, connection.frame(), EXT.port)


@each(proto=("tcp", "udp"), family=(4, 6))
class OtherTuple(StationsTest):
    """Every field of the tuple is matched exactly."""

    def runTest(self):
        connection = self.connect(self.proto, self.family)
        other = {"tcp": "udp", "udp": "tcp"}[self.proto]
        for data in (
            connection.frame(sport=40001),
            connection.frame(dport=81),
            connection.frame(ip={"src": VM2.ip(self.family)}),
            connection.frame(ip={"dst": VM2.ip(self.family)}),
            frame(other, self.family, VM1, EXT),
            frame(self.proto, 10 - self.family, VM1, EXT),
        ):
            self.punts(self.vm1, data, "MISS")
        self.forwards(self.vm1, connection.frame(), EXT.port)


@each(family=(4, 6))
class EchoKeys(StationsTest):
    """The identifier is the sport both ways; type and code are the dport, so a reply does not
    match the request's entry."""

    def runTest(self):
        connection = self.connect("icmp", self.family, sport=0x4242)
        self.forwards(self.vm1, connection.frame(l4={"seq": 77}), EXT.port)
        self.forwards(self.ext, connection.frame(REPLY, l4={"seq": 77}), VM1.port)
        self.punts(self.vm1, connection.frame(reply=True), "MISS")
        self.punts(self.ext, connection.frame(REPLY, reply=False), "MISS")
        self.punts(self.vm1, connection.frame(sport=0x4243), "MISS")


@each(family=(4, 6))
class EchoCode(StationsTest):
    """An echo with a code is no echo, even if an entry has just that key."""

    def runTest(self):
        connection = self.connect("icmp", self.family)
        match = connection.match(ORIGINAL)
        match = {**match, "dport": match["dport"] + 1}
        self.insert(connection.table, match, "ct_forward", connection.forward_params(ORIGINAL))
        self.punts(self.vm1, connection.frame(l4={"code": 1}), "MISS")


@each(family=(4, 6))
class OtherIcmp(StationsTest):
    """Other ICMP messages never hit: not even entries with their key."""

    def runTest(self):
        connection = self.connect("icmp", self.family)
        for number in OTHER_ICMP_TYPES[self.family]:
            data = connection.frame(l4={"type": number})
            for sport in (0, connection.sport):
                match = {**connection.match(ORIGINAL), "sport": sport, "dport": number << 8}
                params = connection.forward_params(ORIGINAL)
                self.insert(connection.table, match, "ct_forward", params)
            self.punts(self.vm1, data, "MISS")


class IpProtocolsWithoutPorts(StationsTest):
    """Only TCP, UDP and echo have entries: other protocols miss, whatever is in the table."""

    def runTest(self):
        connection = self.connect("udp")
        match = {**connection.match(ORIGINAL), "proto": 47, "sport": 0, "dport": 0}
        self.insert("ct_v4", match, "ct_forward", connection.forward_params(ORIGINAL))
        self.punts(self.vm1, connection.frame(ip={"proto": 47}), "MISS")


class HighestIndex(StationsTest):
    """The last counter cells belong to index 65535; no other index shares them."""

    def runTest(self):
        last = self.connect(index=65535)
        first = self.connect(index=0, sport=40001)
        counts, others = self.watch_connection(last), self.watch_connection(first)
        data, reply = last.frame(), last.frame(REPLY)
        self.forwards(self.vm1, data, EXT.port)
        self.forwards(self.ext, reply, VM1.port)
        counts[ORIGINAL].expect(data)
        counts[REPLY].expect(reply)
        for count in others:
            count.expect()


class OneFamilyOneCell(StationsTest):
    """Both families share the indices; two connections do not share a cell."""

    def runTest(self):
        four, six = self.connect("tcp", 4), self.connect("tcp", 6)
        counts = self.watch_connection(four), self.watch_connection(six)
        self.forwards(self.vm1, four.frame(), EXT.port)
        self.forwards(self.vm1, six.frame(payload=b"longer than that"), EXT.port)
        counts[0][ORIGINAL].expect(four.frame())
        counts[1][ORIGINAL].expect(six.frame(payload=b"longer than that"))


class ManyConnections(StationsTest):
    """Each of many connections has its own entries and cells."""

    def runTest(self):
        connections = [self.connect("udp", sport=41000 + i) for i in range(20)]
        watches = [self.watch_connection(c) for c in connections]
        for number, connection in enumerate(connections):
            self.forwards(self.vm1, connection.frame(payload=b"x" * number), EXT.port)
        for number, (there, back) in enumerate(watches):
            there.expect(connections[number].frame(payload=b"x" * number))
            back.expect()


@each(family=(4, 6))
class NoPairNeverHits(StationsTest):
    """l2_id 0 means that the MAC pair is not known: an entry with it is never looked up."""

    def runTest(self):
        connection = self.connect("udp", self.family)
        match = {**connection.match(ORIGINAL), "l2_id": 0}
        self.insert(connection.table, match, "ct_forward", connection.forward_params(ORIGINAL))
        self.punts(self.vm2, connection.frame(), "MISS")
        self.punts(self.vm1, connection.frame(eth={"src": VM2.mac}), "MISS")
