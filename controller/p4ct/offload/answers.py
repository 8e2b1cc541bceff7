# SPDX-License-Identifier: Apache-2.0
"""What the switch answered to a write, and what must not be left open by it."""

from __future__ import annotations

from collections.abc import Sequence

from p4ct.eswitch.entries import Delete, EntryError, EswitchError, L2PairEntry, NextHopEntry, Op

__all__ = ["refuse_to_forget", "refuse_to_guess"]


def refuse_to_guess(ops: Sequence[Op], results: Sequence[EntryError | None]) -> None:
    """Raises EswitchError if the switch may hold something else than we think.

    Entries name rows by number.  A row that stays behind unnoticed, or was there before us, would
    send the packets of the next connection that gets its number to the wrong port.
    """
    for op, error in zip(ops, results, strict=True):
        if error is None:
            continue
        if error.unknown_outcome:
            raise EswitchError(error.code, f"what became of a write is not known: {error.message}")
        if error.code == "ALREADY_EXISTS" and isinstance(op.entry, L2PairEntry | NextHopEntry):
            raise EswitchError(error.code, f"an unknown row is in the way: {error.message}")


def refuse_to_forget(results: Sequence[EntryError | None]) -> None:
    """Raises EswitchError if something that was to be deleted may still be there.

    An entry would go on forwarding; a row would meet the next one that gets its number.
    """
    for error in results:
        if error is None or error.code == "NOT_FOUND" or not isinstance(error.op, Delete):
            continue
        raise EswitchError(error.code, f"an entry could not be removed: {error.message}")
