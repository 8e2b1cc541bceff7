# SPDX-License-Identifier: Apache-2.0
"""The P4Runtime `metadata` of a connection entry: what is needed to rebuild its record.

MessagePack arrays, written into both entries of a record.  The first field is a version; metadata
of another version is not understood, and its entries are removed rather than guessed at.
"""

from __future__ import annotations

import msgspec

from p4ct.conntrack import Tuple
from p4ct.offload.record import Record

__all__ = ["EntryMetadata", "MemberMetadata", "decode", "encode"]

VERSION = 2


Label = bytes
"""128 bits, network order."""


class MemberMetadata(msgspec.Struct, frozen=True, array_like=True):
    """One connection: zone, tuples, state, mark, label, what software counted before, and the name
    of its timeouts.

    NAT is in the tuples: the reply is not the mirror of the original. The label has 16 bytes,
    because MessagePack has no integers of 128 bits.
    """

    zone: int
    original: Tuple
    reply: Tuple
    state: str
    mark: int
    label: Label
    flipped: bool
    packets: tuple[int, int]
    bytes: tuple[int, int]
    timeout_policy: str = ""


class EntryMetadata(msgspec.Struct, frozen=True, array_like=True):
    """A record: its connections, its idle timeout in seconds and the flows of each direction."""

    version: int
    timeout: float
    paths: tuple[tuple[int, ...], tuple[int, ...]]
    members: tuple[MemberMetadata, ...]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(EntryMetadata)


def encode(record: Record) -> bytes:
    """The metadata of both entries of a record."""
    members = tuple(
        MemberMetadata(
            zone=member.connection.zone,
            original=member.connection.original,
            reply=member.connection.reply,
            state=member.connection.state_name,
            mark=member.connection.mark,
            label=member.connection.label.to_bytes(16, "big"),
            flipped=member.flipped,
            packets=(member.connection.packets[0], member.connection.packets[1]),
            bytes=(member.connection.bytes[0], member.connection.bytes[1]),
            timeout_policy=member.connection.timeout_policy,
        )
        for member in record.members
    )
    original, reply = record.halves
    paths = (tuple(f.cookie for f in original.flows), tuple(f.cookie for f in reply.flows))
    return _encoder.encode(EntryMetadata(VERSION, record.timeout, paths, members))


def decode(raw: bytes) -> EntryMetadata | None:
    """The metadata, or None if it is not ours or of another version."""
    try:
        found = _decoder.decode(raw)
    except msgspec.MsgspecError:
        return None
    return found if found.version == VERSION else None
