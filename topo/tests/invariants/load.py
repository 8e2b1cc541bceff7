# SPDX-License-Identifier: Apache-2.0
"""Packets that go on coming while a test does something else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Load:
    """Calls `send` about `rate` times a second from a thread of its own, inside a with block."""

    def __init__(self, send: Callable[[], None], rate: float = 500.0) -> None:
        self._send = send
        self._gap = 1 / rate
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._error: Exception | None = None

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            while not self._end.is_set():
                self._send()
                time.sleep(self._gap)
        except Exception as error:
            self._error = error
