# SPDX-License-Identifier: Apache-2.0
"""How it is found out that a record is idle: section `offload` of the configuration.

docs/decisions has why, and how late that may be.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = ["LONGEST_PERIOD", "Ageing", "Sampling", "choose"]

LONGEST_PERIOD = 150.0
"""Seconds from one look at a record to the next at most: its readings tell NORMAL that its stations
are alive, and NORMAL forgets a station after twice as long (`MacTable.max_age`)."""


class Ageing(Enum):
    """Who notices; `value` is the word of the configuration and of `p4ct status`."""

    AUTO = "auto"
    IDLE_TIMEOUT = "idle-timeout"  # the target reports entries that were not hit for so long
    SAMPLING = "sampling"  # the counters of some records are read every now and then


@dataclass(frozen=True, slots=True)
class Sampling:
    """Of N records, N / 2^`exponent` are read every `interval` seconds."""

    interval: float = 1.0
    exponent: int = 4

    @property
    def slots(self) -> int:
        """Steps until every record has had its turn."""
        return 1 << self.exponent

    @property
    def period(self) -> float:
        """Seconds from one turn of a record to its next."""
        return self.interval * self.slots

    @property
    def late_at_most(self) -> float:
        """Seconds from the end of a record's timeout until that is noticed, at most."""
        return self.period + self.interval

    def __str__(self) -> str:
        share = f"1/{self.slots} of the connections" if self.exponent else "all connections"
        return f"{share} every {self.interval:g} s, at most {self.late_at_most:g} s late"


def choose(wanted: Ageing, reports_idle: bool) -> Ageing:
    """What `AUTO` means on a target whose connection tables have idle timeouts, or have none."""
    if wanted is not Ageing.AUTO:
        return wanted
    return Ageing.IDLE_TIMEOUT if reports_idle else Ageing.SAMPLING
