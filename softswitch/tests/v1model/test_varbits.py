# SPDX-License-Identifier: Apache-2.0
"""Where varbit fields follow P4_16 and BMv2 does not."""

from __future__ import annotations

from .conftest import Runner, through


def test_fields_of_different_lengths_are_different(run: Runner) -> None:
    """One byte 0 and no byte at all: BMv2 compares them as numbers and finds them the same."""
    plane = run("varbits")
    head = bytes.fromhex("42053e469434")
    for first, same in ((b"\x08\x00", 0), (b"\x10\x00\x07", 0), (b"\x08\x07", 1)):
        second = b"\x08\x07" if first[0] != 8 or same else b""
        ((_, out),) = through(plane, head + first + second + b"\x00")
        assert out[1] & 0xF == same
