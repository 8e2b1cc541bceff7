# SPDX-License-Identifier: Apache-2.0
"""Break each invariant on purpose, in a copy, and see its test fail.

    python tools/private.py -- .venv/bin/python topo/tests/invariants/break_on_purpose.py [N...]

Each defect below is one that could be made by mistake.  It is put into a copy of the controller (or
of the compiled program), the test of the invariant runs against the copy, and must fail.  The exit
code is 0 if every test noticed its defect.  P4CT_TEST_TARGET chooses the target as for the tests.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[3]
TESTS = Path(__file__).resolve().parent
PROGRAM = "p4src/compiled/eswitch.json"


class Defect(NamedTuple):
    """`old` in `file` becomes `new`; `test` must notice."""

    invariant: int
    what: str
    test: str
    file: str
    old: str
    new: str


DEFECTS = (
    Defect(
        1,
        "an entry from a VLAN vport to an untagged one forgets to take the tag off",
        "test_1_transparency.py::test_same_frames_delivered",
        "controller/p4ct/offload/next_hops.py",
        "VlanOp.POP",
        "VlanOp.KEEP",
    ),
    Defect(
        1,
        "the window registers are not read when a connection returns to software",
        "test_window_registers.py::test_a_connection_that_returns_knows_its_windows",
        "controller/p4ct/offload/removal.py",
        "await _learn_windows(port, wrote)",
        "pass",
    ),
    Defect(
        1,
        "registers that lag behind software are not raised",
        "test_window_registers.py::test_registers_that_lag_behind_software_are_raised",
        "controller/p4ct/offload/windows.py",
        "merge(record.index, pair)",
        "bool(merge)",
    ),
    Defect(
        1,
        "a stateless flow does not match the ports that the policy looked at",
        "test_stateless.py::test_a_rule_that_did_not_match_was_looked_at_too",
        "controller/p4ct/offload/stateless.py",
        "dport=exact(pkt.dport, 16, *ports[1:], *kinds)",
        "dport=exact(pkt.dport, 16, *kinds)",
    ),
    Defect(
        2,
        "the first answer to one-way traffic is forwarded, and conntrack does not know of it",
        "test_assume.py::test_one_way_traffic_until_its_answer",
        "controller/p4ct/offload/record.py",
        "if self.one_way and direction:",
        "if self.one_way and direction > 1:",
    ),
    Defect(
        2,
        "a policy change leaves stateless flows where they are",
        "test_stateless.py::test_what_a_new_policy_denies_leaves_no_port",
        "controller/p4ct/offload/policy_change.py",
        "[*manager.stateless.policy_changed(reasons.POLICY_CHANGED)]",
        "[]",
    ),
    Defect(
        2,
        "a policy change forgets the entries that it denies",
        "test_2_fail_safe.py::test_policy_change_cuts_at_once",
        "controller/p4ct/offload/policy_change.py",
        "manager.remove(record, reasons.POLICY_CHANGED)",
        "pass",
    ),
    Defect(
        2,
        "a policy change returns before the entries that it denies are gone",
        "test_2_fail_safe.py::test_policy_change_cuts_at_once",
        "controller/p4ct/daemon/operations.py",
        "        await _gone(controller, leaving)",
        "        pass",
    ),
    Defect(
        2,
        "after a restart entries that the policy denies now are left where they are",
        "test_2_fail_safe.py::test_restart_with_a_policy_that_denies",
        "controller/p4ct/offload/reconcile.py",
        "await _remove(manager, port, rejected, clock, pause)",
        "await _remove(manager, port, [], clock, pause)",
    ),
    Defect(
        3,
        "the trap has no entry for FIN",
        "test_3_state_changing.py",
        PROGRAM,
        "TCP_FIN",
        "",
    ),
    Defect(
        4,
        "the two entries of a record are written one after the other",
        "test_4_both_or_none.py::test_between_any_two_batches",
        "controller/p4ct/offload/rounds.py",
        "results = await port.write(plan.ops) if plan.ops else []",
        "results = [r for op in plan.ops for r in await port.write([op])]",
    ),
    Defect(
        4,
        "an installation that failed halfway is not rolled back",
        "test_4_both_or_none.py::test_one_of_two_is_refused",
        "controller/p4ct/offload/removal.py",
        "for d in (0, 1)\n            if record.installed[d]\n        ]",
        "for d in (0, 1)\n            if all(record.installed)\n        ]",
    ),
    Defect(
        5,
        "software counts frames without the tag that hardware counts",
        "test_5_accounting.py::test_ended_by_fin",
        "controller/p4ct/daemon/slow_path.py",
        "parse(frame, info.frame_length)",
        "parse(frame)",
    ),
    Defect(
        5,
        "entries are deleted without a final reading of their counters",
        "test_5_accounting.py::test_ended_by_rst",
        "controller/p4ct/offload/removal.py",
        "manager.credit(record, cells.get(record.index, ((0, 0), (0, 0))), now)",
        "pass",
    ),
    Defect(
        6,
        "counter cells are not zeroed when their index becomes free",
        "test_6_no_leak.py::test_many_connections",
        "controller/p4ct/offload/removal.py",
        "await port.zero_connection_counters([r.index for r in wrote])",
        "pass",
    ),
    Defect(
        6,
        "the rows that records share are never removed",
        "test_6_no_leak.py::test_many_connections",
        "controller/p4ct/offload/allocate.py",
        "        if self._users[key]:\n            return None",
        "        return None",
    ),
)


class DoesNotApply(Exception):
    """The code that a defect changes is not there any more: the defect must be written anew."""


def put_in(defect: Defect, copy: Path) -> None:
    """Break the copy."""
    path = copy / defect.file
    text = path.read_text(encoding="utf-8")
    if defect.file == PROGRAM:
        path.write_text(without_trap(text, defect.old), encoding="utf-8")
        return
    if text.count(defect.old) != 1:
        raise DoesNotApply(f"{defect.file} has {text.count(defect.old)} times: {defect.old}")
    path.write_text(text.replace(defect.old, defect.new), encoding="utf-8")


def without_trap(program: str, flag: str) -> str:
    """The compiled program without the const entries of table trap that name this flag."""
    decoded = json.loads(program)
    for pipeline in decoded["pipelines"]:
        for table in pipeline["tables"]:
            entries = table.get("entries", [])
            if any(flag in entry["source_info"]["source_fragment"] for entry in entries):
                table["entries"] = [
                    entry
                    for entry in entries
                    if flag not in entry["source_info"]["source_fragment"]
                ]
                return json.dumps(decoded)
    raise DoesNotApply(f"no table of {PROGRAM} has const entries that name {flag}")


def noticed(defect: Defect) -> bool:
    """Run the test against a broken copy; prints why it failed."""
    with tempfile.TemporaryDirectory(prefix="p4ct-broken-") as directory:
        copy = Path(directory)
        for folder in ("controller", "p4src/compiled"):
            shutil.copytree(
                ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__")
            )
        put_in(defect, copy)
        environment = {
            **os.environ,
            "PYTHONPATH": str(copy / "controller"),
            "P4CT_TEST_PROGRAM": str(copy / "p4src" / "compiled"),
        }
        command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider"]
        done = subprocess.run(
            [*command, "--maxfail=1", str(TESTS / defect.test)],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    lines = [line for line in done.stdout.splitlines() if line.startswith("E  ")]
    for line in lines[:4]:
        print(f"    {line[:160]}")
    return done.returncode == 1 and bool(lines)


def main(numbers: list[str]) -> int:
    missed = 0
    for defect in DEFECTS:
        if numbers and str(defect.invariant) not in numbers:
            continue
        print(f"invariant {defect.invariant}: {defect.what}", flush=True)
        try:
            ok = noticed(defect)
        except DoesNotApply as error:
            print(f"    does not apply: {error}")
            ok = False
        print(f"    {'noticed by' if ok else 'NOT NOTICED by'} {defect.test}", flush=True)
        missed += not ok
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
