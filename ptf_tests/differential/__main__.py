# SPDX-License-Identifier: Apache-2.0
"""Give softswitch and BMv2 the same random entries and packets; whatever can be seen must be equal.

python ptf_tests/differential [--packets N] [--seed S] [--program DIR|JSON]
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ptf_base import switch, target
from ptf_base.netns import NamespaceError

from differential.compare import Pair
from differential.rig import Program, Rig
from differential.run import run

LEFT, RIGHT = "softswitch", "bmv2"


def main(arguments: list[str] | None = None) -> int:
    """Returns 0 without a difference, 1 with one, 2 if a target cannot run."""
    parser = argparse.ArgumentParser(
        prog="differential", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--packets", type=int, default=5000, help="default 5000")
    parser.add_argument("--seed", type=int, help="default: drawn, and printed")
    parser.add_argument("--round", type=int, help="that round only, of a run that failed")
    parser.add_argument("--no-shrink", action="store_true", help="show failures as they come")
    parser.add_argument(
        "--program",
        type=Path,
        default=switch.COMPILED,
        help="directory with eswitch.json and eswitch.p4info.txtpb, or a JSON with its P4Info",
    )
    options = parser.parse_args(arguments)
    if options.packets < 1:
        parser.error("--packets is at least 1")
    seed = random.SystemRandom().getrandbits(32) if options.seed is None else options.seed
    missing = [target.not_found(name) for name in (LEFT, RIGHT) if target.find(name) is None]
    if missing:
        print(*(f"differential: {reason}" for reason in missing), sep="\n", file=sys.stderr)
        return 2
    try:
        program = Program.load(options.program)
    except OSError as error:
        print(f"differential: --program: {error}", file=sys.stderr)
        return 2
    print(f"differential: {LEFT} and {RIGHT}, seed {seed}", flush=True)
    pair = Pair(lambda: Rig(LEFT, program), lambda: Rig(RIGHT, program))
    try:
        result = run(
            pair,
            program.names,
            seed,
            options.packets,
            lambda line: print(line, flush=True),
            only_round=options.round,
            shrink=not options.no_shrink,
        )
    except (target.TargetError, NamespaceError) as error:
        print(f"differential: {error}", file=sys.stderr)
        return 2
    finally:
        pair.close()
    print("came out:", ", ".join(f"{kind} {n}" for kind, n in pair.seen.most_common()))
    print(f"{result.packets / result.seconds:.0f} packets a second on each")
    print(result)
    return 1 if result.differences else 0


if __name__ == "__main__":
    sys.exit(main())
