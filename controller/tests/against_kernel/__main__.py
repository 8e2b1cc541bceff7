# SPDX-License-Identifier: Apache-2.0
"""Random packets through the kernel's conntrack and p4ct's: `make fuzz-conntrack`.

python -m against_kernel [--traces N] [--seed S] [--kind NAME] [--first N]
"""

from __future__ import annotations

import argparse
import os
import random
import sys

from .campaign import Campaign
from .kinds import KINDS
from .namespace import CannotCompare


def main(arguments: list[str] | None = None) -> int:
    """Returns 0 without a difference, 1 with one, 2 if this machine cannot compare."""
    parser = argparse.ArgumentParser(
        prog="against_kernel", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--traces", type=int, default=5000, help="TCP traces; default 5000")
    parser.add_argument("--seed", type=int, help="default: drawn, and printed")
    parser.add_argument("--kind", choices=KINDS, help="only traces of this kind")
    parser.add_argument("--first", type=int, default=0, help="number of the first trace")
    options = parser.parse_args(arguments)
    if options.traces < 1:
        parser.error("--traces is at least 1")
    seed = random.SystemRandom().getrandbits(32) if options.seed is None else options.seed
    print(f"p4ct against Linux {os.uname().release}, seed {seed}", flush=True)
    campaign = Campaign(seed, lambda line: print(line, flush=True))
    result = campaign.result
    try:
        for name, kind in KINDS.items():
            if options.kind in (None, name):
                before = result.traces, result.unexplained
                share = kind.share if options.kind is None else 1
                campaign.run(name, kind, max(1, round(options.traces * share)), options.first)
                new, bad = result.traces - before[0], result.unexplained - before[1]
                print(f"{name}: {new} traces, {bad} unexplained differences", flush=True)
    except CannotCompare as reason:
        print(f"cannot compare with this kernel: {reason}", file=sys.stderr)
        return 2
    print("the kernel said:", ", ".join(f"{mark} {n}" for mark, n in result.marks.most_common()))
    for heading, count in result.explained.most_common():
        print(f"explained {count} times: {heading}")
    print(result)
    return 1 if result.unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
