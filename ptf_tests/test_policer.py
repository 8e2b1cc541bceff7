# SPDX-License-Identifier: Apache-2.0
"""The punt policer: what goes up is bounded by vport and class, and what is not let up is counted.

No case depends on how fast it runs: of what is sent, so much comes up, and all the rest is
counted as dropped.
"""

from ptf_base.connections import ORIGINAL
from ptf_base.each import each
from ptf_base.eswitch import StationsTest
from ptf_base.frames import EXT, VM1, VM2, frame

BURST = 3
SENT = 20


class PolicerTest(StationsTest):
    """Sends the same frame many times into a vport with a policer."""

    def policed(self, vport, class_, reason, data):
        """All but a few are dropped under the class's reason; sum and bytes are exact."""
        drops = self.watch("drop_counter", f"POLICER_{class_}")
        punts = self.watch("punt_counter", reason)
        self.set_policer(vport.id, class_, rate=1, burst=BURST)
        for _ in range(SENT):
            self.send(vport, data)
        came_up = self.settle()
        assert all(f"reason={reason}" in text for text in came_up), came_up
        assert len(came_up) >= BURST
        # A second lets one more through.
        assert len(came_up) < SENT
        punts.expect(*[data] * len(came_up))
        drops.expect(*[data] * (SENT - len(came_up)))


@each(family=(4, 6))
class Misses(PolicerTest):
    """Misses are dropped; control flags of known connections and other vports are not."""

    def runTest(self):
        connection = self.connect("tcp", self.family)
        self.policed(self.vm1, "MISS", "MISS", frame("udp", self.family, VM1, EXT))
        for _ in range(2 * BURST):
            self.punts(
                self.vm1, connection.frame(flags="FA"), "TCP_FIN", hit=connection.hit(ORIGINAL)
            )
            self.punts(self.vm2, frame("udp", self.family, VM2, EXT), "MISS")
            self.punts(self.vm1, connection.frame(ttl=1), "TTL", hit=connection.hit(ORIGINAL))
        self.forwards(self.vm1, connection.frame(), EXT.port)


@each(family=(4, 6), flags=("S", "SEC"))
class SynFlood(PolicerTest):
    """Who asks for new connections has a class of their own: whatever else has no entry still
    comes up, and so do the flags of connections that have one."""

    def runTest(self):
        connection = self.connect("tcp", self.family)
        flood = frame("tcp", self.family, VM1, EXT, flags=self.flags, sport=50000)
        self.policed(self.vm1, "SYN", "TCP_SYN", flood)
        for _ in range(2 * BURST):
            for flags, reason in (("A", "MISS"), ("SA", "TCP_SYN"), ("FA", "TCP_FIN")):
                other = frame("tcp", self.family, VM1, EXT, flags=flags, sport=50001)
                self.punts(self.vm1, other, reason)
            self.punts(
                self.vm1, connection.frame(flags="S"), "TCP_SYN", hit=connection.hit(ORIGINAL)
            )
            self.punts(self.vm2, frame("tcp", self.family, VM2, EXT, flags="S"), "TCP_SYN")


@each(flags=("R", "SA", "F", ""))
class FlagsWithoutEntry(PolicerTest):
    """Other flags of connections without an entry share the class of the misses."""

    def runTest(self):
        connection = self.connect()
        reason = {"R": "TCP_RST", "SA": "TCP_SYN", "F": "TCP_FIN", "": "TCP_FLAGS"}[self.flags]
        flood = frame("tcp", 4, VM1, EXT, flags=self.flags, sport=50000)
        self.policed(self.vm1, "MISS", reason, flood)
        again = connection.frame(flags=self.flags)
        self.punts(self.vm1, again, reason, hit=connection.hit(ORIGINAL))


class Control(PolicerTest):
    """SYN, FIN and RST of connections with an entry."""

    def runTest(self):
        connection = self.connect()
        uncounted = self.watch_connection(connection)
        self.policed(self.vm1, "CONTROL", "TCP_RST", connection.frame(flags="R"))
        self.punts(self.vm1, frame("udp", 4, VM1, EXT), "MISS")
        for count in uncounted:
            count.expect()


class Exceptions(PolicerTest):
    """Fragments, options, TTL, checksum, malformed, MTU, next hops that do not exist."""

    def runTest(self):
        self.policed(self.vm1, "EXCEPTION", "TTL", frame("udp", 4, VM1, EXT, ttl=1))
        self.punts(self.vm1, frame("udp", 4, VM1, EXT), "MISS")


class Draining(PolicerTest):
    """What comes to entries that are being removed."""

    def runTest(self):
        connection = self.connect("udp")
        self.drain(connection)
        self.policed(self.vm1, "DRAIN", "DRAIN", connection.frame())
        self.punts(self.vm1, frame("udp", 4, VM1, EXT, sport=40001), "MISS")


class UnknownVports(PolicerTest):
    """All unknown vports share cell 0."""

    def runTest(self):
        unknown = self.vm1._replace(id=0)
        drops = self.watch("drop_counter", "POLICER_MISS")
        punts = self.watch("punt_counter", "UNKNOWN_VPORT")
        data = frame("udp", 4, VM1, EXT, vlan=9)
        self.set_policer(0, "MISS", rate=1, burst=BURST)
        for _ in range(SENT):
            self.send(unknown, data)
        # A frame of a known vport, in order, tells when all of them have been decided.
        last = frame("udp", 4, VM1, EXT)
        self.send(self.vm1, last)
        came_up = 0
        while (got := self.next_packet_in()) is not None and got.frame == data:
            came_up += 1
        assert got is not None
        assert got.frame == last
        self.clear_policer(0, "MISS")
        punts.expect(*[data] * came_up)
        drops.expect(*[data] * (SENT - came_up))
        assert came_up >= BURST
        assert came_up < SENT


class NextHopClasses(PolicerTest):
    """MTU and missing next hops are exceptions."""

    def runTest(self):
        self.add_next_hop(50, EXT.port, mtu=100)
        self.add_flow(self.vm1, 50, {"proto": 17}, priority=1)
        self.add_flow(self.vm1, 51, {"proto": 1}, priority=1)
        self.policed(
            self.vm1, "EXCEPTION", "MTU_EXCEEDED", frame("udp", 4, VM1, EXT, payload=b"x" * 100)
        )
        self.policed(self.vm1, "EXCEPTION", "NO_NEXT_HOP", frame("icmp", 4, VM1, EXT))


class ForwardingIsNotPoliced(PolicerTest):
    """The policer is for what goes up."""

    def runTest(self):
        connection = self.connect("udp")
        count = self.watch_connection(connection)[ORIGINAL]
        for class_ in ("MISS", "CONTROL", "EXCEPTION", "DRAIN", "SYN"):
            self.set_policer(self.vm1.id, class_, rate=1, burst=1)
        for _ in range(SENT):
            self.forwards(self.vm1, connection.frame(), EXT.port)
        count.expect(*[connection.frame()] * SENT)


class HighestVport(PolicerTest):
    """The last vport has the last four cells of each half."""

    def runTest(self):
        last = self.add_vport(1023, 0)
        self.policed(last, "DRAIN", "DRAIN", self.draining_frame(last))
        self.policed(last, "SYN", "TCP_SYN", frame("tcp", 4, EXT, VM1, flags="S"))
        self.punts(self.vm1, frame("udp", 4, VM1, EXT), "MISS")
        self.punts(self.vm1, frame("tcp", 4, VM1, EXT, flags="S"), "TCP_SYN")

    def draining_frame(self, vport):
        connection = self.add_connection("udp", client=(VM1, vport), server=(EXT, self.ext))
        self.drain(connection)
        return connection.frame()
