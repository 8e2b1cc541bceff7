# SPDX-License-Identifier: Apache-2.0
"""The trap: what is never forwarded by hardware, although an entry is there."""

from ptf_base.connections import ORIGINAL, REPLY
from ptf_base.each import each
from ptf_base.eswitch import StationsTest
from ptf_base.frames import EXT, VM1, VM2, frame

# Flags -> reason. RST goes before SYN before FIN; without ACK it is no segment of an open
# connection.
#: Those that ask for a new connection.
NEW = ("S", "SF")
FLAGS = {
    "S": "TCP_SYN",
    "SA": "TCP_SYN",
    "SF": "TCP_SYN",
    "F": "TCP_FIN",
    "FA": "TCP_FIN",
    "FPU": "TCP_FIN",
    "R": "TCP_RST",
    "RA": "TCP_RST",
    "RS": "TCP_RST",
    "RSFPAUEC": "TCP_RST",
    "": "TCP_FLAGS",
    "P": "TCP_FLAGS",
    "U": "TCP_FLAGS",
    "EC": "TCP_FLAGS",
}


class TrapTest(StationsTest):
    """With a connection whose cells must not move."""

    def trapped(self, reason, *frames, hit=True, proto="tcp", family=4, class_="EXCEPTION"):
        """Each of `frames(connection, direction)` goes up for `reason` in both directions."""
        connection = self.connect(proto, family)
        uncounted = self.watch_connection(connection)
        entry = self.watch_trap(reason, class_)
        punts = self.watch("punt_counter", reason)
        sent = []
        for make in frames:
            for direction, vport in ((ORIGINAL, self.vm1), (REPLY, self.ext)):
                data = make(connection, direction)
                found = {"hit": connection.hit(direction)} if hit else {}
                self.punts(vport, data, reason, **found)
                sent.append(data)
        entry.expect(*sent)
        punts.expect(*sent)
        for count in uncounted:
            count.expect()


@each(family=(4, 6))
class ControlFlags(TrapTest):
    """SYN, FIN, RST and segments without ACK, with an entry: up, unchanged, uncounted."""

    def runTest(self):
        connection = self.connect("tcp", self.family)
        uncounted = self.watch_connection(connection)
        for flags, reason in FLAGS.items():
            entry = self.watch_trap(reason, "CONTROL")
            data = connection.frame(flags=flags)
            self.punts(self.vm1, data, reason, hit=connection.hit(ORIGINAL))
            reply = connection.frame(REPLY, flags=flags)
            self.punts(self.ext, reply, reason, hit=connection.hit(REPLY))
            entry.expect(data, reply)
        for count in uncounted:
            count.expect()


@each(family=(4, 6))
class ControlFlagsWithoutEntry(StationsTest):
    """The same without an entry, in the policer class of the misses, or of new connections."""

    def runTest(self):
        self.add_l2_pair(self.vm1, VM1.mac, EXT.mac)
        for flags, reason in FLAGS.items():
            entry = self.watch_trap(reason, "SYN" if flags in NEW else "MISS")
            data = frame("tcp", self.family, VM1, EXT, flags=flags)
            self.punts(self.vm1, data, reason)
            entry.expect(data)


class ControlFlagsAreNotForUdp(StationsTest):
    """Bytes that would be flags in TCP mean nothing in UDP."""

    def runTest(self):
        connection = self.connect("udp")
        self.forwards(self.vm1, connection.frame(payload=b"\x00" * 5 + b"\x07" * 20), EXT.port)


class Fragments4(TrapTest):
    """First, middle and last IPv4 fragments; DF alone is none."""

    def runTest(self):
        def first(connection, direction):
            return connection.frame(direction, ip={"flags": "MF"})

        def middle(connection, direction):
            return connection.frame(direction, ip={"flags": "MF", "frag": 100})

        def last(connection, direction):
            return connection.frame(direction, ip={"frag": 8191})

        self.trapped("FRAGMENT", first, middle, last, hit=False)
        connection = self.connect(sport=40009)
        self.forwards(self.vm1, connection.frame(ip={"flags": "DF"}), EXT.port)


class UdpFragments4(TrapTest):
    """Ports 0 in the table do not catch later fragments."""

    def runTest(self):
        connection = self.connect("udp")
        match = {**connection.match(ORIGINAL), "sport": 0, "dport": 0}
        self.insert("ct_v4", match, "ct_forward", connection.forward_params(ORIGINAL))
        self.punts(self.vm1, connection.frame(ip={"flags": "MF"}), "FRAGMENT")
        self.punts(self.vm1, connection.frame(ip={"frag": 1}), "FRAGMENT")


@each(words=(1, 10))
class Options4(TrapTest):
    """IPv4 options, from one word to as many as fit."""

    def runTest(self):
        def with_options(connection, direction):
            return connection.frame(direction, ip={"options": b"\x01" * 4 * self.words})

        self.trapped("IP_OPTIONS", with_options, hit=False)


@each(ttl=(0, 1), family=(4, 6), proto=("tcp", "udp", "icmp"))
class Ttl(TrapTest):
    """TTL or hop limit of 1 or less; 2 passes."""

    def runTest(self):
        def expired(connection, direction):
            return connection.frame(direction, ttl=self.ttl)

        self.trapped("TTL", expired, proto=self.proto, family=self.family)
        connection = self.connect(self.proto, self.family, sport=40009)
        self.forwards(self.vm1, connection.frame(ttl=2), EXT.port)


class BadChecksum(TrapTest):
    """Every single-bit error of the IPv4 header checksum."""

    def runTest(self):
        def broken(bit):
            def make(connection, direction):
                data = bytearray(connection.frame(direction))
                data[24 + bit // 8] ^= 1 << bit % 8
                return bytes(data)

            return make

        self.trapped("BAD_CHECKSUM", *(broken(bit) for bit in range(16)))


@each(family=(4, 6))
class SameAddress(StationsTest):
    """Source and destination address are the same."""

    def runTest(self):
        entry = self.watch_trap("SAME_ADDRESS", "EXCEPTION")
        data = frame("udp", self.family, VM1, EXT, ip={"dst": VM1.ip(self.family)})
        self.punts(self.vm1, data, "SAME_ADDRESS")
        entry.expect(data)


class TrapBeforeFlow(StationsTest):
    """A flow entry does not get what the trap wants; what the trap leaves, it gets."""

    def runTest(self):
        self.add_flow(self.vm1, VM2.port, {}, priority=10)
        for flags, reason in FLAGS.items():
            self.punts(self.vm1, frame("tcp", 4, VM1, VM2, flags=flags), reason)
        self.punts(self.vm1, frame("udp", 6, VM1, VM2, ttl=1), "TTL")
        self.punts(self.vm1, frame("udp", 4, VM1, VM2, ip={"flags": "MF"}), "FRAGMENT")
        self.punts(self.vm1, frame("udp", 4, VM1, VM2, ip={"chksum": 1}), "BAD_CHECKSUM")
        self.forwards(self.vm1, frame("tcp", 4, VM1, VM2), VM2.port)


class TrapAfterUnknownVport(StationsTest):
    """Where the vport is unknown, that is the reason, whatever else is odd."""

    def runTest(self):
        for data in (
            frame("tcp", 4, VM1, EXT, flags="S", vlan=9),
            frame("tcp", 4, VM1, EXT, ttl=0, vlan=9),
        ):
            self.punts(self.vm1._replace(id=0), data, "UNKNOWN_VPORT")


class ExceptionsBeforeFlags(StationsTest):
    """A SYN that is also odd goes up as odd, in the class of the exceptions."""

    def runTest(self):
        for changes, reason in (
            ({"ip": {"flags": "MF"}}, "FRAGMENT"),
            ({"ip": {"options": b"\x01" * 4}}, "IP_OPTIONS"),
            ({"ttl": 1}, "TTL"),
            ({"ip": {"chksum": 1}}, "BAD_CHECKSUM"),
            ({"ip": {"dst": VM1.ip4}}, "SAME_ADDRESS"),
            ({"l4": {"dataofs": 4}}, "MALFORMED"),
        ):
            entry = self.watch_trap(reason, "EXCEPTION")
            data = frame("tcp", 4, VM1, EXT, flags="S", **changes)
            self.punts(self.vm1, data, reason)
            entry.expect(data)
