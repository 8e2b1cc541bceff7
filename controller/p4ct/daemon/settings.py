# SPDX-License-Identifier: Apache-2.0
"""Timeouts and limits of conntrack that are changed while connections live."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from p4ct.conntrack import Tracker
from p4ct.conntrack.limits import LIMITS
from p4ct.conntrack.timeouts import TIMEOUTS

__all__ = ["SettingError", "change", "settings"]


class SettingError(ValueError):
    """A name or a value that cannot be set; the text says which and what could."""


def settings(tracker: Tracker, zone: int | None) -> dict[str, Any]:
    """What holds in a zone, or in every zone that has nothing of its own; limit 0: none."""
    timeouts, limits = tracker.timeouts, tracker.limits
    if zone is not None:
        timeouts, limits = timeouts.for_zone(zone), limits.for_zone(zone)
    return {
        "zone": zone,
        "timeouts": {name: getattr(timeouts, name) for name in TIMEOUTS},
        "limits": {name: getattr(limits, name) or 0 for name in LIMITS},
    }


def change(tracker: Tracker, zone: int | None, values: Mapping[str, float]) -> None:
    """Set timeouts and limits of a zone, or of all that have none of their own: all or nothing.

    A timeout holds from a connection's next packet on, a limit for new connections. Raises
    SettingError.
    """
    for name, value in values.items():
        if name not in TIMEOUTS + LIMITS:
            near = difflib.get_close_matches(name, TIMEOUTS + LIMITS, 1)
            raise SettingError(
                f"unknown setting '{name}'; "
                + (f"did you mean '{near[0]}'?" if near else f"they are {TIMEOUTS + LIMITS}")
            )
        if name in LIMITS and (value < 0 or value != int(value)):
            raise SettingError(f"{name} must be a whole number, 0 for no limit")
        if name in TIMEOUTS and not 0 < value < math.inf:
            raise SettingError(f"{name} must be above 0 seconds and finite")
    timeouts = {name: float(values[name]) for name in TIMEOUTS if name in values}
    limits = {name: int(values[name]) or None for name in LIMITS if name in values}
    if zone is None:
        tracker.timeouts = replace(tracker.timeouts, **timeouts)
        tracker.limits = replace(tracker.limits, **limits)
        return
    if timeouts:
        tracker.timeouts = tracker.timeouts.with_zone(zone, **timeouts)
    if limits:
        tracker.limits = tracker.limits.with_zone(zone, **limits)
