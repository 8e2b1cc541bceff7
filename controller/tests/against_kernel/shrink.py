# SPDX-License-Identifier: Apache-2.0
"""From a trace that shows a difference to one in which nothing can be left out or made plainer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

from .compare import Trace
from .packets import Pause, Step

#: Plainer values, tried in this order, by field.
_PLAIN: dict[str, tuple[Any, ...]] = {
    "length": (0, 1),
    "options": (b"",),
    "window": (8192,),
    "damage": ("",),
    "payload": (b"",),
    "text": ("", "NOOP\r\n"),
}


def shrink(steps: Trace, fails: Callable[[Trace], bool], budget: int = 400) -> Trace:
    """`fails` replays a trace and says whether it still shows a difference; at most `budget` times.

    First whole packets go, in ever smaller groups (delta debugging, Zeller and Hildebrandt), then
    fields become plain.
    """
    left = budget

    def still(trace: Trace) -> bool:
        nonlocal left
        left -= 1
        return left >= 0 and fails(trace)

    kept = list(steps)
    size = max(1, len(kept) // 2)
    while True:
        at, went = 0, False
        while at < len(kept):
            fewer = kept[:at] + kept[at + size :]
            if fewer and still(fewer):
                kept, went = fewer, True
            else:
                at += size
        if size == 1 and not went:
            break
        size = max(1, size // 2)
    for at in range(len(kept)):
        for plainer in _plainer(kept[at]):
            trial = [*kept[:at], plainer(kept[at]), *kept[at + 1 :]]
            if trial != kept and still(trial):
                kept = trial
    return kept


def _plainer(step: Step | Pause) -> Iterator[Callable[[Any], Any]]:
    if is_dataclass(step):
        for field in fields(step):
            for value in _PLAIN.get(field.name, ()):
                yield lambda now, name=field.name, value=value: replace(now, **{name: value})
