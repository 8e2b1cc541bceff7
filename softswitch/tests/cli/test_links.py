# SPDX-License-Identifier: Apache-2.0
"""A link that goes down and comes back, and the members of a selector that depend on it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from softswitch.api import Entry, WeightedAction
from softswitch.dataplane import Dataplane
from softswitch.links import LinkMonitor
from softswitch.program import Program

SELECTOR = Path(__file__).parents[1] / "v1model" / "programs" / "selector.json"
FLOWS = 64


def test_selector_leaves_out_a_port_whose_link_is_down(
    tmp_path: Path, link: tuple[str, str]
) -> None:
    near, far = link
    tmp_path.chmod(0o700)
    plane = Dataplane(cache_dir=tmp_path)
    plane.add_port(1, near)
    plane.add_memory_port(2)
    plane.load(Program.load(SELECTOR.read_bytes(), cache_dir=tmp_path))
    actions = tuple(WeightedAction("In.send", (port, 0), watch_port=port) for port in (1, 2))
    plane.insert("In.choose", Entry(((1, 255),), one_shot=actions))
    monitor = LinkMonitor(plane)

    def left_on_the_other_port() -> int:
        monitor.check()
        for flow in range(FLOWS):
            plane.inject(2, bytes([1, flow, 0, 0]))
        count = 0
        while plane.read_memory_port(2, 0) is not None:
            count += 1
        return count

    try:
        assert 0 < left_on_the_other_port() < FLOWS
        subprocess.run(["ip", "link", "set", far, "down"], check=True)
        assert left_on_the_other_port() == FLOWS
        subprocess.run(["ip", "link", "set", far, "up"], check=True)
        assert 0 < left_on_the_other_port() < FLOWS
        subprocess.run(["ip", "link", "del", near], check=True)
        monitor.check()
    finally:
        plane.stop()
