# SPDX-License-Identifier: Apache-2.0
"""The file of `p4ct conntrack export` and `import` (its format: p4ct.daemon.transfer)."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import msgspec

from p4ct.cli.client import BadInput
from p4ct.cli.common import ask

__all__ = ["import_table", "write_table"]

CHUNK = 1000
"""Connections in one request, so that packets do not wait for them."""
STDOUT = Path("-")


def write_table(connections: list[dict[str, Any]], file: Path) -> None:
    """Write the file whole or not at all. Raises click.ClickException."""
    from p4ct.daemon.transfer import FORMAT, VERSION

    table = {
        "format": FORMAT,
        "version": VERSION,
        "exported": round(time.time(), 3),
        "connections": connections,
    }
    text = msgspec.json.format(msgspec.json.encode(table), indent=1) + b"\n"
    if file == STDOUT:
        click.echo(text, nl=False)
        return
    try:
        with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as new:
            try:
                new.write(text)
                new.flush()
                os.replace(new.name, file)
            except OSError:
                os.unlink(new.name)
                raise
    except OSError as error:
        raise click.ClickException(f"{file}: cannot be written: {error.strerror}") from None
    click.echo(f"connections exported: {len(connections)}", err=True)


def import_table(socket: Path, file: Path) -> dict[str, int]:
    """Check the file, then have the controller take it in. Raises click.ClickException."""
    from p4ct.daemon.transfer import TransferError, check, read

    try:
        connections = read(file.read_bytes()).connections
        check(connections)
    except OSError as error:
        raise BadInput(f"{file}: cannot be read: {error.strerror}") from None
    except TransferError as error:
        lines = str(error).splitlines()
        raise BadInput("\n".join(f"{file}: {line}" for line in lines)) from None
    total = {"imported": 0, "known": 0}
    # The first request, an empty one, asks for room for all of them.
    ask(socket, "conntrack-import", {"total": len(connections)})
    for start in range(0, len(connections), CHUNK):
        part = connections[start : start + CHUNK]
        try:
            answer = ask(socket, "conntrack-import", {"total": len(part), "connections": part})
        except click.ClickException as error:
            done = sum(total.values())
            left = f"{done} of {len(connections)} connections had been dealt with"
            raise click.ClickException(f"{error.message} ({left})") from None
        for name in total:
            total[name] += answer[name]
    return total
