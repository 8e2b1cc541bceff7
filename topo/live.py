# SPDX-License-Identifier: Apache-2.0
"""What is on the screen during a run: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from topo.report import Expectation

#: Seconds between two looks at the controller; each starts a process, so not more often.
POLL_INTERVAL = 2.0


class Screen:
    """Verdicts and the controller's counters; use it as a context manager."""

    def __init__(self, title: str, status: Callable[[], dict[str, Any]]) -> None:
        self.console = Console(highlight=False)
        self.plain = not self.console.is_terminal
        self.title = title
        self.step = ""
        self.verdicts: list[Expectation] = []
        self.counters: dict[str, Any] = {}
        self._status = status
        self._ended = threading.Event()
        self._poller = threading.Thread(target=self._poll, daemon=True)
        self._live = Live(
            get_renderable=self._render,
            console=self.console,
            refresh_per_second=4,
            vertical_overflow="visible",
        )

    def __enter__(self) -> Self:
        if self.plain:
            print(self.title, flush=True)
        else:
            self._live.start()
            self._poller.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self.step, self.counters = "", {}  # the last frame stays on the screen
        if not self.plain:
            self._live.stop()

    def begin(self, step: str) -> None:
        """Say what is going on now."""
        self.step = step

    def verdict(self, expectation: Expectation) -> None:
        """Show a verdict."""
        self.verdicts.append(expectation)
        if self.plain:
            mark = "ok  " if expectation.ok else "FAIL"
            print(f"{mark} {expectation.name}: {expectation.detail}", flush=True)

    def _poll(self) -> None:
        while not self._ended.wait(POLL_INTERVAL):
            try:
                self.counters = self._status()
            except Exception:  # the controller is stopped on purpose at times
                self.counters = {}

    def _render(self) -> RenderableType:
        steps = Table.grid(padding=(0, 1))
        steps.add_column()
        steps.add_column(min_width=30)
        steps.add_column(overflow="fold")
        for e in self.verdicts:
            mark = Text("ok", "green") if e.ok else Text("FAIL", "bold red")
            steps.add_row(mark, e.name, Text(e.detail, "dim" if e.ok else "red"))
        parts: list[RenderableType] = [Text(self.title, "bold"), steps]
        if self.step:
            parts.append(Spinner("dots", text=self.step))
        parts.append(self._counter_line())
        return Group(*parts)

    def _counter_line(self) -> Text:
        if not self.counters:
            return Text("controller: no answer", "dim") if self.step else Text("")
        packets, connections = self.counters["packets"], self.counters["connections"]
        fast, punted = packets["fast_path"], packets["punted"]
        share = fast / (fast + punted) if fast + punted else 0.0
        return Text(
            f"connections {connections['active']:,} active, {connections['offloaded']:,} offloaded"
            f" | packets {fast:,} by entries, {punted:,} punted ({share:.3%} fast path)"
            f" | entries {self.counters['entries']:,}",
            "cyan",
        )


def print_lines(lines: list[str]) -> None:
    """The closing report on standard output."""
    print()
    for line in lines:
        print(line)
    sys.stdout.flush()
