# SPDX-License-Identifier: Apache-2.0
"""Would the policy of now make the entries that a record has?

Both directions are asked for with a synthesised packet (an ACK, a datagram, an echo) against the
state that conntrack has; nothing is counted, learned or committed.
"""

from __future__ import annotations

from enum import Enum
from typing import Protocol

from p4ct.conntrack import Tracker
from p4ct.offload import reasons
from p4ct.offload.decide import half_of
from p4ct.offload.record import Half, L2Key, Record
from p4ct.packet import build
from p4ct.packet.parse import Packet, parse
from p4ct.pipeline.access import PeekConntrack
from p4ct.pipeline.execute import Pipeline

__all__ = ["Judgement", "Looks", "decide_again", "judge", "sample_packet"]

TCP, UDP = 6, 17
ACK = 0x10


class Looks(Protocol):
    """What an entry matches: a `Half`, or what is known before there is one."""

    @property
    def l2(self) -> L2Key: ...
    @property
    def version(self) -> int: ...
    @property
    def src(self) -> bytes: ...
    @property
    def dst(self) -> bytes: ...
    @property
    def proto(self) -> int: ...
    @property
    def sport(self) -> int: ...
    @property
    def dport(self) -> int: ...


def sample_packet(half: Looks, tcp_flags: int = ACK, seq: int = 0, ack: int = 0) -> Packet:
    """A packet that the entry of this half would match; of an open connection by default."""
    source, target = half.l2.eth_src, half.l2.eth_dst
    if half.proto == TCP:
        frame = build.tcp_frame(
            eth_src=source,
            eth_dst=target,
            src=half.src,
            dst=half.dst,
            sport=half.sport,
            dport=half.dport,
            seq=seq,
            ack=ack,
            flags=tcp_flags,
        )
    elif half.proto == UDP:
        frame = build.udp_frame(
            eth_src=source,
            eth_dst=target,
            src=half.src,
            dst=half.dst,
            sport=half.sport,
            dport=half.dport,
        )
    else:
        frame = build.icmp_echo_frame(
            eth_src=source,
            eth_dst=target,
            src=half.src,
            dst=half.dst,
            identifier=half.sport,
            reply=half.dport >> 8 in (0, 129),
        )
    return parse(frame)


def decide_again(half: Half, pipeline: Pipeline, tracker: Tracker, now: float) -> Half | str | None:
    """What the pipeline makes of this direction now; POLICY_DROPS if nothing leaves."""
    pkt = sample_packet(half)
    result = pipeline.process(pkt, half.l2.vport, now, ct=PeekConntrack(tracker))
    if result.verdict == "drop":
        return f"{reasons.POLICY_DROPS}: {result.drop_reason}"  # also before any ct()
    return half_of(pkt, half.l2.vport, result, pipeline.ports)


class Judgement(Enum):
    """What the policy of now makes of a record."""

    SAME = "same"  # the same entries
    OTHER = "other"  # other entries, which forward both directions
    SOFTWARE = (
        "software"  # no entries: some packets of a direction may be dropped, or all forwarded
    )
    DENIED = "denied"  # dropped in at least one direction


def judge(record: Record, pipeline: Pipeline, tracker: Tracker, now: float) -> Judgement:
    """Decide both directions of a record again: same output, same flows, same zones?

    One that nobody has answered has one direction, and begins anew with its next packet.
    """
    found = Judgement.OTHER if record.one_way else Judgement.SAME
    for half in record.halves[:1] if record.one_way else record.halves:
        again = decide_again(half, pipeline, tracker, now)
        if isinstance(again, str) and again.startswith(reasons.POLICY_DROPS):
            return Judgement.DENIED
        if not isinstance(again, Half):
            found = Judgement.SOFTWARE
        elif found is Judgement.SAME and again._replace(policy_version=half.policy_version) != half:
            found = Judgement.OTHER
    return found
