# SPDX-License-Identifier: Apache-2.0
"""A second run in the same checkout does not take the first one's files away."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from topo import plan
from topo.main_job import clear_old_files


def test_a_run_that_goes_on_keeps_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, file in (("LOGS", "logs"), ("REPORT", "report.json"), ("SOCKET", "p4ct.sock")):
        monkeypatch.setattr(plan, name, tmp_path / file)
    plan.REPORT.write_text("{}")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(plan.SOCKET))
        listener.listen()
        with pytest.raises(SystemExit, match="another run of this checkout goes on"):
            clear_old_files()
        assert plan.REPORT.exists()
    assert plan.SOCKET.exists()  # of one that was killed
    clear_old_files()
    assert not plan.SOCKET.exists()
    assert not plan.REPORT.exists()
