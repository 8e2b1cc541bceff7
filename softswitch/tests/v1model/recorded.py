# SPDX-License-Identifier: Apache-2.0
"""What BMv2 made of some packets, kept in a file, so that every machine can compare with it.

`RECORD_BMV2=1 pytest …/test_differential.py` writes the files anew, with BMv2 on the PATH.
One line for each packet: `port frame -> port frame, port frame`, frames in hex.
"""

from __future__ import annotations

from pathlib import Path

Sent = list[tuple[int, bytes]]
Record = tuple[int, bytes, Sent]


def read(path: Path) -> list[Record]:
    records: list[Record] = []
    for line in path.read_text("utf-8").splitlines():
        if line.startswith("#"):
            continue
        given, _, came = line.partition("->")
        ((port, frame),) = _frames(given)
        records.append((port, frame, _frames(came)))
    return records


def _frames(text: str) -> Sent:
    parts = [part.split() for part in text.split(",") if part.strip()]
    return [(int(part[0]), bytes.fromhex("".join(part[1:]))) for part in parts]


def write(path: Path, head: str, records: list[Record]) -> None:
    def frames(sent: Sent) -> str:
        return ", ".join(f"{port} {frame.hex()}" for port, frame in sent)

    lines = [f"# {head}"]
    lines += [
        f"{frames([(port, frame)])} -> {frames(sent)}".rstrip() for port, frame, sent in records
    ]
    path.write_text("\n".join(lines) + "\n", "utf-8")
