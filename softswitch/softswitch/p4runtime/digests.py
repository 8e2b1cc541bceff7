# SPDX-License-Identifier: Apache-2.0
"""Digest lists (spec 9.6, 16.3): what is buffered, sent, acknowledged and forgotten, and when.

Pure bookkeeping with the time passed in, in nanoseconds; the lock is for writers on one side and
the thread that delivers on the other.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4rt

from softswitch.p4runtime.digest_types import DigestType
from softswitch.p4runtime.errors import Code, P4RuntimeError, invalid

LIST_LIMIT = 4096
"""Entries of one list, whatever a client asks for: it must fit into a message."""
CACHE_LIMIT = 1 << 16
"""Values sent and not acknowledged yet; when there are more, new ones are dropped and counted."""

Values = tuple[int, ...]
Update = p4rt.Update


@dataclass
class _Digest:
    """One digest. `config` None: not configured, nothing is sent."""

    digest_id: int
    type: DigestType
    config: p4rt.DigestEntry.Config | None = None
    list_id: int = 0
    pending: list[Values] = field(default_factory=list[Values])
    pending_since: int = 0
    known: set[Values] = field(default_factory=set[Values])
    """What is in `pending` or waits for its acknowledgement."""
    unacked: dict[int, tuple[int, list[Values]]] = field(
        default_factory=dict[int, tuple[int, list[Values]]]
    )
    """List id -> (time sent, values), oldest first."""

    def reset(self) -> None:
        self.pending.clear()
        self.known.clear()
        self.unacked.clear()

    def forget(self, list_id: int) -> None:
        _, values = self.unacked.pop(list_id, (0, list[Values]()))
        self.known.difference_update(values)

    def expire(self, now: int) -> None:
        """Forget lists that were not acknowledged in time."""
        if self.config is None:
            return
        for list_id, (sent, _) in list(self.unacked.items()):
            if now - sent < self.config.ack_timeout_ns:
                break
            self.forget(list_id)

    def due(self) -> int | None:
        """When the list must be sent; None if nothing waits."""
        if self.config is None or not self.pending:
            return None
        return self.pending_since + self.config.max_timeout_ns

    def flush(self, now: int) -> p4rt.DigestList:
        """The list of what waits."""
        assert self.config is not None
        self.list_id += 1
        message = p4rt.DigestList(digest_id=self.digest_id, list_id=self.list_id)
        for values in self.pending:
            self.type.encode(values, message.data.add())
        if self.config.ack_timeout_ns:
            self.unacked[self.list_id] = (now, self.pending)
        self.pending = []
        return message


class Digests:
    """All digests of one pipeline."""

    def __init__(self, types: Iterable[tuple[int, str, DigestType]]) -> None:
        """`types`: id, name and type of each digest."""
        self._lock = threading.Lock()
        self._by_name: dict[str, _Digest] = {}
        self._by_id: dict[int, _Digest] = {}
        for digest_id, name, kind in types:
            self._by_name[name] = self._by_id[digest_id] = _Digest(digest_id, kind)
        self.dropped = 0

    def clear(self) -> None:
        """Forget every configuration: the program has been loaded afresh."""
        with self._lock:
            for digest in self._by_id.values():
                digest.reset()
                digest.config = None

    def write(self, kind: Update.Type, entry: p4rt.DigestEntry) -> None:
        """Configure. NOT_FOUND (unknown digest, or not configured), ALREADY_EXISTS,
        INVALID_ARGUMENT (a negative time or size)."""
        config = p4rt.DigestEntry.Config()
        config.CopyFrom(entry.config)
        if min(config.max_timeout_ns, config.max_list_size, config.ack_timeout_ns) < 0:
            raise invalid(f"digest {entry.digest_id:#x}: negative time or size")
        with self._lock:
            digest = self._find(entry.digest_id)
            if kind == Update.INSERT and digest.config is not None:
                raise P4RuntimeError(
                    Code.ALREADY_EXISTS, f"digest {entry.digest_id:#x} is configured already"
                )
            if kind != Update.INSERT and digest.config is None:
                raise P4RuntimeError(
                    Code.NOT_FOUND, f"digest {entry.digest_id:#x} is not configured"
                )
            if kind == Update.DELETE:
                digest.reset()
                digest.config = None
            else:
                digest.config = config

    def read(self, request: p4rt.DigestEntry) -> Iterator[p4rt.Entity]:
        """Configurations: of one digest, or of all for id 0. NOT_FOUND: unknown digest."""
        with self._lock:
            wanted = [self._find(request.digest_id)] if request.digest_id else self._by_id.values()
            found = [(digest.digest_id, digest.config) for digest in wanted]
        for digest_id, config in found:
            if config is not None:
                entity = p4rt.Entity()
                entity.digest_entry.digest_id = digest_id
                entity.digest_entry.config.CopyFrom(config)
                yield entity

    def _find(self, digest_id: int) -> _Digest:
        digest = self._by_id.get(digest_id)
        if digest is None:
            raise P4RuntimeError(Code.NOT_FOUND, f"there is no digest {digest_id:#x}")
        return digest

    def acknowledge(self, digest_id: int, list_id: int) -> None:
        """The client has the list: its values may be reported again. Unknown ones are ignored."""
        with self._lock:
            digest = self._by_id.get(digest_id)
            if digest is not None:
                digest.forget(list_id)

    def add(self, reports: Sequence[tuple[str, Values]], now: int) -> list[p4rt.DigestList]:
        """Take what packets reported, (digest, values) each; returns lists to send now."""
        lists: list[p4rt.DigestList] = []
        with self._lock:
            for name, values in reports:
                digest = self._by_name.get(name)
                if digest is not None and digest.config is not None:
                    digest.expire(now)
                    if self._take(digest, digest.config, values, now):
                        lists.append(digest.flush(now))
            lists += [
                digest.flush(now)
                for digest in self._by_id.values()
                if (due := digest.due()) is not None and due <= now
            ]
        return lists

    def _take(
        self, digest: _Digest, config: p4rt.DigestEntry.Config, values: Values, now: int
    ) -> bool:
        """Buffer the values; True if the list is full."""
        if config.ack_timeout_ns:
            if values in digest.known:
                return False
            if len(digest.known) >= CACHE_LIMIT:
                self.dropped += 1
                return False
            digest.known.add(values)
        if not digest.pending:
            digest.pending_since = now
        digest.pending.append(values)
        return len(digest.pending) >= min(config.max_list_size or LIST_LIMIT, LIST_LIMIT)

    def next_due(self) -> int | None:
        """When `add` has to be called again, even without reports."""
        with self._lock:
            times = [digest.due() for digest in self._by_id.values()]
        return min((time for time in times if time is not None), default=None)
