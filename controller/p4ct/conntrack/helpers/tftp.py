# SPDX-License-Identifier: Apache-2.0
"""TFTP: a request is answered from another port of the server (RFC 1350 section 4)."""

from __future__ import annotations

__all__ = ["is_request"]

_READ, _WRITE = b"\0\x01", b"\0\x02"


def is_request(payload: bytes) -> bool:
    """A read or write request (`nf_conntrack_tftp.c`)."""
    return payload[:2] in (_READ, _WRITE)
