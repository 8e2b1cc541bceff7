# SPDX-License-Identifier: Apache-2.0
"""Steps with traffic that policy denies, proven by capturing where it must not arrive."""

from __future__ import annotations

import json
import subprocess
import time

from topo import control
from topo.plan import BUILD, EXT, POLICY, VM1, VM2, HostPlan
from topo.scenario.context import Context, StepFailed, Talk, errors_of
from topo.scenario.lifecycle import SINK_PORT

SSH_PORT = 22
OPEN_PORT = 80
SYN, ACK = 2, 16


class Capture:
    """The capture program on a host's interface; a context manager.

    `times`, the kernel's time stamps (CLOCK_REALTIME, seconds), are there after it was left.
    """

    def __init__(self, context: Context, host: HostPlan, *selections: str) -> None:
        self.process = context.program(host, "capture", host.interface, *selections)
        assert self.process.stdout is not None
        if self.process.stdout.readline().strip() != '"ready"':
            raise StepFailed(f"capture on {host.name}: {errors_of(self.process)}")
        self.times: list[float] = []

    def __enter__(self) -> Capture:
        return self

    def __exit__(self, *_exception: object) -> None:
        try:
            output, _ = self.process.communicate(timeout=10.0)  # closes its standard input
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise StepFailed("the capture did not end") from None
        self.times = json.loads(output)


def port_22(context: Context) -> None:
    """A listener that inside may reach and outside may not: it is policy that refuses."""
    with Talk(context, VM2) as inside, Talk(context, EXT) as outside:
        from_inside = inside.ask("connect", VM1.ipv4, SSH_PORT, 5)
        from_outside = outside.ask("connect", VM1.ipv4, SSH_PORT, 2)
        if from_inside["connected"]:
            inside.ask("close")
    context.expect(
        "port 22 from outside is refused",
        from_inside["connected"] and not from_outside["connected"],
        f"ext->vm1:22 {from_outside['error'] or 'connected'}; "
        f"vm2->vm1:22 {from_inside['error'] or 'connected'}",
    )


def ack_scan(context: Context) -> None:
    """Bare ACKs from outside reach nothing; a SYN to the open port shows that the capture works.

    The open port itself is left out: there, tracking picks up a connection that it has not seen
    begin (tcp_loose, as Linux does), and policy allows new connections to it.
    """
    ports = [f"{SSH_PORT}", context.sizes.scanned_ports]
    with Capture(context, VM1, f"src={EXT.ipv4}") as scan:
        probe = ("tcp_probe", EXT.ipv4, VM1.ipv4)
        sent = context.run_program(EXT, *probe, str(ACK), *ports, timeout=30.0)["sent"]
        time.sleep(0.5)  # the last ones may still be on their way through the controller
    with Capture(context, VM1, f"src={EXT.ipv4}", f"dport={OPEN_PORT}") as allowed:
        context.run_program(EXT, *probe, str(SYN), str(OPEN_PORT), timeout=30.0)
        time.sleep(0.5)
    context.expect(
        "ACK scan does not pass",
        not scan.times and bool(allowed.times),
        f"{len(scan.times)} of {sent} ACKs reached vm1; "
        f"a SYN to port {OPEN_PORT} {'did' if allowed.times else 'did not'}",
    )


def policy_change(context: Context) -> None:
    """Cut a running connection by a change of policy, then allow it again."""
    cut = BUILD / "policy-cut.flows"
    rule = f"table=0, priority=200, tcp, nw_dst={EXT.ipv4}, tp_dst={SINK_PORT}, actions=drop\n"
    cut.write_text(POLICY.read_text(encoding="utf-8") + rule, encoding="utf-8")
    selections = (f"src={VM1.ipv4}", f"dport={SINK_PORT}")
    with Talk(context, VM1) as talk:
        talk.sport = talk.must("connect", EXT.ipv4, SINK_PORT, 10)["sport"]
        talk.must("stream")
        if control.wait_until(lambda: control.offloaded(talk.sport), timeout=5.0) is None:
            raise StepFailed("the stream was not offloaded within 5 s")
        try:
            with (
                Capture(context, VM1, *selections) as sent,
                Capture(context, EXT, *selections) as received,
            ):
                time.sleep(1.0)
                control.replace_flows(cut)
                returned = time.time()
                time.sleep(2.0)
        finally:
            control.replace_flows(POLICY)
        before = talk.must("sent")["sent"]
        resumed = control.wait_until(lambda: talk.must("sent")["sent"] > before + 50_000, 10.0)
        talk.must("close")
    late = [t for t in received.times if t > returned]
    early = len(received.times) - len(late)
    tried = sum(1 for t in sent.times if t > returned)
    context.expect(
        "a policy change cuts a running connection",
        bool(early) and not late and tried > 0,
        f"{early} packets passed before the command returned, {len(late)} after it "
        f"({tried} were tried)",
    )
    context.expect(
        "the connection goes on when policy allows it again",
        resumed is not None,
        "no data within 10 s" if resumed is None else f"data flows after {resumed:.1f} s",
    )
