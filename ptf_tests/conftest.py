# SPDX-License-Identifier: Apache-2.0
"""pytest's side: `--target`, one class per target, and the end of everything that was started."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# Plain ptf puts the directory of the cases on the path; so does this.
sys.path.insert(0, str(Path(__file__).resolve().parent))

from _pytest.unittest import UnitTestCase
from ptf_base import switch as switches
from ptf_base import target as targets
from ptf_base.bench import Bench
from ptf_base.eswitch import EswitchTest

_benches: list[Bench] = []
_not_run: list[str] = []
_reports: list[str] = []
_uncovered: list[str] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("eswitch PTF suite")
    group.addoption(
        "--target",
        default="softswitch",
        choices=[*targets.EXECUTABLES, "all"],
        help="the target to test; all: softswitch, and bmv2 if it is on the PATH",
    )
    group.addoption(
        "--target-args", default="", help="more arguments for the target, before its --"
    )
    group.addoption(
        "--program",
        type=Path,
        default=switches.COMPILED,
        help="directory with the compiled eswitch.json and eswitch.p4info.txtpb",
    )


def pytest_configure(config: pytest.Config) -> None:
    # As ptf_base does; pytest resets the filters for each case.
    config.addinivalue_line("filterwarnings", r"ignore::DeprecationWarning:ptf.dataplane")
    wanted = config.getoption("--target", "softswitch")
    if wanted != "all" and targets.find(wanted) is None:
        raise pytest.UsageError(targets.not_found(wanted))
    chosen = list(targets.EXECUTABLES) if wanted == "all" else [wanted]
    _not_run[:] = [targets.not_found(t) for t in chosen if targets.find(t) is None]
    config.stash[_TARGETS] = [t for t in chosen if targets.find(t) is not None]
    program: Path = config.getoption("--program", switches.COMPILED)
    extra_args = shlex.split(config.getoption("--target-args", ""))
    for name in config.stash[_TARGETS]:
        switches.register(name, lambda name=name: _open(name, program, extra_args))


def pytest_pycollect_makeitem(collector: Any, name: str, obj: object) -> Any:
    """Each case once for each target."""
    if not (isinstance(obj, type) and issubclass(obj, EswitchTest) and hasattr(obj, "runTest")):
        return None
    items: list[UnitTestCase] = []
    for target in collector.config.stash[_TARGETS]:
        item = UnitTestCase.from_parent(collector, name=f"{name}[{target}]")
        item.obj = type(name, (obj,), {"target": target, "__module__": obj.__module__})
        items.append(item)
    return items


@pytest.fixture(scope="session", autouse=True)
def _close_targets() -> Iterator[None]:
    try:
        yield
    finally:
        for name, switch in switches.opened().items():
            names, ledger = switch.wire.names, switch.ledger
            _reports.append(f"coverage on {name}:\n{ledger.report(names)}")
            _uncovered.extend(f"{name}: {what} {member}" for what, member in ledger.missing(names))
        switches.close_all()
        while _benches:
            _benches.pop().close()


def pytest_collection_finish(session: pytest.Session) -> None:
    """A whole run is one of every case of every file here; only that can miss coverage."""
    here = Path(__file__).resolve().parent
    collected = {item.path for item in session.items}
    option = session.config.option
    narrowed = option.keyword or option.markexpr or option.deselect or getattr(option, "lf", False)
    session.config.stash[_WHOLE] = (
        not narrowed
        and not any("::" in str(arg) for arg in session.config.args)
        and set(here.glob("test_*.py")) <= collected
    )


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if not session.config.stash.get(_WHOLE, False):
        _uncovered.clear()
    elif _uncovered and exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if _reports or _not_run:
        terminalreporter.section("eswitch PTF suite")
    lines = [f"not run: {reason}" for reason in _not_run]
    lines += [f"NOT COVERED, which fails the run: {point}" for point in _uncovered]
    for text in [*_reports, *lines]:
        terminalreporter.write_line(text)


def _open(name: str, program: Path, extra_args: list[str]) -> switches.Switch:
    bench = Bench(
        name,
        program / f"{switches.PROGRAM}.p4info.txtpb",
        program / f"{switches.PROGRAM}.json",
        extra_args=extra_args,
    )
    _benches.append(bench)
    return bench.switch


_TARGETS = pytest.StashKey[list[str]]()
_WHOLE = pytest.StashKey[bool]()
