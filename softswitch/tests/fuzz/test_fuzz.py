# SPDX-License-Identifier: Apache-2.0
"""A small share of `make fuzz`, with another seed each time; and that it finds a defect."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from softswitch import compiler

from .__main__ import fuzz_requests
from .packets import Found, run


def test_packets(tmp_path: Path) -> None:
    last = run("l2", secrets.randbelow(2**31), 100_000, tmp_path, quiet=True)
    assert last.startswith("100000 packets")


def test_requests() -> None:
    assert "700 requests" in fuzz_requests(700, secrets.randbelow(2**31), ("l2",))


def test_a_defect_is_found_and_its_input_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runtime reads one byte beyond each frame of 64 bytes or more."""
    sources = dict(compiler.runtime_sources())
    wanted = "    if (sw->state)\n        sw->state->program->process("
    assert wanted in sources["switch.c"]
    broken = "    if (len >= 64 && frame[len] == 77)\n        sw->no_such_port++;\n" + wanted
    sources["switch.c"] = sources["switch.c"].replace(wanted, broken)
    monkeypatch.setattr(compiler, "runtime_sources", lambda: sources)
    with pytest.raises(Found, match=r"heap-buffer-overflow(?s:.*)seed 3, packet \d+, port \d+"):
        run("l2", 3, 1000, tmp_path, quiet=True)
