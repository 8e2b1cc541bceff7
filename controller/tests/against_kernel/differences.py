# SPDX-License-Identifier: Apache-2.0
"""Differences from the kernel that are meant, by their headings in conntrack-differences.md."""

from __future__ import annotations

from collections.abc import Callable

from .compare import Difference
from .packets import Icmp, Step


def _untracked(difference: Difference, step: Step) -> bool:
    return (difference.what, difference.kernel, difference.ours) == ("mark", "untracked", "invalid")


#: Heading of the page -> does it explain this difference, which this packet showed?
RULES: dict[str, Callable[[Difference, Step], bool]] = {
    "Neighbour discovery and multicast listeners are invalid": lambda difference, step: (
        _untracked(difference, step) and isinstance(step, Icmp) and 130 <= step.kind <= 143
    ),
}


def explain(difference: Difference, step: Step) -> str | None:
    """The heading that explains a difference, or None."""
    for heading, matches in RULES.items():
        if matches(difference, step):
            return heading
    return None
