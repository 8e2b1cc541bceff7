# SPDX-License-Identifier: Apache-2.0
"""MAC and IP addresses as text and back. Parsing raises ValueError that names the bad text."""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address

_MAC = re.compile(r"[0-9A-Fa-f]{1,2}(:[0-9A-Fa-f]{1,2}){5}")


def format_mac(mac: bytes) -> str:
    """6 bytes as aa:bb:cc:dd:ee:ff."""
    return mac.hex(":")


def parse_mac(text: str) -> bytes:
    """aa:bb:cc:dd:ee:ff (one or two hex digits a group) to 6 bytes."""
    if not _MAC.fullmatch(text):
        raise ValueError(
            f"not a MAC address: {text!r} (expected six hex groups, aa:bb:cc:dd:ee:ff)"
        )
    return bytes(int(group, 16) for group in text.split(":"))


def format_ip(address: bytes) -> str:
    """4 bytes as dotted quad, 16 as RFC 5952 text; other lengths raise ValueError."""
    if len(address) == 4:
        return "{}.{}.{}.{}".format(*address)
    if len(address) == 16:
        return str(IPv6Address(address))
    raise ValueError(f"an IP address has 4 or 16 bytes, not {len(address)}")


def parse_ip(text: str) -> bytes:
    """IPv4 or IPv6 text to 4 or 16 bytes; zone indices (fe80::1%eth0) are refused."""
    if "%" in text:
        raise ValueError(f"not a plain IP address: {text!r} (remove the %interface part)")
    try:
        return ip_address(text).packed
    except ValueError:
        raise ValueError(f"not an IPv4 or IPv6 address: {text!r}") from None
