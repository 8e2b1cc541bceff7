# SPDX-License-Identifier: Apache-2.0
"""Services: what is said when they do not start, and that stopping them always ends."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from topo import plan, processes
from topo.processes import ProcessFailed, Service


@pytest.fixture(autouse=True)
def logs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(plan, "LOGS", tmp_path / "logs")
    return tmp_path / "logs"


def python(name: str, code: str) -> Service:
    return Service(name, [sys.executable, "-u", "-c", code])


def test_a_service_that_dies_is_explained() -> None:
    service = python("switch", "print('no such interface: veth9'); raise SystemExit(3)")
    service.start()
    with pytest.raises(ProcessFailed) as found:
        service.wait_ready(lambda: False, timeout=10.0)
    text = str(found.value)
    assert "switch: ended while starting (exit code 3)" in text
    assert f"command: {sys.executable}" in text
    assert "    no such interface: veth9" in text


def test_a_service_that_is_never_ready_is_explained() -> None:
    service = python("switch", "import time; time.sleep(60)")
    service.start()
    try:
        with pytest.raises(ProcessFailed, match="not ready after 0 s \\(still runs\\)"):
            service.wait_ready(lambda: False, timeout=0.2)
    finally:
        service.stop()
    assert not service.running()


def test_a_command_that_is_not_there_is_named() -> None:
    with pytest.raises(ProcessFailed, match="cannot start switch: /nonexistent/switch: No such"):
        Service("switch", ["/nonexistent/switch"]).start()


def test_a_service_that_ignores_sigterm_is_killed() -> None:
    code = "import signal; signal.signal(15, signal.SIG_IGN); print('up'); signal.pause()"
    service = python("stubborn", code)
    service.start()
    service.wait_ready(lambda: "up\n" in service.log.read_text(encoding="utf-8"), timeout=10.0)
    assert service.stop(timeout=0.2) == -signal.SIGKILL


def test_stopping_what_never_started_is_harmless() -> None:
    assert Service("x", ["x"]).stop() is None


def test_bmv2_that_is_not_there_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProcessFailed, match="TARGET=softswitch"):
        processes.target_command("bmv2")


def test_both_targets_take_the_same_options(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "simple_switch_grpc"
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    bmv2, softswitch = (processes.target_command(name) for name in ("bmv2", "softswitch"))
    assert bmv2[0] == str(program)
    assert bmv2[1:] == softswitch[1:]
    assert "1@eswitch-eth1" in bmv2


def test_our_own_environment_without_the_package_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(plan, "ROOT", tmp_path)
    with pytest.raises(ProcessFailed, match="make setup"):
        processes.own_command("p4ct")


def test_other_processes_are_seen_and_ancestors_are_not() -> None:
    service = python("other", "import time; time.sleep(60)")
    service.start()
    try:
        assert service.process is not None
        found = [line.split()[0] for line in processes.others()]
        assert str(service.process.pid) in found
        assert "1" not in found
    finally:
        service.stop()
    assert str(service.process.pid) not in [line.split()[0] for line in processes.others()]
