# SPDX-License-Identifier: Apache-2.0
"""Starts switches, and ends those that a test leaves; makes a link."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .switch import Start, Switch

LINK = f"ssc{os.getpid() % 10000:04d}"


@pytest.fixture
def start() -> Iterator[Start]:
    switches: list[Switch] = []

    def run(*arguments: str, **more: Any) -> Switch:
        switches.append(Switch(*arguments, **more))
        return switches[-1]

    yield run
    for switch in switches:
        if switch.process.poll() is None:
            switch.process.kill()
        switch.process.communicate()


@pytest.fixture
def link() -> Iterator[tuple[str, str]]:
    """A veth pair."""
    if os.geteuid() != 0:
        pytest.fail("needs root to make interfaces; run it as: tools/private.py -- pytest …")
    near, far = f"{LINK}n", f"{LINK}f"
    add = ["ip", "link", "add", near, "type", "veth", "peer", "name", far]
    subprocess.run(add, check=True, capture_output=True)
    for name in (near, far):
        Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1")
        subprocess.run(["ip", "link", "set", name, "up"], check=True)
    yield near, far
    subprocess.run(["ip", "link", "del", near], check=False, capture_output=True)
