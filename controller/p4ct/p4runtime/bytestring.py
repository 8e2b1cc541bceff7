# SPDX-License-Identifier: Apache-2.0
"""P4Runtime bytestrings (specification 1.5, section 8.4): big-endian, shortest form."""


def canonical(value: int) -> bytes:
    """The shortest bytestring of a non-negative number; zero is one zero byte."""
    return value.to_bytes((value.bit_length() + 7) >> 3 or 1, "big")


def canonical_bytes(value: bytes) -> bytes:
    """The shortest form of big-endian bytes, such as an address. Needs at least one byte."""
    return value.lstrip(b"\0") or b"\0"


def fits(value: int, width: int) -> bool:
    """True if `value` is a bit<width>."""
    return 0 <= value < 1 << width
