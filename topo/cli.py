# SPDX-License-Identifier: Apache-2.0
"""The topology with the Mininet prompt: `make cli`.

Target and controller run as in the main job; everything ends with the prompt.
"""

from __future__ import annotations

import argparse
import os
import sys

from topo import plan
from topo.signals import Ended, handle_signals, ignore_signals

TRY = (
    ("vm1 ping -c 3 10.0.0.3", "from inside: answered"),
    ("ext ping -c 3 -W 1 10.0.0.1", "from outside: policy denies it"),
    ("ext iperf3 -s -D", "a server outside, in the background"),
    ("vm1 iperf3 -c 10.0.0.3 -t 5", "a transfer: established, so by entries"),
    ("sh p4ct offload list", "the entries (also: status, conntrack list, flows list)"),
)


def banner(target: str) -> str:
    """Where things are and what to try."""
    relative = [path.relative_to(plan.ROOT) for path in (plan.LOGS, plan.PCAPS, plan.SOCKET)]
    logs, pcaps, socket = relative
    lines = [
        "",
        f"vm1 10.0.0.1 fd00::1   vm2 10.0.0.2 fd00::2   ext 10.0.0.3 fd00::3   on {target}",
        f"policy  {plan.POLICY.relative_to(plan.ROOT)}  (sh p4ct flows replace FILE changes it)",
        f"logs    {logs}/{target}.out  {logs}/p4ct.log",
        f"pcaps   {pcaps}/  (30 seconds of vm1's port: sh sleep 30 |"
        f" python -m topo.programs.capture eswitch-eth1 {pcaps}/vm1.pcap &)",
        f"socket  {socket}  (from any terminal: .venv/bin/p4ct --socket {socket} status)",
        f"switch  P4Runtime at {plan.GRPC_ADDRESS}, in this network namespace only",
        "",
        "try:",
        *(f"  {command:<30} {meaning}" for command, meaning in TRY),
        "  exit",
        "",
        "good to know:",
        "  timeouts in topo/p4ct.toml are short: entries 5 s idle, conntrack 15 s",
        "  what ext begins is denied, so pingall reports loss",
        "  if the switch dies: exit, and make cli again",
        "",
    ]
    return "\n".join(lines)


def prepare_environment() -> None:
    """Make `sh p4ct ...` at the prompt find the command and its socket."""
    commands = str(plan.ROOT / ".venv" / "bin")
    os.environ["PATH"] = os.pathsep.join([commands, os.environ.get("PATH", os.defpath)])
    os.environ["P4CT_SOCKET"] = str(plan.SOCKET)
    plan.PCAPS.mkdir(parents=True, exist_ok=True)


def run(target: str) -> int:
    """Start everything and stay at the prompt; returns the exit code."""
    from topo import control, processes
    from topo.hosts import Network, prompt
    from topo.main_job import clear_old_files, require_private_namespace

    require_private_namespace()
    clear_old_files()
    prepare_environment()
    services: list[processes.Service] = []
    try:
        network = Network()
        network.start()
        services.append(processes.start_target(target))
        controller = processes.controller()
        services.append(controller)
        controller.start()
        controller.wait_ready(control.ready, timeout=20.0)
        print(banner(target), flush=True)
        prompt(network)
    except processes.ProcessFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        ignore_signals()
        for service in reversed(services):
            service.stop()
    return 0


def main() -> int:
    """Entry point; returns the exit code."""
    handle_signals()
    parser = argparse.ArgumentParser(prog="make cli", description="The Mininet prompt.")
    parser.add_argument("--target", choices=("softswitch", "bmv2"), default="softswitch")
    try:
        return run(parser.parse_args().target)
    except Ended as ended:
        return ended.code


if __name__ == "__main__":
    sys.exit(main())
