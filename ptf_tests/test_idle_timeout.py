# SPDX-License-Identifier: Apache-2.0
"""Idle timeout notifications. The only cases that wait: for the target's own timers."""

import time

from ptf_base.connections import ORIGINAL, REPLY
from ptf_base.entities import table_entry
from ptf_base.eswitch import StationsTest
from ptf_base.frames import EXT, VM1
from ptf_base.traffic import NO_HIT

SECOND = 1_000_000_000
# How late a notification may be, by P4Runtime servers that look once a second.
LATENESS = 1.5


class IdleTest(StationsTest):
    """Collects notifications by entry."""

    def setUp(self):
        super().setUp()
        self.switch.wire.forget_idle_entries()

    def expected(self, connection, direction):
        """The entry of a notification: these fields and no other."""
        entity = table_entry(
            self.names,
            connection.table,
            connection.match(direction),
            idle_timeout_ns=connection.idle_timeout_ns,
            metadata=connection.metadata,
            controller_metadata=connection.controller_metadata,
        )
        return entity.table_entry


class NotifiesBothFamilies(IdleTest):
    """An entry that is not hit is notified within its time, with exactly the fields of the
    specification, and again while it stays idle. Entries without a timeout never are."""

    def runTest(self):
        begin = time.monotonic()
        options = {"idle_timeout_ns": SECOND // 2, "metadata": b"\0z\xff", "controller_metadata": 9}
        idle = [self.connect("tcp", 4, **options), self.connect("udp", 6, **options)]
        self.connect("udp", 4)
        waited_for = [self.expected(c, d) for c in idle for d in (ORIGINAL, REPLY)]
        for _ in range(2):
            missing = list(waited_for)
            while missing:
                for entry in self.switch.wire.next_idle_entries(5.0):
                    self.assertIn(entry, waited_for)
                    if entry in missing:
                        missing.remove(entry)
        self.assertGreater(time.monotonic() - begin, 0.5)
        for connection in idle:
            self.remove(connection)
        # Idle or not, they were there until now.
        self.assertEqual(NO_HIT.ct_hit, "MISS")
        self.punts(self.vm1, idle[0].frame(), "MISS")


class HitsKeepAwake(IdleTest):
    """Of two entries the one that is hit is not notified while the other is."""

    def runTest(self):
        awake = self.connect("udp", idle_timeout_ns=2 * SECOND)
        asleep = self.connect("udp", sport=40001, idle_timeout_ns=2 * SECOND)
        quiet = [self.expected(awake, ORIGINAL)]
        missing = [self.expected(asleep, d) for d in (ORIGINAL, REPLY)]
        sent = 0
        begin = time.monotonic()
        while missing and time.monotonic() - begin < 2 + LATENESS + 1:
            self.forwards(self.vm1, awake.frame(), EXT.port)
            sent += 1
            for entry in self.idle_entries(0.2):
                self.assertNotIn(entry, quiet)
                if entry in missing:
                    missing.remove(entry)
        self.assertEqual(missing, [])
        self.assertGreater(sent, 1)

    def idle_entries(self, timeout):
        from ptf_base.wire import WireError

        try:
            return self.switch.wire.next_idle_entries(timeout)
        except WireError:
            return []


class TimeSinceLastHit(IdleTest):
    """A read that asks for it tells how long an entry has been idle."""

    def runTest(self):
        connection = self.connect("udp", idle_timeout_ns=600 * SECOND)
        self.forwards(self.vm1, connection.frame(), EXT.port)
        entity = table_entry(self.names, connection.table, connection.match(ORIGINAL))
        entity.table_entry.time_since_last_hit.SetInParent()
        (read,) = self.switch.wire.read(entity)
        self.assertTrue(read.table_entry.HasField("time_since_last_hit"))
        self.assertLess(read.table_entry.time_since_last_hit.elapsed_ns, 60 * SECOND)
        self.assertEqual(read.table_entry.idle_timeout_ns, connection.idle_timeout_ns)
        self.forwards(self.ext, connection.frame(REPLY), VM1.port)
