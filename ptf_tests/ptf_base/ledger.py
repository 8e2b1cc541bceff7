# SPDX-License-Identifier: Apache-2.0
"""What a run has exercised: punt reasons seen, and actions of tables that were written."""

from __future__ import annotations

from collections import Counter

from ptf_base.p4info import P4Names


class Ledger:
    """Counts; the cases write to it through their verbs."""

    def __init__(self) -> None:
        self.reasons: Counter[str] = Counter()
        self.actions: Counter[tuple[str, str]] = Counter()

    def saw_reason(self, reason: str | int) -> None:
        self.reasons[str(reason)] += 1

    def wrote_action(self, table: str, action: str) -> None:
        self.actions[table, action] += 1

    def missing_reasons(self, names: P4Names) -> list[str]:
        """The reasons that the program knows and that no packet-in carried."""
        known = names.enum("PuntReason")
        return [reason for reason in known if reason not in self.reasons and reason != "NONE"]

    def report(self, names: P4Names) -> str:
        """A few lines for the end of a run."""
        reasons = ", ".join(f"{r} {n}" for r, n in sorted(self.reasons.items()))
        actions = ", ".join(f"{t}/{a} {n}" for (t, a), n in sorted(self.actions.items()))
        missing = self.missing_reasons(names)
        return "\n".join(
            [
                f"punt reasons seen: {reasons or 'none'}",
                f"punt reasons not seen: {', '.join(missing) or 'none'}",
                f"entries written: {actions or 'none'}",
            ]
        )
