# SPDX-License-Identifier: Apache-2.0
"""Between conntrack's TCP windows and the eswitch's window registers.

A record whose entries check windows is *watched*: its connections keep their windows, which grow
by what the eswitch reports.  Any other record makes its TCP connections liberal.
"""

from __future__ import annotations

from collections.abc import Callable

from p4ct.conntrack.tcp_window import WindowValues, export_windows, merge_windows
from p4ct.eswitch.entries import WindowPair, WindowSide
from p4ct.offload.record import Record

__all__ = ["begin", "catch_up", "forget", "learn"]


Merge = Callable[[int, WindowPair], bool]
"""Raises the registers of a connection index, as `EswitchPort.merge_windows`."""


def begin(record: Record, check: bool) -> WindowPair | None:
    """Entries of the record are about to be written: what its registers have to hold before.

    None: its entries check nothing, and its connections turn liberal now. From the write on
    packets may go by unseen, long before its answer is here.
    """
    pair = _common(record) if check else None
    record.checks_window = pair is not None
    for member in record.members:
        tcp = member.connection.tcp
        if tcp is not None:
            tcp.watched = record.checks_window
            if not tcp.watched:
                tcp.forget_windows()
    return pair


def _common(record: Record) -> WindowPair | None:
    """The windows on which all connections of the record agree, in its directions."""
    found: set[tuple[WindowValues, WindowValues]] = set()
    for member in record.members:
        tcp = member.connection.tcp
        values = None if tcp is None else export_windows(tcp)
        if values is None:
            return None
        found.add((values[1], values[0]) if member.flipped else values)
    if len(found) != 1:
        return None
    original, reply = found.pop()
    return WindowPair(WindowSide(*original), WindowSide(*reply))


def learn(record: Record, seen: WindowPair) -> None:
    """The registers of a watched record, read now or sent up with a packet."""
    for member in record.members:
        tcp = member.connection.tcp
        if tcp is not None and tcp.watched:
            original, reply = seen
            merge_windows(tcp, (reply, original) if member.flipped else (original, reply))


def catch_up(record: Record, seen: WindowPair, merge: Merge) -> bool:
    """Software knows more than the registers `seen` with a packet: raise them.

    False: software does not know the windows either, and nobody can check them any more.
    """
    pair = _common(record)
    if pair is None:
        return False
    if pair != seen:
        merge(record.index, pair)  # lost: the next packet that is ahead of them asks again
    return True


def forget(record: Record) -> None:
    """What the eswitch has seen cannot be learned, or is not asked any more: liberal from now."""
    record.checks_window = False
    for member in record.members:
        tcp = member.connection.tcp
        if tcp is not None and tcp.watched:
            tcp.watched = False
            tcp.forget_windows()
