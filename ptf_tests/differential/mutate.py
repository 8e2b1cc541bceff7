# SPDX-License-Identifier: Apache-2.0
"""Damage to a finished frame: what a broken sender, wire or attacker makes of it."""

from __future__ import annotations

import random

from differential.pools import ETHERTYPES

UNTOUCHED = 0.75
MAX_FRAME = 1514


def mutate(rng: random.Random, frame: bytes) -> bytes:
    """The frame, or one to three random kinds of damage to it."""
    if rng.random() < UNTOUCHED:
        return frame
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        frame = rng.choice(_KINDS)(rng, frame)
    return frame


def _truncate(rng: random.Random, frame: bytes) -> bytes:
    # Half of them within the headers, where every byte matters.
    return frame[: rng.randrange(min(len(frame), rng.choice((130, 1514))) + 1)]


def _flip_bits(rng: random.Random, frame: bytes) -> bytes:
    if not frame:
        return frame
    changed = bytearray(frame)
    for _ in range(rng.randrange(1, 5)):
        changed[rng.randrange(min(len(changed), 120))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _random_byte(rng: random.Random, frame: bytes) -> bytes:
    if not frame:
        return frame
    at = rng.randrange(len(frame))
    return frame[:at] + rng.randbytes(1) + frame[at + 1 :]


def _pad(rng: random.Random, frame: bytes) -> bytes:
    length = rng.choice((60, 64, len(frame) + rng.randrange(1, 20), MAX_FRAME))
    extra = max(0, length - len(frame))
    return frame + (bytes(extra) if rng.random() < 0.5 else rng.randbytes(extra))


def _ether_type(rng: random.Random, frame: bytes) -> bytes:
    ether_type = rng.choice((*ETHERTYPES, rng.getrandbits(16)))
    return frame[:12] + ether_type.to_bytes(2, "big") + frame[14:]


def _tag(rng: random.Random, frame: bytes) -> bytes:
    tpid = rng.choice((b"\x81\x00", b"\x81\x00", b"\x88\xa8"))
    return frame[:12] + tpid + rng.randbytes(2) + frame[12:]


def _cut_out(rng: random.Random, frame: bytes) -> bytes:
    at = rng.randrange(len(frame) + 1)
    return frame[:at] + frame[at + rng.randrange(1, 9) :]


_KINDS = (_truncate, _truncate, _flip_bits, _flip_bits, _random_byte, _pad, _ether_type, _tag)
_KINDS += (_cut_out,)
