# SPDX-License-Identifier: Apache-2.0
"""Network address translation: which tuple a new connection gets, and what its packets become.

A translated connection is one whose reply tuple is not the mirror of its original one. The search
for a free tuple is that of Open vSwitch (lib/conntrack.c, `nat_get_unique_tuple`), which is
that of Linux (`nf_nat_l4proto_unique_tuple`) with a different start:

- the address is chosen by a hash of both ends, so that the same ends get the same address; with
  `persistent` by the source address alone;
- a source port is kept if it is free; else one of its class (1-511, 600-1023, 1024-65535) is
  looked for. With a range of ports the search begins at the hash's or a random place of it;
- the search takes 128 tries in a row, then 64, 32, 16 and 8 from random places, and then gives up:
  such a connection is not committed (docs/decisions/0016-nat-exhaustion.md).
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import NamedTuple
from zlib import crc32

from p4ct.conntrack.connection import DNAT, SNAT, Tuple, is_icmp
from p4ct.packet.parse import PROTO_SCTP, PROTO_TCP, PROTO_UDP

__all__ = ["NatRange", "allocate", "nat_bits"]

MAX_TRIES = 128
MIN_TRIES = 16
"""A round with fewer tries than this is the last."""

_WITH_PORTS = frozenset({PROTO_TCP, PROTO_UDP, PROTO_SCTP})

IsTaken = Callable[[Tuple], bool]


class NatRange(NamedTuple):
    """What a flow asks for: `nat(src=…)` or `nat(dst=…)`.

    low, high: first and last address, 4 or 16 bytes; source 0.0.0.0 or :: leaves the address alone
        and changes the port only if the tuple is taken.   ports: first and last, None for any.
    random: look for a port from a random place.   hash: from the place of the hash, which is what
        happens without either, too.   persistent: a source keeps its address whatever it talks to.
    """

    source: bool
    low: bytes
    high: bytes
    ports: tuple[int, int] | None = None
    random: bool = False
    hash: bool = False
    persistent: bool = False


def nat_bits(original: Tuple, reply: Tuple) -> int:
    """SNAT and DNAT as far as a connection with these tuples has them."""
    plain = original.reversed()
    source = (reply.dst, reply.dport) != (plain.dst, plain.dport)
    target = (reply.src, reply.sport) != (plain.src, plain.sport)
    if is_icmp(original.version, original.proto):
        # The identifier is the same for both ends and counts as the source's.
        source = (reply.dst, reply.sport) != (plain.dst, plain.sport)
        target = reply.src != plain.src
    return (SNAT if source else 0) | (DNAT if target else 0)


def allocate(
    original: Tuple, wanted: NatRange, taken: IsTaken, rng: Random, salt: int
) -> Tuple | None:
    """What the packets of a new connection become; None if all that was tried is taken.

    taken: whether a connection has this tuple, which is that of the answers. salt: 32 bits that
    are the same for the life of the tracker.
    """
    key = _hash(original, wanted, salt)
    address = _address(original, wanted, key)
    candidate = original._replace(src=address) if wanted.source else original._replace(dst=address)
    if is_icmp(original.version, original.proto):
        return _search_source(candidate, original.sport, 0, 0xFFFF, taken, rng)
    if original.proto not in _WITH_PORTS:
        return None if taken(candidate.reversed()) else candidate
    if wanted.source:
        if wanted.ports is None:
            return _search_class(candidate, taken, rng)
        low, high = wanted.ports
        return _search_source(candidate, _start(wanted, key, rng), low, high, taken, rng)
    if wanted.ports is not None:
        low, high = wanted.ports
        port = _search(
            _start(wanted, key, rng),
            low,
            high,
            lambda port: not taken(candidate._replace(dport=port).reversed()),
            rng,
        )
        if port is not None:
            return candidate._replace(dport=port)
        candidate = candidate._replace(dport=low)
    # Two clients with the same port may want the same server by different names.
    return _search_class(candidate, taken, rng)


def _hash(original: Tuple, wanted: NatRange, salt: int) -> int:
    if wanted.persistent:
        return crc32(original.src + wanted.low + wanted.high)
    ends = b"%c%s%s%s" % (original.proto, original.key(), wanted.low, wanted.high)
    return crc32(ends, salt)


def _address(original: Tuple, wanted: NatRange, key: int) -> bytes:
    if wanted.source and not any(wanted.low) and wanted.low == wanted.high:
        return original.src
    low = int.from_bytes(wanted.low, "big")
    size = int.from_bytes(wanted.high, "big") - low + 1
    return (low + key % size).to_bytes(len(wanted.low), "big")


def _start(wanted: NatRange, key: int, rng: Random) -> int:
    assert wanted.ports is not None
    low, high = wanted.ports
    size = high - low + 1
    return low + (rng.randrange(size) if wanted.random else key % size)


def _search_class(candidate: Tuple, taken: IsTaken, rng: Random) -> Tuple | None:
    """The candidate's own source port, or another of its class."""
    if not taken(candidate.reversed()):
        return candidate
    port = candidate.sport
    low, high = (1, 511) if port < 512 else (600, 1023) if port < 1024 else (1024, 65535)
    return _search_source(candidate, max(port, low), low, high, taken, rng)


def _search_source(
    candidate: Tuple, start: int, low: int, high: int, taken: IsTaken, rng: Random
) -> Tuple | None:
    port = _search(
        start, low, high, lambda port: not taken(candidate._replace(sport=port).reversed()), rng
    )
    return None if port is None else candidate._replace(sport=port)


def _search(
    start: int, low: int, high: int, free: Callable[[int], bool], rng: Random
) -> int | None:
    """A free number of low..high: tries in a row, and again from random places."""
    size = high - low + 1
    tries = min(size, MAX_TRIES)
    while True:
        for step in range(tries):
            number = low + (start - low + step) % size
            if free(number):
                return number
        if tries == size or tries < MIN_TRIES:
            return None
        tries //= 2
        start = low + rng.randrange(size)
