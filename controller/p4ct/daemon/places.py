# SPDX-License-Identifier: Apache-2.0
"""Where the keys of a TOML file are: tomllib does not say."""

from __future__ import annotations

import re
from collections import Counter

__all__ = ["Places"]

_HEADER = re.compile(r"\s*(\[\[?)\s*([^\]]+?)\s*\]\]?")
_ASSIGNMENT = re.compile(r"""\s*([A-Za-z0-9_\-."']+(?:\s*\.\s*[A-Za-z0-9_\-"']+)*)\s*=""")


class Places:
    """Line numbers of tables and keys by their dotted names.

    Of `[[name]]` tables the n-th (from 0) is meant.  What is written in one line with its table is
    found there; what is not found at all is said to be where the nearest table around it begins.
    """

    def __init__(self, text: str) -> None:
        self._lines: dict[tuple[str, int], int] = {}
        seen: Counter[str] = Counter()
        table, occurrence = "", 0
        for number, line in enumerate(text.splitlines(), 1):
            if header := _HEADER.match(line):
                table = _plain(header.group(2))
                # [a.b] behind [[a]] belongs to the last a.
                around = [n for n in seen if table.startswith(f"{n}.")]
                occurrence = seen[max(around, key=len)] - 1 if around else 0
                if header.group(1) == "[[":
                    occurrence = seen[table]
                    seen[table] += 1
                self._lines.setdefault((table, occurrence), number)
            elif assignment := _ASSIGNMENT.match(line):
                key = _plain(assignment.group(1))
                parts = key.split(".")
                for count in range(1, len(parts) + 1):
                    name = ".".join(([table] if table else []) + parts[:count])
                    self._lines.setdefault((name, occurrence), number)

    def line(self, name: str, occurrence: int = 0) -> int:
        """The line of `table.key` or `table`, counted from 1; 1 if nothing of it is there."""
        for wanted in (occurrence, 0):
            place = name
            while place:
                if (place, wanted) in self._lines:
                    return self._lines[place, wanted]
                place = place.rpartition(".")[0]
        return 1


def _plain(name: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in name.split("."))
