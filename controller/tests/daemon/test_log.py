# SPDX-License-Identifier: Apache-2.0
"""Log lines: they say which switch, connection and entry, as text and as JSON."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from p4ct.daemon import log as logs
from p4ct.daemon.check import load

from ..offload.model import Tcp, World, learn
from .bench import controller_of, write_config


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)


def written(folder: Path, more: str = "") -> tuple[Path, Path]:
    config = write_config(folder, more=f'[log]\nfile = "logs/p4ct.log"\n{more}')
    logs.set_up(load(config))
    return config, folder / "logs/p4ct.log"


def test_text(tmp_path: Path) -> None:
    _, file = written(tmp_path)
    log = logging.getLogger("p4ct")
    log.info("hello %d", 5)
    log.warning("about one", extra={"connection": "#7 src=a dst=b", "entry": "3/1"})
    log.debug("not at this level")
    first, second = file.read_text().splitlines()
    time = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
    assert re.fullmatch(rf"{time} INFO    p4ct hello 5 switch=127\.0\.0\.1:9", first)
    assert second.endswith(
        ' WARNING p4ct about one switch=127.0.0.1:9 connection="#7 src=a dst=b" entry=3/1'
    )


def test_json_lines(tmp_path: Path) -> None:
    _, file = written(tmp_path, 'format = "json"\nlevel = "debug"\n')
    try:
        raise ValueError("what\nhappened")
    except ValueError:
        logging.getLogger("p4ct.admin").exception("two\nlines", extra={"entry": "3/1"})
    (line,) = [json.loads(text) for text in file.read_text().splitlines()]
    assert line["message"] == "two\nlines"
    assert line["level"] == "error"
    assert line["logger"] == "p4ct.admin"
    assert line["switch"] == "127.0.0.1:9"
    assert line["entry"] == "3/1"
    assert "ValueError: what" in line["exception"]
    assert set(line) == {"time", "level", "logger", "message", "switch", "entry", "exception"}


def test_what_a_target_says_begins_no_line_of_its_own(tmp_path: Path) -> None:
    _, file = written(tmp_path)
    logging.getLogger("p4ct").warning("the target said %s", "x\n2026-01-01 INFO p4ct forged")
    assert len(file.read_text().splitlines()) == 1


def test_an_event_of_a_record_names_connection_and_entry(tmp_path: Path) -> None:
    config, file = written(tmp_path)

    async def make() -> None:
        world = World()
        world.manager.on_event = controller_of(config)._offload_event
        learn(world)
        Tcp(world).offload()

    asyncio.run(make())
    (line,) = [text for text in file.read_text().splitlines() if " offload " in text]
    assert 'connection="#1 zone=1 proto=6 src=10.0.0.1 dst=10.0.0.3 sport=40000 dport=80"' in line
    assert re.search(r" entry=\d+/\d+$", line)
    assert "switch=127.0.0.1:9" in line


def test_logging_goes_on_after_the_file_was_moved(tmp_path: Path) -> None:
    _, file = written(tmp_path)
    logging.getLogger("p4ct").info("one")
    file.rename(tmp_path / "old.log")
    logging.getLogger("p4ct").info("two")
    assert "two" in file.read_text()
    assert "one" in (tmp_path / "old.log").read_text()
