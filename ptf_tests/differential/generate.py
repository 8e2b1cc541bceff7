# SPDX-License-Identifier: Apache-2.0
"""A whole case from a seed: the same seed, program and size give the same case."""

from __future__ import annotations

import random

from ptf_base.p4info import P4Names, Value
from ptf_base.target import PORTS

from differential import pools as p
from differential.case import BATCH, Batch, Case, Stimulus, Way
from differential.changes import Changes
from differential.packets import Packets
from differential.world import World

OPS_OF_PIPELINE = {"PIPELINE"}


def generate(seed: str, names: P4Names, packets: int) -> Case:
    """About as many entries as make most packets hit something, and exactly `packets` packets."""
    rng = random.Random(seed)
    world = World(rng, names, scale=min(1.0, 0.2 + packets / 5000))
    maker = Packets(rng, world)
    outs = PacketOuts(rng, world, maker)
    batches: list[Batch] = []
    if "WINDOW_WRITE" in outs.ops:
        seeds = [outs.window_write(index) for index in world.pools.conn_indices]
        seeds = seeds[: packets // 4]
        batches += _split(Way.DIRECT, 0, seeds)
        packets -= len(seeds)
    last: list[Stimulus] = []
    if "WINDOW_READ" in outs.ops:
        # Registers end equal, too.
        last = [outs.window_read(index) for index in world.pools.conn_indices][: packets // 4]
        packets -= len(last)
    changes = Changes(rng, world)
    while packets:
        if rng.random() < 0.2:
            batches.append(Batch(Way.WRITE, 0, changes.some()))
        size = min(packets, rng.choice((BATCH, BATCH, BATCH, 8, 1)))
        packets -= size
        port = rng.randrange(PORTS)
        way = rng.choices((Way.WIRE, Way.PIPELINE, Way.DIRECT), (78, 11, 11))[0]
        make = {Way.WIRE: outs.wire, Way.PIPELINE: outs.pipeline, Way.DIRECT: outs.direct}[way]
        batches.append(Batch(way, port, tuple(make(port) for _ in range(size))))
    batches += _split(Way.DIRECT, 0, last)
    return Case(tuple(world.entries), tuple(batches))


class PacketOuts:
    """Packets by the way that they enter."""

    def __init__(self, rng: random.Random, world: World, packets: Packets) -> None:
        self._rng = rng
        self._world = world
        self._packets = packets
        self._header = world.names.header("packet_out")
        self.ops = world.names.enum("PacketOutOp")
        self._direct_ops = [value for op, value in self.ops.items() if op not in OPS_OF_PIPELINE]

    def wire(self, port: int) -> Stimulus:
        return Stimulus(self._packets.frame(port))

    def pipeline(self, port: int) -> Stimulus:
        """As if received on `port`, or on one that there is not."""
        rng = self._rng
        if rng.random() < 0.05:
            port = rng.choice((p.NO_PORT, p.DROP_PORT, rng.getrandbits(9)))
        return Stimulus(self._payload(), self._fields(op=self.ops["PIPELINE"], port=port))

    def direct(self, _: int) -> Stimulus:
        """Every other operation, and such as there are not."""
        rng = self._rng
        op = rng.choice(self._direct_ops)
        if op in (self.ops.get("WINDOW_WRITE"), self.ops.get("WINDOW_MERGE")):
            return self.window_write(rng.choice(self._world.pools.conn_indices), op)
        if rng.random() < 0.08:
            op = rng.choice([o for o in range(256) if o not in self.ops.values()])
        return Stimulus(self._payload(), self._fields(op=op))

    def window_write(self, index: int, op: int | None = None) -> Stimulus:
        """End, maximum end, maximum window, highest ack and scale, for both directions.

        `op`: WINDOW_WRITE unless it is given.
        """
        rng, pools = self._rng, self._world.pools
        payload = b""
        for _ in range(2):
            window = rng.choice((0, 512, 29200, 65535, 1 << 20, rng.getrandbits(32)))
            end = pools.sequence(index)
            # Most are as a connection has them, so that many segments lie inside the window.
            limit = (end + window) % (1 << 32) if rng.random() < 0.7 else pools.sequence(index)
            words = (end, limit, window, pools.sequence(index))
            payload += b"".join(w.to_bytes(4, "big") for w in words)
            payload += bytes([rng.choice((0, 7, 14, rng.getrandbits(8)))])
        if rng.random() < 0.1:
            payload = payload[: rng.randrange(len(payload))] + rng.choice((b"", b"trailing"))
        fields = self._fields(op=op or self.ops["WINDOW_WRITE"], conn_index=index)
        return Stimulus(payload, fields)

    def window_read(self, index: int) -> Stimulus:
        fields = self._fields(op=self.ops["WINDOW_READ"], conn_index=index)
        return Stimulus(self._packets.frame(0), fields)

    def _payload(self) -> bytes:
        """Unlike a frame on a wire, it may be shorter than 14 bytes, and empty."""
        frame = self._packets.frame(self._rng.randrange(PORTS))
        return (
            frame
            if self._rng.random() < 0.9
            else frame[: self._rng.randrange(self._rng.choice((15, 60)))]
        )

    def _fields(self, **known: int) -> dict[str, Value]:
        """The whole packet-out header: what is not `known` is drawn."""
        rng, pools = self._rng, self._world.pools
        drawn = {
            "port": pools.egress_port,
            "next_hop": lambda: rng.choice(pools.next_hops),
            "conn_index": lambda: rng.choice(pools.conn_indices),
        }
        fields: dict[str, Value] = {}
        for name, field in self._header.items():
            draw = drawn.get(name, lambda width=field.width: rng.getrandbits(width))
            fields[name] = known[name] if name in known else draw()
        return fields


def _split(way: Way, port: int, stimuli: list[Stimulus]) -> list[Batch]:
    groups = [tuple(stimuli[i : i + BATCH]) for i in range(0, len(stimuli), BATCH)]
    return [Batch(way, port, group) for group in groups]
