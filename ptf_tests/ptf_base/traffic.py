# SPDX-License-Identifier: Apache-2.0
"""Traffic verbs: send, and say what must come out, where, and that nothing else does.

That nothing comes is never shown by waiting. A target takes frames of one port in order and sends
frames to one port in order, so a sentinel that has come back proves that what was sent before it
has been dealt with.
"""

from __future__ import annotations

import ipaddress
from typing import Any, NamedTuple

from ptf_base import frames
from ptf_base.p4info import Value
from ptf_base.switch import Switch
from ptf_base.window import PAIR_OF_ZEROS, Pair
from ptf_base.wire import PacketIn

# Long enough for a busy machine; only a case that fails waits for it.
PATIENCE = 5.0
# No case has a vport with this tag, so its frames always go up as UNKNOWN_VPORT.
SENTINEL_VLAN = 4094
SENTINEL_MARK = b"sentinel "

# Where the program stops for each reason; the rest are found by the trap.
STEP_OF = {
    "UNKNOWN_VPORT": "VPORT",
    "MISS": "FLOW",
    "DRAIN": "CT",
    "NO_NEXT_HOP": "NEXT_HOP",
    "MTU_EXCEEDED": "NEXT_HOP",
    "WINDOW": "WINDOW",
}


class Vport(NamedTuple):
    """A logical port: `id` 0 stands for one that the eswitch does not know.

    Through a tunnel, `vni` and `outer_src` are what its packet-ins say.
    """

    id: int
    port: int
    vlan: int | None = None
    vni: int = 0
    outer_src: str = ""


class EntryHit(NamedTuple):
    """What a packet-in says about the connection entry that it hit."""

    ct_hit: str = "MISS"
    direction: int = 0
    conn_index: int = 0
    generation: int = 0


NO_HIT = EntryHit()


class TrafficVerbs:
    """Needs `switch`; a case begins with nothing under way."""

    switch: Switch

    def start_traffic(self) -> None:
        self._used_ports: set[int] = set()
        self._sent_out = False

    def send(self, vport: Vport, frame: bytes) -> None:
        """Send a frame into the port of `vport`, as it is."""
        self._used_ports.add(vport.port)
        sent = self.switch.dataplane.send(0, vport.port, frame)
        if sent != len(frame):
            raise AssertionError(f"port {vport.port}: sent {sent} of {len(frame)} bytes")

    def packet_out(self, frame: bytes, op: Value, **fields: Value) -> None:
        """Send a packet-out: `op` is a member of PacketOutOp or a raw number."""
        self._sent_out = True
        self.switch.wire.packet_out(frame, {"op": op, **fields})
        self.switch.ledger.sent_out(op)

    def verify_forwarded(self, port: int, frame: bytes) -> None:
        """The next frame that leaves on `port` is exactly `frame`."""
        got = self._next_frame(port, PATIENCE)
        if got is None:
            raise AssertionError(
                f"port {port}: nothing left\n  expected {frames.summary(frame)}" + self._elsewhere()
            )
        if got != frame:
            raise AssertionError(f"port {port}: {frames.difference(frame, got)}")
        self.switch.ledger.left(port)

    def verify_punt(
        self,
        frame: bytes,
        vport: Vport,
        reason: str,
        *,
        step: Value | None = None,
        hit: EntryHit = NO_HIT,
        frame_length: int | None = None,
        window: Pair | None = None,
        verdict: str = "NOT_CHECKED",
    ) -> None:
        """The next packet-in is `frame`, unchanged, and every field of its header is right.

        `frame_length` is that of the frame, unless outer headers were removed. `window` are the
        registers: 0 where no entry was hit, not compared where one was and none are given.
        """
        expected: dict[str, Value] = {
            "ingress_port": vport.port,
            "vport": vport.id,
            "reason": reason,
            "step": STEP_OF.get(reason, "TRAP") if step is None else step,
            **hit._asdict(),
            "tunnel_id": vport.vni,
            "outer_src": int(ipaddress.ip_address(vport.outer_src)) if vport.outer_src else 0,
            "frame_length": len(frame) if frame_length is None else frame_length,
            "window_verdict": verdict,
        }
        if window is None and hit.ct_hit == "MISS":
            window = PAIR_OF_ZEROS
        if window is not None:
            expected |= window.fields()
        got = self.next_packet_in()
        if got is None:
            raise AssertionError(
                f"nothing came up\n  expected {frames.summary(frame)}, {reason}" + self._elsewhere()
            )
        wrong = [
            f"  {name}: expected {value}, got {got.fields.get(name)}"
            for name, value in expected.items()
            if got.fields.get(name) != value
        ]
        if got.frame != frame:
            wrong.append(f"  the frame {frames.difference(frame, got.frame)}")
        if wrong:
            lines = [f"wrong packet-in for {frames.summary(frame)}", *wrong]
            raise AssertionError("\n".join(lines))
        self.switch.ledger.came_up(got.fields, frame)

    def next_packet_in(self, timeout: float = PATIENCE) -> PacketIn | None:
        """The next packet-in; None after `timeout` seconds."""
        return self.switch.wire.next_packet_in(timeout)

    def punts(
        self,
        vport: Vport,
        frame: bytes,
        reason: str,
        *,
        as_: bytes | None = None,
        **expected: Any,
    ) -> None:
        """Send a frame that must come up: unchanged, or as `as_` where its tunnel ends here.

        `expected` are the options of `verify_punt`.
        """
        self.send(vport, frame)
        if as_ is not None:
            expected["frame_length"] = len(frame)
        self.verify_punt(frame if as_ is None else as_, vport, reason, **expected)

    def forwards(self, vport: Vport, frame: bytes, port: int, as_: bytes | None = None) -> None:
        """Send a frame that must leave on `port`, unchanged unless `as_` says otherwise."""
        self.send(vport, frame)
        self.verify_forwarded(port, frame if as_ is None else as_)

    def verify_nothing_else(self) -> None:
        """Everything sent so far has been dealt with, and nothing is left that no verb took."""
        extra = self.settle()
        if extra:
            raise AssertionError("\n".join(["what no one expected:", *extra]))

    def settle(self) -> list[str]:
        """Wait, by sentinels, until nothing is under way; returns what came meanwhile."""
        extra: list[str] = []
        if not self._used_ports and not self._sent_out:
            return extra
        # First the ways in, up to the decision; then, with all decided, the ways out.
        for port in sorted(self._used_ports):
            sentinel = self._sentinel(frames.ethernet(frames.VM1, frames.VM2, vlan=SENTINEL_VLAN))
            self.switch.dataplane.send(0, port, sentinel)
            extra += self._await_packet_in(sentinel, f"a frame sent into port {port}")
        if self._sent_out:
            sentinel = self._sentinel(frames.ethernet(frames.VM1, frames.VM2, vlan=SENTINEL_VLAN))
            port = self.switch.ports[0]
            self.switch.wire.packet_out(sentinel, {"op": "PIPELINE", "port": port})
            extra += self._await_packet_in(sentinel, "a pipeline packet-out")
        for port in self.switch.ports:
            sentinel = self._sentinel(frames.ethernet(frames.VM1, frames.VM2))
            self.switch.wire.packet_out(sentinel, {"op": "SEND", "port": port})
            extra += self._await_frame(port, sentinel)
        self.start_traffic()
        return extra

    def _sentinel(self, header: frames.Packet) -> bytes:
        header.lastlayer().type = frames.ETHERTYPE_EXPERIMENTAL
        return bytes(header / frames.Raw(SENTINEL_MARK + b"%d" % self.switch.next_serial()))

    def _await_packet_in(self, sentinel: bytes, what: str) -> list[str]:
        extra: list[str] = []
        while (got := self.switch.wire.next_packet_in(PATIENCE)) is not None:
            if got.frame == sentinel:
                return extra
            extra.append(describe_packet_in(got))
        raise AssertionError("\n".join([f"the sentinel is lost: {what} did not come up", *extra]))

    def _await_frame(self, port: int, sentinel: bytes) -> list[str]:
        extra: list[str] = []
        while (got := self._next_frame(port, PATIENCE)) is not None:
            if got == sentinel:
                return extra
            extra.append(f"  left on port {port}: {frames.summary(got)}")
        raise AssertionError(
            "\n".join([f"the sentinel is lost: a packet-out to port {port} did not leave", *extra])
        )

    def _next_frame(self, port: int, timeout: float) -> bytes | None:
        return self.switch.dataplane.poll(0, port, timeout).packet

    def _elsewhere(self) -> str:
        """What came out instead, for the message of a case that has failed."""
        lines: list[str] = []
        while (got := self.next_packet_in(0)) is not None:
            lines.append(describe_packet_in(got))
        for port in self.switch.ports:
            while (frame := self._next_frame(port, 0)) is not None:
                lines.append(f"  left on port {port}: {frames.summary(frame)}")
        return "".join("\n" + line for line in lines or ["  and nothing came out elsewhere"])


def describe_packet_in(got: PacketIn) -> str:
    """One line about a packet-in, for messages."""
    fields = " ".join(f"{k}={v}" for k, v in got.fields.items() if v and "pad" not in k)
    return f"  came up: {frames.summary(got.frame)}\n    {fields}"
