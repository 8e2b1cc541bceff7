#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Run the suite by plain ptf on a target of its own.

    python ptf_tests/run_ptf.py [--target softswitch|bmv2] [ptf arguments and test names]

On a switch that is up already, call ptf itself: see README.md.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path


def main() -> int:
    """Returns ptf's exit code, or 2 if the target cannot run."""
    here = Path(__file__).resolve().parent
    sys.path.insert(0, str(here))
    from ptf_base import switch
    from ptf_base.netns import NamespaceError
    from ptf_base.target import EXECUTABLES, Target, TargetError

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", choices=EXECUTABLES, default="softswitch")
    parser.add_argument("--program", type=Path, default=switch.COMPILED)
    options, rest = parser.parse_known_args()
    try:
        target = Target(options.target)
    except (TargetError, NamespaceError) as error:
        print(f"run_ptf: {error}", file=sys.stderr)
        return 2
    parameters = {
        "grpcaddr": target.address,
        "device_id": target.device_id,
        "p4info": str(options.program / f"{switch.PROGRAM}.p4info.txtpb"),
        "config": str(options.program / f"{switch.PROGRAM}.json"),
    }
    command = [sys.executable, str(Path(sys.executable).parent / "ptf"), "--test-dir", str(here)]
    for port, link in target.interfaces.items():
        command += ["-i", f"{port}@{link}"]
    command += ["--qlen", "4096", "--socket-recv-size", "16384"]
    command += ["--test-params", ";".join(f"{k}={v!r}" for k, v in parameters.items()), *rest]
    if not any(word.startswith("--log") for word in rest):
        log = Path("build", "ptf", "ptf.log")  # its frames are in ptf.pcap beside it
        log.parent.mkdir(parents=True, exist_ok=True)
        command += ["--log-file", str(log)]
    try:
        process = target.namespace.run(subprocess.Popen, command)
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.kill()
            process.wait()
            return 130
    finally:
        target.close()


if __name__ == "__main__":
    sys.exit(main())
