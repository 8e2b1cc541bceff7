# SPDX-License-Identifier: Apache-2.0
"""Does the policy of now let a record stay?  What happens if not is configured.

    recheck   it stays if the same entries would be made; otherwise they go
    cut       as recheck; if the policy drops a direction, the connections go as well
    keep      it stays, too, if the policy would make other entries that forward both directions,
              and every flow that its own came from is still there

(docs/decisions/0026-policy-changes-in-steps.md)
"""

from __future__ import annotations

from p4ct.conntrack import Tracker
from p4ct.offload.affected import PolicyHistory
from p4ct.offload.options import OffloadOptions, OnPolicyChange
from p4ct.offload.recheck import Judgement, judge
from p4ct.offload.record import Record, RecordState
from p4ct.pipeline.execute import Pipeline

__all__ = ["PolicyCheck"]


class PolicyCheck:
    """Judges records whenever the policy is newer than their decision."""

    def __init__(self, pipeline: Pipeline, tracker: Tracker, options: OffloadOptions) -> None:
        self._pipeline = pipeline
        self._tracker = tracker
        self._mode = options.policy_change
        self.history = PolicyHistory()
        #: Records that were decided again, and those that no change since could have touched.
        self.decided = self.untouched = 0

    def fits(self, record: Record, now: float) -> bool:
        """True if the record may stay; it then stands for a decision of the policy of now."""
        version = self._pipeline.version
        if record.policy_version == version:
            return True
        if not record.kept and not self.history.touched(record, version):
            self.untouched += 1
        else:
            self.decided += 1
            if not self._stays(record, now):
                return False
        record.policy_version = version
        return True

    def _stays(self, record: Record, now: float) -> bool:
        judgement = judge(record, self._pipeline, self._tracker, now)
        record.kept = (
            judgement is Judgement.OTHER
            and self._mode is OnPolicyChange.KEEP
            # What was not in use yet has nothing to keep.
            and record.state is RecordState.ACTIVE
            and not record.one_way
            and all(self._pipeline.has(flow) for half in record.halves for flow in half.flows)
        )
        record.cut = (
            judgement is Judgement.DENIED
            and self._mode is OnPolicyChange.CUT
            # Before its entries are written its window is known, and may be why.
            and record.state is not RecordState.QUEUED
        )
        return record.kept or judgement is Judgement.SAME
