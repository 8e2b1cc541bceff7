# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C and other requests to end: set up before anything slow is imported, so stdlib only."""

from __future__ import annotations

import signal
from typing import NoReturn

REQUESTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ended(BaseException):
    """A signal asks us to end; not an Exception, so that no step swallows it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.code = 128 + number


def handle_signals() -> None:
    """Requests to end unwind the stack with Ended; from the first one on, more are ignored."""

    def end(number: int, _frame: object) -> NoReturn:
        ignore_signals()
        raise Ended(number)

    for number in REQUESTS:
        signal.signal(number, end)


def ignore_signals() -> None:
    """Cleaning up is not interrupted; it is short, and the namespace ends anyway."""
    for number in REQUESTS:
        signal.signal(number, signal.SIG_IGN)
