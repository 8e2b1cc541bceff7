# SPDX-License-Identifier: Apache-2.0
"""`nat(…)` of the ct action: text to NatRange and back (ovs-actions(7), `nat`)."""

from __future__ import annotations

from ipaddress import AddressValueError, IPv4Address, IPv6Address

from p4ct.conntrack.nat import NatRange
from p4ct.packet.text import format_ip
from p4ct.pipeline.errors import ValueProblem, nearest
from p4ct.pipeline.lexer import tokens, within
from p4ct.pipeline.values import parse_uint

__all__ = ["NAT_ARGUMENTS", "format_nat", "parse_nat"]

NAT_ARGUMENTS = ("src", "dst", "random", "hash", "persistent")
_FLAGS = frozenset({"random", "hash", "persistent"})
_EXAMPLES = "write ADDRESS, FIRST-LAST or FIRST-LAST:PORT-PORT; IPv6 with ports: [ADDRESS]:PORT"


def parse_nat(text: str) -> NatRange | None:
    """What stands in the parentheses; None if it is empty. Raises ValueProblem."""
    side = ""
    low = high = b""
    ports: tuple[int, int] | None = None
    flags: set[str] = set()
    for part in tokens(text):
        name, length = part.name, len(part.text)
        if name in ("src", "dst"):
            if side:
                raise ValueProblem(
                    "nat takes one of src and dst only",
                    "for both, pass two zones: ct(…,zone=1,nat(dst=…)) and ct(…,zone=2,nat(src=…))",
                    offset=part.start,
                    length=length,
                )
            side = name
            try:
                low, high, ports = _range(part.value or "")
            except ValueProblem as problem:
                raise within(part, problem) from None
        elif name not in _FLAGS:
            raise ValueProblem(
                f"unknown nat argument {name!r}",
                nearest(name, NAT_ARGUMENTS),
                offset=part.start,
                length=length,
            )
        elif part.value is not None or name in flags:
            what = "is given twice" if name in flags else "takes no value"
            raise ValueProblem(f"{name} {what}", f"write {name}", offset=part.start, length=length)
        else:
            flags.add(name)
            if {"random", "hash"} <= flags:
                raise ValueProblem(
                    "random and hash exclude each other",
                    "leave one of them out",
                    offset=part.start,
                    length=length,
                )
    if not side:
        if flags:
            word = min(flags)
            raise ValueProblem(
                f"{word} needs src or dst", "write nat(src=…) or nat(dst=…)", length=len(text)
            )
        return None
    return NatRange(
        side == "src",
        low,
        high,
        ports,
        random="random" in flags,
        hash="hash" in flags,
        persistent="persistent" in flags,
    )


def _range(text: str) -> tuple[bytes, bytes, tuple[int, int] | None]:
    if not text:
        raise ValueProblem("an address is missing", _EXAMPLES)
    addresses, ports = _split_ports(text)
    first, dash, last = addresses.partition("-")
    low = _address(first, 0)
    high = _address(last, len(first) + 1) if dash else low
    if len(low) != len(high):
        raise ValueProblem("the addresses are of different IP versions", _EXAMPLES)
    if low > high:
        raise ValueProblem(
            f"the last address {last} is below the first", "swap them", length=len(addresses)
        )
    if dash and not any(low):
        raise ValueProblem("the all-zero address is no beginning of a range", _EXAMPLES)
    if ports is None:
        return low, high, None
    return low, high, _ports(ports, len(text) - len(ports))


def _split_ports(text: str) -> tuple[str, str | None]:
    """Addresses, and what follows the colon that ends them (None if there is no colon)."""
    if "[" in text:
        end = text.rfind("]") + 1
        if end < len(text) and text[end] != ":":
            raise ValueProblem("expected ':' after ']'", _EXAMPLES, offset=end, length=1)
        return text[:end], text[end + 1 :] if end < len(text) else None
    if text.count(":") > 1:
        return text, None  # IPv6 without ports
    addresses, colon, ports = text.partition(":")
    return addresses, ports if colon else None


def _address(text: str, offset: int) -> bytes:
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        return (IPv6Address(bare) if ":" in bare else IPv4Address(bare)).packed
    except AddressValueError:
        raise ValueProblem(
            f"{text!r} is not an IP address", _EXAMPLES, offset=offset, length=len(text)
        ) from None


def _ports(text: str, offset: int) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    try:
        low = parse_uint(first, 1, 0xFFFF, what="port")
        offset += len(first) + 1 if dash else 0
        high = parse_uint(last, low, 0xFFFF, what="the last port") if dash else low
    except ValueProblem as problem:
        problem.offset += offset
        raise
    return low, high


def format_nat(nat: NatRange | None) -> str:
    """The argument as ovs-ofctl prints it."""
    if nat is None:
        return "nat"
    low, high = format_ip(nat.low), format_ip(nat.high)
    if nat.ports is not None and len(nat.low) == 16:
        low, high = f"[{low}]", f"[{high}]"
    text = low if low == high else f"{low}-{high}"
    if nat.ports is not None:
        first, last = nat.ports
        text += f":{first}" if first == last else f":{first}-{last}"
    flags = [name for name in ("persistent", "hash", "random") if getattr(nat, name)]
    side = "src" if nat.source else "dst"
    return f"nat({','.join([f'{side}={text}', *flags])})"
