# SPDX-License-Identifier: Apache-2.0
"""A change of the policy, carried out on the records in bounded steps.

Software decides by the new policy from the moment of the change, and nothing is installed any more
that only the old one allows: an install is checked before it is written and after it was answered.
What is in the switch already is gone through step by step, and packets have their turn in between;
the change is complete when the last step was done and what it found has left the switch.

Another change in the meantime has steps of its own.  Whoever comes to a record first judges it by
the policy of that moment, and the other finds it judged: two changes cost hardly more than one.
"""

from __future__ import annotations

from p4ct.offload import reasons
from p4ct.offload.manager import OffloadManager
from p4ct.offload.record import Leaving, RecordState
from p4ct.pipeline.execute import FlowChange

__all__ = ["COMPARED_PER_STEP", "DECIDED_PER_STEP", "LOOKED_AT_PER_STEP", "PolicyChange"]

LOOKED_AT_PER_STEP = 1000
"""Records at most; and so many candidates. About a microsecond each."""
DECIDED_PER_STEP = 25
"""Records of one step that are decided again, at most. About 0.1 ms each."""
COMPARED_PER_STEP = 1000
"""Comparisons with an added flow, a few microseconds each, after which a step ends. One list of
flows that records have in common is compared with all that was added, in one step."""


class PolicyChange:
    """What the pipeline has just changed, to be carried out by calls of `step` until `done`.

    Stateless flows all go, at once: what is still allowed comes back by itself.
    """

    def __init__(self, manager: OffloadManager, change: FlowChange) -> None:
        self._manager = manager
        if change.added or change.removed:
            manager.policy.history.add(manager.pipeline.version, change)
        self._stale = manager.candidates.begin_anew()
        self._records = list(manager.records.values())
        self._flows: list[Leaving] = [*manager.stateless.policy_changed(reasons.POLICY_CHANGED)]
        self._started = False

    @property
    def done(self) -> bool:
        """Every record has been judged."""
        return self._started and not self._records and not self._stale

    def step(self, now: float) -> list[Leaving]:
        """Judge some records. The answer: what has to leave the switch, or is leaving already."""
        manager = self._manager
        self._started = True
        leaving, self._flows = self._flows, []
        last = manager.policy.decided + DECIDED_PER_STEP
        enough = manager.policy.history.compared + COMPARED_PER_STEP
        for _ in range(min(len(self._records), LOOKED_AT_PER_STEP)):
            record = self._records.pop()
            if record.state is RecordState.GONE:
                continue
            if record.state is not RecordState.LEAVING and not manager.policy.fits(record, now):
                manager.remove(record, reasons.POLICY_CHANGED)
            if record.state is RecordState.LEAVING:
                leaving.append(record)
            if manager.policy.decided >= last or manager.policy.history.compared >= enough:
                return leaving
        if not self._records:
            self._stale.drop(LOOKED_AT_PER_STEP)
        return leaving
