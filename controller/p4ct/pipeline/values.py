# SPDX-License-Identifier: Apache-2.0
"""Reads the values of match fields: numbers, addresses and flags, each with an optional mask.

Every function returns (value, mask) or raises ValueProblem. As in `ovs-ofctl`, an address may have
bits outside its mask (10.1.2.3/8 is 10.0.0.0/8); a number or a set of flags may not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from p4ct.pipeline.errors import ValueProblem, nearest

__all__ = [
    "CT_STATE_NAMES",
    "TCP_FLAG_NAMES",
    "parse_flags",
    "parse_frag",
    "parse_ipv4",
    "parse_ipv6",
    "parse_mac",
    "parse_masked",
    "parse_uint",
]

CT_STATE_NAMES = {
    "new": 0x01,
    "est": 0x02,
    "rel": 0x04,
    "rpl": 0x08,
    "inv": 0x10,
    "trk": 0x20,
    "snat": 0x40,
    "dnat": 0x80,
}
TCP_FLAG_NAMES = {
    "fin": 0x001,
    "syn": 0x002,
    "rst": 0x004,
    "psh": 0x008,
    "ack": 0x010,
    "urg": 0x020,
    "ece": 0x040,
    "cwr": 0x080,
    "ns": 0x100,
    "[200]": 0x200,
    "[400]": 0x400,
    "[800]": 0x800,
}
FRAG_NAMES = {"no": (0, 3), "yes": (1, 1), "first": (1, 3), "later": (3, 3), "not_later": (0, 2)}
"""Value and mask of nw_frag: bit 0 is any fragment, bit 1 a later one."""

_NUMBER = re.compile(r"0[xX][0-9a-fA-F]+|0|[1-9][0-9]*")
_MAC = re.compile(r"[0-9a-fA-F]{1,2}(:[0-9a-fA-F]{1,2}){5}")


def parse_uint(text: str, low: int, high: int, *, what: str = "value") -> int:
    """A number in decimal or, after 0x, in hexadecimal."""
    allowed = f"{what} must be a number from {low} to {high}"
    if not _NUMBER.fullmatch(text):
        hint = "a leading zero is ambiguous; drop it" if re.fullmatch(r"0\d+", text) else ""
        raise ValueProblem(f"{text!r} is not valid: {allowed}", hint, length=len(text))
    value = int(text, 0)
    if not low <= value <= high:
        raise ValueProblem(f"{text} is out of range: {allowed}", length=len(text))
    return value


def parse_masked(text: str, bits: int, *, what: str = "value") -> tuple[int, int]:
    """`value` or `value/mask`."""
    full = (1 << bits) - 1
    left, slash, right = text.partition("/")
    value = parse_uint(left, 0, full, what=what)
    if not slash:
        return value, full
    mask = _mask_part(right, len(left) + 1, full, what)
    if value & ~mask:
        raise ValueProblem(
            f"{left} has bits outside its mask {right}, so nothing would match",
            f"write {value & mask:#x}/{right}",
            length=len(text),
        )
    return value, mask


def _mask_part(text: str, offset: int, full: int, what: str) -> int:
    try:
        return parse_uint(text, 0, full, what=f"the mask of {what}")
    except ValueProblem as problem:
        problem.offset += offset
        raise


def parse_mac(text: str) -> tuple[int, int]:
    """`aa:bb:cc:dd:ee:ff`, or with a mask of the same form."""
    left, slash, right = text.partition("/")
    value = _mac(left, 0)
    if not slash:
        return value, (1 << 48) - 1
    mask = _mac(right, len(left) + 1)
    return value & mask, mask


def _mac(text: str, offset: int) -> int:
    if not _MAC.fullmatch(text):
        raise ValueProblem(
            f"{text!r} is not an Ethernet address",
            "write six hexadecimal bytes, as in 00:11:22:aa:bb:cc",
            offset=offset,
            length=len(text),
        )
    return int.from_bytes(bytes(int(part, 16) for part in text.split(":")), "big")


def parse_ipv4(text: str) -> tuple[int, int]:
    """`10.0.0.1`, `10.0.0.0/8` or `10.0.0.0/255.0.0.0` (any bit mask)."""
    return _ip(text, IPv4Address, "IPv4", 32, "10.0.0.1, 10.0.0.0/8 or 10.0.0.0/255.0.0.0")


def parse_ipv6(text: str) -> tuple[int, int]:
    """`2001:db8::1`, `2001:db8::/32` or a mask written as an address."""
    return _ip(text, IPv6Address, "IPv6", 128, "2001:db8::1 or 2001:db8::/32")


def _ip(
    text: str, kind: type[IPv4Address] | type[IPv6Address], name: str, bits: int, examples: str
) -> tuple[int, int]:
    left, slash, right = text.partition("/")
    try:
        value = int(kind(left))
    except AddressValueError:
        raise ValueProblem(
            f"{left!r} is not an {name} address", f"write {examples}", length=len(left)
        ) from None
    if not slash:
        return value, (1 << bits) - 1
    mask = _ip_mask(right, len(left) + 1, kind, name, bits)
    return value & mask, mask


def _ip_mask(
    text: str, offset: int, kind: type[IPv4Address] | type[IPv6Address], name: str, bits: int
) -> int:
    if text.isdecimal():
        if int(text) > bits:
            raise ValueProblem(
                f"prefix length {text} is out of range: it must be from 0 to {bits}",
                offset=offset,
                length=len(text),
            )
        return ((1 << bits) - 1) ^ ((1 << (bits - int(text))) - 1)
    try:
        return int(kind(text))
    except AddressValueError:
        raise ValueProblem(
            f"{text!r} is neither a prefix length from 0 to {bits} nor an {name} mask",
            offset=offset,
            length=len(text),
        ) from None


def parse_frag(text: str) -> tuple[int, int]:
    """One of the words of `nw_frag`."""
    found = FRAG_NAMES.get(text.lower())
    if found is None:
        raise ValueProblem(
            f"unknown fragment type {text!r}", nearest(text, FRAG_NAMES), length=len(text)
        )
    return found


def parse_flags(text: str, names: Mapping[str, int], *, what: str) -> tuple[int, int]:
    """`+set-unset`, `value/mask`, or an exact match: a number or `name|name`."""
    allowed = sum(names.values())
    if text[:1] in ("+", "-"):
        return _signed_flags(text, names, what)
    if text[:1].isdigit():
        value, mask = parse_masked(text, allowed.bit_length(), what=what)
        return value, mask
    value = 0
    offset = 0
    for word in text.split("|"):
        value |= _flag(word, names, what, offset, f"{nearest(word, names)} (with + or -)")
        offset += len(word) + 1
    return value, allowed


def _signed_flags(text: str, names: Mapping[str, int], what: str) -> tuple[int, int]:
    value = mask = 0
    for found in re.finditer(r"([+-])([^+-]*)", text):
        word = found[2]
        bit = _flag(word, names, what, found.start(2), nearest(word, names))
        if mask & bit:
            raise ValueProblem(
                f"{what} flag {word!r} is given twice", offset=found.start(), length=len(found[0])
            )
        mask |= bit
        if found[1] == "+":
            value |= bit
    return value, mask


def _flag(word: str, names: Mapping[str, int], what: str, offset: int, hint: str) -> int:
    bit = names.get(word)
    if bit is None:
        raise ValueProblem(
            f"unknown {what} flag {word!r}", hint, offset=offset, length=max(1, len(word))
        )
    return bit
