# SPDX-License-Identifier: Apache-2.0
"""Fragments that the hosts' kernels make, and some that none would make."""

from __future__ import annotations

from topo import control
from topo.plan import EXT, VM1
from topo.scenario.context import Context, StepFailed

PORT, SPORT = 7007, 40007
LONG, SHORT = 4000, 100
PINGS = 3
#: A datagram of 4008 bytes: in three fragments, and what is odd about them.
SIZE = 4008
PIECES = ("0:1480", "1480:1480", "2960:1048")
OVERLAP = "1472:1480"


def pings(context: Context) -> None:
    """Echo requests of 4000 bytes, in three fragments each way."""
    for address in (EXT.ipv4, EXT.ipv6):
        before = reassembled()
        command = f"ping -n -q -c {PINGS} -i 0.2 -W 2 -s {LONG} {address}"
        code, output, errors = context.run(VM1, command.split(), timeout=30.0)
        received = f" {PINGS} received" in output
        whole = reassembled() - before
        proto = "icmpv6" if ":" in address else "icmp"
        counts = [
            (item["original"]["packets"], item["reply"]["packets"])
            for item in control.query("conntrack", "list", proto, f"dst={address}")
        ]
        context.expect(
            f"ping -s {LONG} {address}",
            code == 0 and received and whole == 2 * PINGS and counts == [(3 * PINGS, 3 * PINGS)],
            f"{output.strip().splitlines()[-2:]}{errors}; {whole} packets became whole, "
            f"frames there and back: {counts}",
        )


def udp(context: Context) -> None:
    """Datagrams of 4000 bytes of a connection that is offloaded, between short ones."""
    for number, address in enumerate((EXT.ipv4, EXT.ipv6)):
        sport = SPORT + number
        sizes = [SHORT] * 5 + [LONG] * 5 + [SHORT] * 5
        words = (address, str(PORT), str(sport), *map(str, sizes))
        answer = context.run_program(VM1, "datagrams", "send", *words, timeout=60.0)
        (item,) = control.connections(sport=sport)
        frames = [item[side]["packets"] for side in ("original", "reply")]
        expected = 10 + 5 * 3
        context.expect(
            f"UDP of {LONG} bytes to {address}, offloaded",
            answer == {"sent": 15, "echoed": 15}
            and item["offloaded"]
            and control.hardware_packets(item) > 0
            and frames == [expected, expected],
            f"{answer['echoed']} of 15 echoed; frames there and back {frames}, "
            f"{control.hardware_packets(item)} by entries; {item['line']}",
        )


def odd(context: Context) -> None:
    """Out of order they arrive; with a gap or an overlap nothing does, and it is counted."""
    first, second, third = PIECES
    cases = (
        ("in order", PIECES, True, ""),
        ("out of order", (third, first, second), True, ""),
        ("repeated", (first, first, second, third), True, "repetition"),
        ("with a gap", (first, third), False, "not complete within 0.8 s"),
        ("overlapping", (first, second, OVERLAP, third), False, "overlap"),
    )
    for number, (name, pieces, arrives, reason) in enumerate(cases):
        before = drops()
        words = (EXT.ipv4, str(PORT), str(SPORT + 10 + number), str(SIZE), *pieces)
        echoed = context.run_program(VM1, "odd_fragments", *words, timeout=20.0)
        control.wait_until(nothing_waits, timeout=5.0)
        after = drops()
        grown = {why: n - before.get(why, 0) for why, n in after.items() if n > before.get(why, 0)}
        lost = {"": {}, "repetition": {"fragment: repetition": 1}}.get(
            reason, {f"fragment: {reason}": len(pieces)}
        )
        context.expect(
            f"fragments {name}",
            echoed == arrives and grown == lost,
            f"{'echoed' if echoed else 'not echoed'}; dropped: {grown or 'nothing'}",
        )


def serve(context: Context) -> None:
    """The echo server on ext."""
    context.serve(EXT, "datagrams", "serve", str(PORT))
    if not nothing_waits():
        raise StepFailed("fragments are waiting before any was sent")


def nothing_waits() -> bool:
    """Whether every fragment has found its packet or its end."""
    return not control.status()["packets"]["fragments"]["waiting"]


def reassembled() -> int:
    """Packets that became whole so far."""
    return control.status()["packets"]["fragments"]["reassembled"]


def drops() -> dict[str, int]:
    """Fragments that the controller has dropped, by reason."""
    counts: dict[str, int] = control.status()["drops"]["pipeline"]
    return {reason: number for reason, number in counts.items() if reason.startswith("fragment")}
