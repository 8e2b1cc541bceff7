# SPDX-License-Identifier: Apache-2.0
"""Steps about how connections end: reset, half-closed, idle."""

from __future__ import annotations

import time

from topo import control
from topo.plan import EXT, VM1
from topo.scenario.context import Context, StepFailed, Talk
from topo.scenario.traffic import expect_fast_path

ECHO_PORT = 7001
SINK_PORT = 7002
ANSWER_PORT = 7003
#: "At once", seconds: one batch of writes, and asking with a command.
AT_ONCE = 2.0
HALF_CLOSE_GOAL = 0.95
#: Of topo/p4ct.toml, seconds: offload.idle_timeout.tcp and conntrack.timeouts.tcp_established.
IDLE_TIMEOUT = 5.0
ESTABLISHED_TIMEOUT = 15.0


def start_listeners(context: Context) -> None:
    """The servers that these steps talk to, and one on port 22 that outside may not reach."""
    behaviours = (
        f"{ECHO_PORT}=echo",
        f"{SINK_PORT}=sink",
        f"{ANSWER_PORT}=answer:{context.sizes.half_close_bytes}",
    )
    context.serve(EXT, "listener", *behaviours)
    context.serve(VM1, "http_server", "80")
    context.serve(VM1, "listener", "22=echo")


def reset(context: Context) -> None:
    """A RST in the middle takes the entries away at once."""
    with Talk(context, VM1) as talk:
        talk.connect_offloaded(EXT.ipv4, ECHO_PORT)
        talk.must("reset")
        took = control.wait_until(lambda: not control.offloaded(talk.sport), timeout=AT_ONCE)
    context.expect(
        "a reset removes the entries at once",
        took is not None,
        f"still offloaded after {AT_ONCE:.0f} s" if took is None else f"gone within {took:.2f} s",
    )


def half_close(context: Context) -> None:
    """One direction ends; the other goes on sending, in hardware."""
    with Talk(context, VM1) as talk:
        talk.sport = talk.must("connect", EXT.ipv4, ANSWER_PORT, 10)["sport"]
        talk.must("stream")
        if control.wait_until(lambda: control.offloaded(talk.sport), timeout=5.0) is None:
            raise StepFailed("the connection was not offloaded within 5 s")
        received = talk.must("shutdown")["received"]
        wanted = context.sizes.half_close_bytes
        context.expect(
            "a half-closed connection goes on",
            received == wanted,
            f"{received:,} of {wanted:,} bytes came after our FIN",
        )
        expect_fast_path(context, "the open half goes by entries", talk.sport, HALF_CLOSE_GOAL)


def idle_begin(context: Context) -> None:
    """Open the connection that nobody uses from now on; idle_end looks at it later."""
    talk = Talk(context, VM1)
    since = time.monotonic()
    try:
        talk.connect_offloaded(EXT.ipv4, ECHO_PORT)
        since = time.monotonic()
        time.sleep(IDLE_TIMEOUT / 2)
        if not control.offloaded(talk.sport):
            raise StepFailed(f"it lost its entries within {IDLE_TIMEOUT / 2} s")
    except StepFailed:
        talk.__exit__()
        raise
    context.idle = (talk, since)


def idle_end(context: Context) -> None:
    """The idle connection loses its entries first and its place in conntrack later."""
    if context.idle is None:
        raise StepFailed("the connection was never offloaded")
    talk, since = context.idle
    with talk:
        left = IDLE_TIMEOUT + 10.0 - (time.monotonic() - since)
        gone = control.wait_until(lambda: not control.offloaded(talk.sport), max(left, 0.0), 0.5)
        entries_age = time.monotonic() - since
        left = IDLE_TIMEOUT + ESTABLISHED_TIMEOUT + 10.0 - (time.monotonic() - since)
        forgotten = control.wait_until(
            lambda: not control.connections(talk.sport), max(left, 0.0), 0.5
        )
        age = time.monotonic() - since
    entries = "gone" if gone is not None else "still there"
    connection = "gone" if forgotten is not None else "still there"
    context.expect(
        "an idle connection expires",
        gone is not None and forgotten is not None,
        f"looked at {entries_age:.0f} s after its last packet: entries {entries}, at {age:.0f} s: "
        f"connection {connection} (timeouts {IDLE_TIMEOUT:.0f} s and {ESTABLISHED_TIMEOUT:.0f} s)",
    )
