# SPDX-License-Identifier: Apache-2.0
"""Fragments wait here until their packet is whole, so that conntrack sees packets only.

As `nf_defrag_ipv4`/`_ipv6` of Linux and `lib/ipf.c` of Open vSwitch: by zone, with the limits of
the latter. Pure: `now` (seconds) is an argument.

What is done about attacks: an overlap ends the whole packet, its fragments to come included (RFC
5722, for IPv4 too); fragments that are small without being the last are refused; so is what no
packet can be. The number of waiting fragments is limited, and the vport that fills the queue pays
for it: another vport's fragments take the place of its oldest packet.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from p4ct.packet.fragment import Cuts, Fragment, join, read_fragment
from p4ct.packet.parse import Packet

__all__ = ["FragmentDropped", "FragmentLimits", "Reassembler", "Whole"]


@dataclass(frozen=True, slots=True)
class FragmentLimits:
    """Defaults of Open vSwitch (`ipf-set-min-frag`, `ipf-set-max-nfrags`).

    min_size_v4, min_size_v6: bytes of IP header and data of every fragment but the last.
    max_fragments: that wait at the same time.   timeout: seconds from a packet's first fragment.
    """

    min_size_v4: int = 1200
    min_size_v6: int = 1280
    max_fragments: int = 1000
    timeout: float = 15.0


class FragmentDropped(Exception):
    """A fragment that is not taken; the text is the reason of the drop."""


class Whole(NamedTuple):
    """A packet that is complete, and how it was cut."""

    packet: Packet
    cuts: Cuts


class _Key(NamedTuple):
    """Whose fragments belong together. IPv6 has no protocol in it (0), as in RFC 8200.

    The vport is part of it, so that no station completes what another one began, and the table
    where the packet goes on, so that all of them have been let as far (OVS: the recirculation id).
    """

    zone: int
    table: int
    vport: int
    src: bytes
    dst: bytes
    identification: int
    proto: int


@dataclass(slots=True)
class _Waiting:
    """The fragments of one packet, by offset. `refused`: why it cannot become whole any more."""

    deadline: float
    pieces: list[Fragment] = field(default_factory=list[Fragment])
    refused: str = ""


_OVERLAP = "overlap"
_LENGTHS = "lengths that contradict each other"


class Reassembler:
    """All fragments that wait. `drops`: where those are counted that waited in vain, by reason.

    `packets`: how many became whole.
    """

    def __init__(self, limits: FragmentLimits, drops: Counter[str]) -> None:
        self.limits = limits
        self.drops = drops
        self.packets = 0
        #: In the order of their deadlines: all wait equally long.
        self._waiting: dict[_Key, _Waiting] = {}
        #: Waiting fragments by vport; a refused packet counts as one.
        self._held: Counter[int] = Counter()
        self._count = 0

    def __len__(self) -> int:
        """Fragments that wait (refused packets are remembered and count as one)."""
        return self._count

    def take(self, pkt: Packet, zone: int, table: int, vport: int, now: float) -> Whole | None:
        """One more fragment: the whole packet if it is complete, None if it waits now.

        table: where the packet goes on from here, -1 for nowhere else.
        Raises FragmentDropped when this fragment goes no further.
        """
        self.expire(now)
        piece = read_fragment(pkt)
        self._check(piece)
        proto = piece.proto if pkt.version == 4 else 0
        key = _Key(zone, table, vport, pkt.src, pkt.dst, piece.identification, proto)
        found = self._waiting.get(key)
        if found is None:
            self._make_room(vport)
            found = self._waiting[key] = _Waiting(now + self.limits.timeout)
        elif found.refused:
            raise _dropped(found.refused)
        else:
            self._make_room(vport, key)
        problem = _insert(found.pieces, piece)
        if problem:
            self._refuse(key, found, problem)
            raise _dropped(problem)
        self._hold(key, 1)
        if not _complete(found.pieces):
            return None
        whole = join(found.pieces)
        if isinstance(whole, str):
            self._hold(key, -1)  # the caller counts this one
            self._refuse(key, found, whole, without=piece)
            raise _dropped(whole)
        del self._waiting[key]
        self._hold(key, -len(found.pieces))
        self.packets += 1
        return Whole(*whole)

    def expire(self, now: float) -> None:
        """Drop and count what has waited too long."""
        while self._waiting:
            key = next(iter(self._waiting))
            if self._waiting[key].deadline > now:
                return
            self._drop(key, f"not complete within {self.limits.timeout:g} s")

    def clear(self, reason: str) -> None:
        """Drop and count all that wait."""
        while self._waiting:
            self._drop(next(iter(self._waiting)), reason)

    def next_deadline(self) -> float | None:
        """When `expire` has something to do."""
        return next(iter(self._waiting.values())).deadline if self._waiting else None

    # -- inside ----------------------------------------------------------------------------

    def _check(self, piece: Fragment) -> None:
        if piece.more and len(piece.data) % 8:
            raise _dropped("data not a multiple of 8 bytes")
        if not piece.data:
            raise _dropped("no data")
        version = piece.packet.version
        least = self.limits.min_size_v4 if version == 4 else self.limits.min_size_v6
        if piece.more and piece.ip_length < least:
            raise _dropped(f"below {least} bytes and not the last")
        if len(piece.head) + piece.end - (40 if version == 6 else 0) > 0xFFFF:
            raise _dropped("longer than an IP packet can be")

    def _make_room(self, vport: int, key: _Key | None = None) -> None:
        """At the limit the vport that has most waiting gives up its oldest packet.

        If that is this vport, or would be the packet `key` itself, the fragment is not taken.
        """
        while self._count >= self.limits.max_fragments:
            most = max(self._held, key=self._held.__getitem__)
            oldest = next(key for key in self._waiting if key.vport == most)
            if most == vport or oldest == key:
                raise _dropped(f"{self.limits.max_fragments} fragments are waiting")
            self._drop(oldest, "gave way to fragments of another vport")

    def _refuse(
        self, key: _Key, found: _Waiting, reason: str, without: Fragment | None = None
    ) -> None:
        """The packet cannot become whole; what comes of it until its deadline is dropped."""
        lost = sum(piece is not without for piece in found.pieces)
        held = len(found.pieces) if without is None else lost
        found.refused = reason
        found.pieces = []
        if lost:
            self.drops[f"fragment: {reason}"] += lost
        self._hold(key, 1 - held)

    def _drop(self, key: _Key, reason: str) -> None:
        found = self._waiting.pop(key)
        if found.pieces:
            self.drops[f"fragment: {reason}"] += len(found.pieces)
        self._hold(key, -(len(found.pieces) or 1))

    def _hold(self, key: _Key, number: int) -> None:
        self._count += number
        self._held[key.vport] += number
        if not self._held[key.vport]:
            del self._held[key.vport]


def _dropped(reason: str) -> FragmentDropped:
    return FragmentDropped(f"fragment: {reason}")


def _insert(pieces: list[Fragment], piece: Fragment) -> str:
    """Put a fragment in its place; a text says why the packet is beyond repair.

    Raises FragmentDropped for an exact repetition, which harms nothing.
    """
    place = len(pieces)
    while place and pieces[place - 1].offset >= piece.offset:
        place -= 1
    if place < len(pieces):
        after = pieces[place]
        if (after.offset, after.end, after.more) == (piece.offset, piece.end, piece.more):
            raise _dropped("repetition")
        if piece.end > after.offset:
            return _OVERLAP
    if place and pieces[place - 1].end > piece.offset:
        return _OVERLAP
    last = pieces[-1] if pieces else None
    if last is not None and (
        (not last.more and piece.offset > last.offset) or (not piece.more and place < len(pieces))
    ):
        return _LENGTHS
    pieces.insert(place, piece)
    return ""


def _complete(pieces: list[Fragment]) -> bool:
    if pieces[0].offset or pieces[-1].more:
        return False
    return all(pieces[n].end == pieces[n + 1].offset for n in range(len(pieces) - 1))
