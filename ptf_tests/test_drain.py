# SPDX-License-Identifier: Apache-2.0
"""Removal: drain, read, delete. A draining entry punts and never counts."""

from ptf_base.connections import ORIGINAL, REPLY
from ptf_base.each import each
from ptf_base.entities import update, zero_counter_entry
from ptf_base.eswitch import StationsTest
from ptf_base.frames import EXT, VM1

PROTOS = ("tcp", "udp", "icmp")
# BMv2's queue of a port holds 64 frames; what overflows it is lost.
MAX_IN_FLIGHT = 30


@each(proto=PROTOS, family=(4, 6))
class Drain(StationsTest):
    """Both directions come up with the entry's index and generation, and the cells stand still."""

    def runTest(self):
        connection = self.connect(self.proto, self.family, generation=255, paths=(5, 6))
        counts = self.watch_connection(connection)
        paths = [self.watch("path_counter", path) for path in (5, 6)]
        data, reply = connection.frame(), connection.frame(REPLY)
        self.forwards(self.vm1, data, EXT.port)
        self.forwards(self.ext, reply, VM1.port)
        self.drain(connection)
        entry = self.watch_trap("DRAIN", "DRAIN")
        punts = self.watch("punt_counter", "DRAIN")
        self.punts(self.vm1, data, "DRAIN", hit=connection.hit(ORIGINAL, "DRAIN"))
        self.punts(self.ext, reply, "DRAIN", hit=connection.hit(REPLY, "DRAIN"))
        entry.expect(data, reply)
        punts.expect(data, reply)
        for watch in (counts[ORIGINAL], paths[0]):
            watch.expect(data)
        for watch in (counts[REPLY], paths[1]):
            watch.expect(reply)


class DrainOneDirection(StationsTest):
    """Each entry drains for itself."""

    def runTest(self):
        connection = self.connect()
        self.write([self.connection_update("MODIFY", connection, REPLY, "ct_drain")])
        self.forwards(self.vm1, connection.frame(), EXT.port)
        self.punts(self.ext, connection.frame(REPLY), "DRAIN", hit=connection.hit(REPLY, "DRAIN"))


@each(family=(4, 6))
class FlagsWhileDraining(StationsTest):
    """A FIN of a draining connection is still a FIN."""

    def runTest(self):
        connection = self.connect("tcp", self.family)
        self.drain(connection)
        for flags, reason in (("FA", "TCP_FIN"), ("R", "TCP_RST"), ("S", "TCP_SYN")):
            entry = self.watch_trap(reason, "CONTROL")
            data = connection.frame(flags=flags)
            self.punts(self.vm1, data, reason, hit=connection.hit(ORIGINAL, "DRAIN"))
            entry.expect(data)


class DrainBeforeFlow(StationsTest):
    """A flow entry does not get what a draining connection leaves."""

    def runTest(self):
        connection = self.connect("udp")
        self.add_flow(self.vm1, EXT.port, {}, priority=1)
        self.drain(connection)
        data = connection.frame()
        self.punts(self.vm1, data, "DRAIN", hit=connection.hit(ORIGINAL, "DRAIN"))


@each(family=(4, 6))
class Remove(StationsTest):
    """Deleted entries are gone; their cells keep what was counted until they are zeroed."""

    def runTest(self):
        connection = self.connect("udp", self.family)
        count, _ = self.watch_connection(connection)
        data = connection.frame()
        self.forwards(self.vm1, data, EXT.port)
        self.drain(connection)
        self.remove(connection)
        self.punts(self.vm1, data, "MISS")
        self.punts(self.ext, connection.frame(REPLY), "MISS")
        count.expect(data)


class IndexReused(StationsTest):
    """A new connection on an old index starts from zero, with its own generation."""

    def runTest(self):
        old = self.connect(index=9, generation=1)
        self.forwards(self.vm1, old.frame(), EXT.port)
        self.drain(old)
        self.remove(old)
        new = self.connect(index=9, generation=2, sport=40001)
        count, _ = self.watch_connection(new)
        self.forwards(self.vm1, new.frame(), EXT.port)
        count.expect(new.frame())
        data = new.frame(flags="FA")
        self.punts(self.vm1, data, "TCP_FIN", hit=new.hit(ORIGINAL))


class ForwardAgain(StationsTest):
    """An entry that drains may be put back to forwarding."""

    def runTest(self):
        connection = self.connect()
        self.drain(connection)
        self.write([self.connection_update("MODIFY", connection, d) for d in (ORIGINAL, REPLY)])
        self.forwards(self.vm1, connection.frame(), EXT.port)


class RemovalUnderTraffic(StationsTest):
    """Frames in flight while entries drain: each is either counted and sent, or comes up."""

    def runTest(self):
        connection = self.connect("udp")
        count, _ = self.watch_connection(connection)
        frames = [connection.frame(payload=b"%04d" % n) for n in range(2 * MAX_IN_FLIGHT)]
        for data in frames[:MAX_IN_FLIGHT]:
            self.send(self.vm1, data)
        self.drain(connection)
        counted = count.count()
        for data in frames[MAX_IN_FLIGHT:]:
            self.send(self.vm1, data)
        for data in frames[: counted.packets]:
            self.verify_forwarded(EXT.port, data)
        for data in frames[counted.packets :]:
            self.verify_punt(data, self.vm1, "DRAIN", hit=connection.hit(ORIGINAL, "DRAIN"))
        count.expect(*frames[: counted.packets])


class RemovedAThousandTimes(StationsTest):
    """Installed and drained again and again with frames in flight: what is counted is what was
    sent on, to the frame and byte, and all the rest came up."""

    def runTest(self):
        connection = self.connect("udp", family=6)
        cells = [
            update("MODIFY", zero_counter_entry(self.names, "ct_counter", 2 * connection.index + d))
            for d in (ORIGINAL, REPLY)
        ]
        forwarded = 0
        for turn in range(1000):
            count, _ = self.watch_connection(connection)
            frames = [connection.frame(payload=b"%d %s" % (turn, b"x" * n)) for n in range(3)]
            for data in frames[:2]:
                self.send(self.vm1, data)
            self.drain(connection)
            counted = count.count().packets
            forwarded += counted
            self.send(self.vm1, frames[2])
            for data in frames[:counted]:
                self.verify_forwarded(EXT.port, data)
            for data in frames[counted:]:
                self.verify_punt(data, self.vm1, "DRAIN", hit=connection.hit(ORIGINAL, "DRAIN"))
            count.expect(*frames[:counted])
            self.remove(connection)
            self.write(cells)
            self.write([self.connection_update("INSERT", connection, d) for d in (ORIGINAL, REPLY)])
        assert 0 < forwarded <= 2000, forwarded
