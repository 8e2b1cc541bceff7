# SPDX-License-Identifier: Apache-2.0
"""Logs: one line for each event, which says switch, connection and entry where they are known.

Code logs with `extra={"connection": …, "entry": …}`; `switch` is filled in here.
"""

from __future__ import annotations

import logging
import logging.handlers
import time
from typing import Any

import msgspec

from p4ct.daemon.config import Config

__all__ = ["FIELDS", "set_up"]

FIELDS = ("switch", "connection", "entry")
"""What a line may be about: the target's address, `#ID tuple`, `INDEX/GENERATION`."""


def set_up(config: Config) -> None:
    """Send everything to the configured place. Raises OSError if the file cannot be written."""
    if config.log_file is not None:
        config.log_file.parent.mkdir(parents=True, exist_ok=True)
        # Goes on in a new file after logrotate has moved the old one.
        handler: logging.Handler = logging.handlers.WatchedFileHandler(
            config.log_file, encoding="utf-8"
        )
    else:
        handler = logging.StreamHandler()
    handler.setFormatter(_Json() if config.log.format == "json" else _Text())
    handler.addFilter(_OfSwitch(config.target.address))
    logging.basicConfig(level=config.log.level.upper(), handlers=[handler], force=True)
    # gRPC and asyncio tell stories of their own at lower levels.
    for name in ("grpc", "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)


class _OfSwitch(logging.Filter):
    def __init__(self, switch: str) -> None:
        super().__init__()
        self.switch = switch

    def filter(self, record: logging.LogRecord) -> bool:
        if not hasattr(record, "switch"):
            record.switch = self.switch
        return True


def _fields(record: logging.LogRecord) -> dict[str, str]:
    return {name: str(getattr(record, name)) for name in FIELDS if hasattr(record, name)}


def _time(record: logging.LogRecord) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{whole}.{int(record.msecs):03d}Z"


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        # What a target says is part of messages: it must not begin lines of its own.
        message = record.getMessage().replace("\n", "\\n")
        parts = [_time(record), f"{record.levelname:<7}", record.name, message]
        for name, value in _fields(record).items():
            parts.append(f'{name}="{value}"' if " " in value else f"{name}={value}")
        text = " ".join(parts)
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()
