# SPDX-License-Identifier: Apache-2.0
"""TCP window registers: written, read, checked and kept as Linux would."""

import random
from dataclasses import replace

from ptf_base.connections import ORIGINAL, REPLY
from ptf_base.each import each
from ptf_base.eswitch import StationsTest
from ptf_base.frames import EXT, VM1, Tunnel, frame
from ptf_base.window import MAX_ACK_WINDOW, WORD, Pair, Registers, Segment, in_window, merged

# The client has sent up to 5000 and offers 2000 more than it has acknowledged; the server has
# sent up to 9000.
START = Pair(Registers(5000, 7500, 4000, 9000, 2), Registers(9000, 13000, 2500, 5000, 0))
SEGMENT = Segment(5000, 9000, 1000, 7)
OUTSIDE = {
    "SEQ_ABOVE": SEGMENT._replace(seq=7501),
    "SEQ_BELOW": SEGMENT._replace(seq=5000 - 2500 - 8),
    "ACK_ABOVE": SEGMENT._replace(ack=9001),
    "ACK_BELOW": SEGMENT._replace(ack=(9000 - MAX_ACK_WINDOW - 1) & WORD),
}
EDGES = {
    "SEQ_ABOVE": SEGMENT._replace(seq=7500),
    "SEQ_BELOW": SEGMENT._replace(seq=5000 - 2500 - 7),
    "ACK_ABOVE": SEGMENT,
    "ACK_BELOW": SEGMENT._replace(ack=(9000 - MAX_ACK_WINDOW) & WORD),
}
VERDICTS = tuple(OUTSIDE)


class WindowTest(StationsTest):
    """A connection with registers, seeded before its entries are written."""

    def connect_checked(self, window=START, *, family=4, check_window=1, **options):
        self.write_window(1, window)
        self.verify_window(1, window)
        connection = self.connect("tcp", family, index=1, check_window=check_window, **options)
        self.sides = ((self.vm1, EXT.port), (self.ext, VM1.port))
        return connection

    def segment(self, connection, segment, direction=ORIGINAL, **changes):
        """The frame of a segment."""
        fields = {"seq": segment.seq, "ack": segment.ack, "window": segment.window}
        fields |= changes.pop("l4", {})
        return connection.frame(direction, payload=b"x" * segment.length, l4=fields, **changes)

    def mirrored(self, window):
        """The same with both directions' roles exchanged."""
        return Pair(window.reply, window.original)

    def passes(self, connection, segment, direction=ORIGINAL, **changes):
        vport, port = self.sides[direction]
        self.forwards(vport, self.segment(connection, segment, direction, **changes), port)


class WriteAndRead(StationsTest):
    """What is written is read, by index, at the edges of every register."""

    def runTest(self):
        rng = random.Random("registers")
        written = {}
        for index in (0, 1, 2, 77, 65535):
            sides = [
                Registers(*(rng.choice((0, WORD, rng.getrandbits(32))) for _ in range(4)), scale)
                for scale in (rng.randrange(15), 255)
            ]
            written[index] = Pair(*sides)
            self.write_window(index, written[index])
        for index, window in written.items():
            self.verify_window(index, window)
        self.write_window(77, Pair())
        self.verify_window(77, Pair())
        self.verify_window(2, written[2])


@each(op=("WINDOW_WRITE", "WINDOW_MERGE"))
class TruncatedWrite(StationsTest):
    """A payload that is too short writes nothing; the drop is counted."""

    def runTest(self):
        self.write_window(5, START)
        drops = self.watch("drop_counter", "BAD_PACKET_OUT")
        payload = Pair(*(replace(side, max_win=WORD) for side in Pair())).payload()
        for length in range(1, len(payload)):
            self.packet_out(payload[:length], self.op, conn_index=5)
        self.verify_window(5, START)
        assert drops.count().packets == len(payload) - 1


@each(register=("end", "max_end", "max_win", "max_ack"), side=(0, 1))
class MergeOfOne(StationsTest):
    """Each register is raised for itself, and never lowered; the scale stays."""

    def runTest(self):
        self.write_window(3, START)
        value = getattr(START[self.side], self.register)
        for change, expected in ((-1, value), (1, value + 1)):
            sides = [Registers(*(v - 1 for v in s.__dict__.values())) for s in START]
            sides[self.side] = replace(sides[self.side], **{self.register: value + change})
            self.merge_window(3, Pair(*(replace(side, scale=9) for side in sides)))
            wanted = list(START)
            wanted[self.side] = replace(wanted[self.side], **{self.register: expected})
            self.verify_window(3, Pair(*wanted))


@each(seed=range(4))
class MergeAtRandom(StationsTest):
    """Any two states merge as in the model, across the wrap of the sequence numbers."""

    def runTest(self):
        rng = random.Random(f"merge {self.seed}")
        near = (rng.getrandbits(32), WORD - 5)

        def some():
            words = [(rng.choice(near) + rng.randrange(-40, 40)) & WORD for _ in range(4)]
            return Registers(*words, rng.randrange(15))

        for _ in range(20):
            old, new = Pair(some(), some()), Pair(some(), some())
            self.write_window(4, old)
            self.merge_window(4, new)
            self.verify_window(4, merged(old, new))


class MergeUnderAConnection(WindowTest):
    """What was outside passes once software, which knows more, has raised the registers; other
    indices keep theirs."""

    def runTest(self):
        self.write_window(2, START)
        connection = self.connect_checked()
        ahead = OUTSIDE["ACK_ABOVE"]
        self.punts(
            self.vm1,
            self.segment(connection, ahead),
            "WINDOW",
            hit=connection.hit(ORIGINAL),
            window=START,
            verdict="ACK_ABOVE",
        )
        known = Pair(START.original, replace(START.reply, end=ahead.ack))
        self.merge_window(1, known)
        self.verify_window(1, known)
        self.passes(connection, ahead)
        self.verify_window(1, in_window(known, ORIGINAL, ahead)[1])
        self.verify_window(2, START)


class ReadOfAFrame(StationsTest):
    """Whatever a WINDOW_READ carries comes back with it, and does nothing else."""

    def runTest(self):
        connection = self.connect("tcp", index=6, check_window=1)
        self.write_window(6, START)
        count = self.watch_connection(connection)
        data = connection.frame()
        self.packet_out(data, "WINDOW_READ", conn_index=6)
        got = self.next_packet_in()
        assert got.frame == data
        assert {k: got.fields[k] for k in START.fields()} == START.fields()
        for watch in count:
            watch.expect()


@each(family=(4, 6), direction=(ORIGINAL, REPLY))
class Inside(WindowTest):
    """A segment inside passes, is counted, and moves the registers as the model says."""

    def runTest(self):
        window = START if self.direction == ORIGINAL else self.mirrored(START)
        connection = self.connect_checked(window, family=self.family)
        count = self.watch_connection(connection)[self.direction]
        verdict, after = in_window(window, self.direction, SEGMENT)
        assert verdict == "INSIDE"
        assert after != window
        self.passes(connection, SEGMENT, self.direction)
        self.verify_window(1, after)
        count.expect(self.segment(connection, SEGMENT, self.direction))


@each(family=(4, 6), direction=(ORIGINAL, REPLY), verdict=VERDICTS)
class Outside(WindowTest):
    """A segment outside comes up with verdict and registers, is not counted, and changes
    nothing; one on the edge passes."""

    def runTest(self):
        window = START if self.direction == ORIGINAL else self.mirrored(START)
        connection = self.connect_checked(window, family=self.family)
        counts = self.watch_connection(connection)
        punts = self.watch("punt_counter", "WINDOW")
        segment = OUTSIDE[self.verdict]
        assert in_window(window, self.direction, segment) == (self.verdict, window)
        data = self.segment(connection, segment, self.direction)
        self.punts(
            self.sides[self.direction][0],
            data,
            "WINDOW",
            hit=connection.hit(self.direction),
            window=window,
            verdict=self.verdict,
        )
        self.verify_window(1, window)
        punts.expect(data)
        for count in counts:
            count.expect()
        self.passes(connection, EDGES[self.verdict], self.direction)
        self.verify_window(1, in_window(window, self.direction, EDGES[self.verdict])[1])


@each(verdict=VERDICTS)
class NotChecked(WindowTest):
    """Without check_window every segment passes and no register moves."""

    def runTest(self):
        connection = self.connect_checked(check_window=0)
        self.passes(connection, OUTSIDE[self.verdict])
        self.passes(connection, SEGMENT)
        self.verify_window(1, START)


@each(proto=("udp", "icmp"))
class OnlyTcp(StationsTest):
    """check_window means nothing to other protocols, and their packet-ins carry no registers."""

    def runTest(self):
        self.write_window(1, START)
        connection = self.connect(self.proto, index=1, check_window=1)
        self.forwards(self.vm1, connection.frame(), EXT.port)
        low = connection.frame(ttl=1)
        self.punts(self.vm1, low, "TTL", hit=connection.hit(ORIGINAL), window=Pair())
        self.verify_window(1, START)


@each(family=(4, 6))
class TrappedCarryRegisters(WindowTest):
    """What is trapped or drains carries the registers, unchecked, whether it is inside or not."""

    def runTest(self):
        connection = self.connect_checked(family=self.family)
        for flags, reason in (("FA", "TCP_FIN"), ("R", "TCP_RST"), ("S", "TCP_SYN")):
            data = self.segment(connection, OUTSIDE["SEQ_ABOVE"], flags=flags)
            self.punts(self.vm1, data, reason, hit=connection.hit(ORIGINAL), window=START)
        data = self.segment(connection, SEGMENT, ttl=1)
        self.punts(self.vm1, data, "TTL", hit=connection.hit(ORIGINAL), window=START)
        self.drain(connection)
        data = self.segment(connection, SEGMENT, REPLY)
        hit = connection.hit(REPLY, "DRAIN")
        self.punts(self.ext, data, "DRAIN", hit=hit, window=START)
        self.verify_window(1, START)


class InsideButNotSent(WindowTest):
    """A segment inside whose next hop stops it has been seen: verdict and new registers go up
    with it."""

    def runTest(self):
        self.add_next_hop(50, EXT.port, mtu=60)
        connection = self.connect_checked(next_hops=(50, VM1.port))
        large = SEGMENT._replace(length=100)
        window = in_window(START, ORIGINAL, large)[1]
        self.punts(
            self.vm1,
            self.segment(connection, large),
            "MTU_EXCEEDED",
            hit=connection.hit(ORIGINAL),
            window=window,
            verdict="INSIDE",
        )
        self.delete("next_hop", {"next_hop": 50})
        self.punts(
            self.vm1,
            self.segment(connection, large),
            "NO_NEXT_HOP",
            hit=connection.hit(ORIGINAL),
            window=window,
            verdict="INSIDE",
        )


class CheckedInTunnel(WindowTest):
    """The window of a segment in a tunnel is that of the inner packet."""

    def runTest(self):
        tunnel = Tunnel("192.0.2.9", "192.0.2.1", 9)
        self.add_tunnel(tunnel, 500)
        behind = self.add_vport(80, EXT.port, tunnel_vport=500, tunnel=tunnel)
        self.write_window(1, START)
        self.verify_window(1, START)
        connection = self.add_connection(
            "tcp", client=(EXT, behind), server=(VM1, self.vm1), index=1, check_window=1
        )
        data = self.segment(connection, SEGMENT)
        self.forwards(behind, tunnel.wrap(data), VM1.port, data)
        window = in_window(START, ORIGINAL, SEGMENT)[1]
        self.verify_window(1, window)
        data = self.segment(connection, OUTSIDE["ACK_ABOVE"])
        self.punts(
            behind,
            tunnel.wrap(data),
            "WINDOW",
            as_=data,
            hit=connection.hit(ORIGINAL),
            window=window,
            verdict="ACK_ABOVE",
        )


class OptionsAndPadding(WindowTest):
    """Neither TCP options nor padding is payload; the URG pointer and SACK do not matter."""

    def runTest(self):
        connection = self.connect_checked()
        empty = SEGMENT._replace(length=0)
        options = [("NOP", None), ("NOP", None), ("SAck", (1, 2))]
        self.passes(connection, empty, l4={"options": options})
        self.verify_window(1, in_window(START, ORIGINAL, empty)[1])
        data = self.segment(connection, empty) + b"\0" * 30
        self.forwards(self.vm1, data, EXT.port)
        self.verify_window(1, in_window(START, ORIGINAL, empty)[1])


class CheckSwitched(WindowTest):
    """The check is switched by modifying the entries, without any other change."""

    def runTest(self):
        connection = self.connect_checked()
        other = replace(connection, check_window=0)
        self.write([self.connection_update("MODIFY", other, d) for d in (ORIGINAL, REPLY)])
        self.passes(connection, OUTSIDE["SEQ_ABOVE"])
        self.write([self.connection_update("MODIFY", connection, d) for d in (ORIGINAL, REPLY)])
        data = self.segment(connection, OUTSIDE["SEQ_ABOVE"])
        self.punts(
            self.vm1,
            data,
            "WINDOW",
            hit=connection.hit(ORIGINAL),
            window=START,
            verdict="SEQ_ABOVE",
        )


@each(seed=range(8))
class RandomTrace(WindowTest):
    """A random exchange across the wrap of the sequence numbers, with scales, closed windows,
    retransmissions and strays: each segment fares, and each register moves, as in the model."""

    def runTest(self):
        rng = random.Random(f"trace {self.seed}")
        scales = [rng.choice((0, 1, 7, 14)) for _ in range(2)]
        sent = [rng.getrandbits(32) if self.seed % 2 else WORD - 3000 for _ in range(2)]
        offered = [rng.randrange(1, 3000) << scales[0], rng.randrange(1, 3000) << scales[1]]
        window = Pair(
            *(
                Registers(sent[d], (sent[d] + offered[1 - d]) & WORD, offered[d], sent[1 - d], s)
                for d, s in enumerate(scales)
            )
        )
        connection = self.connect_checked(window)
        seen = set()
        for number in range(60):
            direction = rng.randrange(2)
            segment = self.some_segment(rng, window, direction)
            verdict, after = in_window(window, direction, segment)
            data = self.segment(connection, segment, direction)
            if verdict == "INSIDE":
                self.passes(connection, segment, direction)
            else:
                hit = connection.hit(direction)
                vport = self.sides[direction][0]
                self.punts(vport, data, "WINDOW", hit=hit, window=window, verdict=verdict)
            window = after
            seen.add(verdict)
            if number % 10 == 9:
                self.verify_window(1, window)
        assert {"INSIDE"} < seen, seen

    def some_segment(self, rng, window, direction):
        """Mostly the next one, or one again; at times one from near an edge or from anywhere."""
        sender, receiver = window if direction == ORIGINAL else (window.reply, window.original)
        length = rng.choice((0, 1, 500, 1400))
        seq = sender.end
        ack = receiver.end
        kind = rng.randrange(12)
        if kind == 0:
            seq = sender.max_end + rng.randrange(-2, 3)
        elif kind == 1:
            seq = sender.end - receiver.max_win - length + rng.randrange(-2, 3)
        elif kind == 2:
            ack = receiver.end + rng.randrange(-2, 3)
        elif kind == 3:
            ack = receiver.end - max(sender.max_win, MAX_ACK_WINDOW) + rng.randrange(-2, 3)
        elif kind == 4:
            seq = rng.getrandbits(32)
        elif kind == 5:
            ack = rng.getrandbits(32)
        elif kind == 6:
            seq -= rng.randrange(3000)
        offer = 0 if rng.randrange(8) == 0 else rng.choice((rng.randrange(1, 3000), 65535))
        return Segment(seq & WORD, ack & WORD, offer, length)


class ClosedAtItsEdge(WindowTest):
    """A window that closes just where it ended before still leaves room for a probe."""

    def runTest(self):
        window = Pair(START.original, replace(START.reply, max_end=9000))
        connection = self.connect_checked(window)
        closed = SEGMENT._replace(window=0)
        after = in_window(window, ORIGINAL, closed)[1]
        assert after.reply.max_end == 9001
        self.passes(connection, closed)
        self.verify_window(1, after)


class NoEntryNoRegisters(StationsTest):
    """A miss carries no registers, whatever is in those of index 0."""

    def runTest(self):
        self.write_window(0, START)
        self.punts(self.vm1, frame("tcp", 4, VM1, EXT), "MISS", window=Pair())
        self.punts(self.vm1, frame("tcp", 4, VM1, EXT, flags="S"), "TCP_SYN", window=Pair())
