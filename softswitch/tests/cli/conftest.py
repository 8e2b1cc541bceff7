# SPDX-License-Identifier: Apache-2.0
"""Starts switches, and ends those that a test leaves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from .switch import Start, Switch


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
