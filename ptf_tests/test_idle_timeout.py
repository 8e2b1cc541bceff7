# SPDX-License-Identifier: Apache-2.0
"""Idle timeout notifications. The only cases that wait: for the target's own timers."""

import time

from ptf_base.connections import ORIGINAL, REPLY
from ptf_base.entities import table_entry
from ptf_base.eswitch import StationsTest
from ptf_base.frames import EXT
from ptf_base.traffic import PATIENCE

SECOND = 1_000_000_000
METADATA = b"\0z\xff"


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
            controller_metadata=connection.controller_metadata,
        )
        return entity.table_entry

    def idle_entries(self, timeout, *, or_none=False):
        """The entries of the next notification, without `metadata`, which BMv2 leaves out."""
        entries = self.switch.wire.next_idle_entries(timeout, or_none=or_none)
        for entry in entries:
            assert entry.metadata in (b"", METADATA)
            entry.metadata = b""
        return entries


class NotifiesBothFamilies(IdleTest):
    """An entry that is not hit is notified once its time is over, with exactly the fields of the
    specification, and again while it stays idle. Entries without a timeout never are."""

    def runTest(self):
        begin = time.monotonic()
        options = {"idle_timeout_ns": SECOND // 2, "metadata": METADATA, "controller_metadata": 9}
        idle = [self.connect("tcp", 4, **options), self.connect("udp", 6, **options)]
        never = self.connect("udp", 4)
        waited_for = [self.expected(c, d) for c in idle for d in (ORIGINAL, REPLY)]
        for _ in range(2):
            missing = list(waited_for)
            while missing:
                for entry in self.idle_entries(PATIENCE):
                    assert entry in waited_for
                    if entry in missing:
                        missing.remove(entry)
        assert time.monotonic() - begin > 0.5
        # A notification removes nothing.
        for connection in (*idle, never):
            self.forwards(self.vm1, connection.frame(), EXT.port)


class HitsKeepAwake(IdleTest):
    """Of two entries the one that is hit is not notified while the other is."""

    def runTest(self):
        awake = self.connect("udp", idle_timeout_ns=2 * SECOND)
        asleep = self.connect("udp", sport=40001, idle_timeout_ns=2 * SECOND)
        hit = self.expected(awake, ORIGINAL)
        missing = [self.expected(asleep, d) for d in (ORIGINAL, REPLY)]
        begin = time.monotonic()
        while missing and time.monotonic() - begin < 2 * PATIENCE:
            self.forwards(self.vm1, awake.frame(), EXT.port)
            for entry in self.idle_entries(0.2, or_none=True):
                assert entry != hit
                if entry in missing:
                    missing.remove(entry)
        assert missing == []
        assert time.monotonic() - begin > 2.0


class TimeSinceLastHit(IdleTest):
    """A read that asks for it tells how long an entry has been idle, at most its timeout."""

    def runTest(self):
        # BMv2 computes in 32 bits of nanoseconds: 4.29 s is the longest timeout that it gets right.
        connection = self.connect("udp", idle_timeout_ns=4 * SECOND)
        self.forwards(self.vm1, connection.frame(), EXT.port)
        entity = table_entry(self.names, connection.table, connection.match(ORIGINAL))
        (read,) = self.switch.wire.read(entity)
        assert not read.table_entry.HasField("time_since_last_hit")
        entity.table_entry.time_since_last_hit.SetInParent()
        (read,) = self.switch.wire.read(entity)
        assert read.table_entry.HasField("time_since_last_hit")
        assert read.table_entry.time_since_last_hit.elapsed_ns < 4 * SECOND
