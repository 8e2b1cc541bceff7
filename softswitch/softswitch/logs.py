# SPDX-License-Identifier: Apache-2.0
"""Logging in BMv2's line format: `[HH:MM:SS.mmm] [bmv2] [E] [thread N] message`."""

from __future__ import annotations

import logging
import sys
import time

TRACE = 5
_LEVELS = {
    "trace": TRACE,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "off": logging.CRITICAL + 1,
}
LETTERS = {
    "T": TRACE,
    "D": logging.DEBUG,
    "I": logging.INFO,
    "W": logging.WARNING,
    "E": logging.ERROR,
}
_LETTERS = {level: letter for letter, level in LETTERS.items()}


class _Formatter(logging.Formatter):
    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        return f"{clock}.{int(record.msecs):03d}"

    def format(self, record: logging.LogRecord) -> str:
        record.letter = _LETTERS.get(record.levelno, "E")
        return super().format(record)


def configure(*, console: bool, file: str | None, level: str) -> None:
    """Log to the standard output, to `file`.txt, to both, or (errors only) to the standard error.

    OSError: the file cannot be written.
    """
    root = logging.getLogger("softswitch")
    handlers: list[logging.Handler] = []
    if file is not None:
        handlers.append(logging.FileHandler(f"{file}.txt", mode="w", encoding="utf-8"))
    if console:
        handlers.append(logging.StreamHandler(sys.stdout))
    else:
        errors = logging.StreamHandler(sys.stderr)
        errors.setLevel(logging.ERROR)
        handlers.append(errors)
    formatter = _Formatter("[%(asctime)s] [bmv2] [%(letter)s] [thread %(thread)d] %(message)s")
    for handler in handlers:
        handler.setFormatter(formatter)
        root.addHandler(handler)
    root.setLevel(_LEVELS[level])
    root.propagate = False
