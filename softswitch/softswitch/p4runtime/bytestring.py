# SPDX-License-Identifier: Apache-2.0
"""P4Runtime bytestrings: big-endian unsigned integers (spec 8.4)."""

from __future__ import annotations

from softswitch.p4runtime.errors import P4RuntimeError, invalid


def decode(value: bytes, limit: int, what: str) -> int:
    """The integer in `value`; any number of leading zero bytes is accepted.

    `limit` is the largest value that fits (2**width - 1). INVALID_ARGUMENT, naming `what`: the
    string is empty or the value does not fit.
    """
    number = int.from_bytes(value, "big")
    if number > limit or not value:
        raise bad_bytestring(value, limit, what)
    return number


def bad_bytestring(value: bytes, limit: int, what: str) -> P4RuntimeError:
    """Why `decode` refuses this value."""
    if not value:
        return invalid(f"{what}: empty bytestring")
    return invalid(f"{what}: bytestring provided does not fit within {limit.bit_length()} bits")


def encode(number: int) -> bytes:
    """The canonical form: the shortest string, one zero byte for 0."""
    return number.to_bytes((number.bit_length() + 7) >> 3 or 1, "big")
