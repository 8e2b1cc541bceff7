# SPDX-License-Identifier: Apache-2.0
"""Chooses the target (environment variable P4CT_TEST_TARGET) and refuses to run on a real network.

Run by hand:  python tools/private.py -- .venv/bin/python -m pytest topo/tests/invariants
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# The tests are run from a checkout; topo is not an installed package.
sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from topo.tests.invariants.processes import EXECUTABLES, NotThere, find
from topo.tests.invariants.rig import Rig

#: What a new network namespace has.
HARMLESS = ("lo",)


@pytest.fixture(scope="session")
def target() -> str:
    """The target under test, softswitch or bmv2."""
    name = os.environ.get("P4CT_TEST_TARGET", "softswitch")
    if name not in EXECUTABLES:
        pytest.fail(f"P4CT_TEST_TARGET={name}: it is one of {', '.join(EXECUTABLES)}")
    others = sorted(set(os.listdir("/sys/class/net")) - set(HARMLESS))
    if os.geteuid() != 0 or others:
        why = "not root" if os.geteuid() != 0 else f"there are interfaces: {', '.join(others)}"
        pytest.fail(
            f"these tests need a network namespace of their own ({why}); run: "
            "python tools/private.py -- .venv/bin/python -m pytest topo/tests/invariants"
        )
    try:
        find(EXECUTABLES[name])
    except NotThere as error:
        pytest.fail(str(error))
    return name


@pytest.fixture(scope="module")
def new_rig(target: str) -> Iterator[Callable[..., Rig]]:
    """Makes rigs: `new_rig(policy, **options)`; they end with the module."""
    rigs: list[Rig] = []

    def make(policy: str, **options: Any) -> Rig:
        rig = Rig(target, policy, **options)
        rigs.append(rig)
        return rig

    yield make
    while rigs:
        rigs.pop().close()
