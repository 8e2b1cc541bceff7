# SPDX-License-Identifier: Apache-2.0
"""Timeouts in seconds, with the defaults and names of Linux (nf_conntrack-sysctl), by zone
and by the policy that a flow has given a connection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace

from p4ct.packet.parse import PROTO_GRE, PROTO_ICMP, PROTO_ICMPV6, PROTO_UDP


def _no_zones() -> dict[int, Timeouts]:
    return {}


def _no_policies() -> dict[str, Timeouts]:
    return {}


_NO_TIMEOUTS = frozenset({"zones", "policies", "special", "tcp", "sctp"})


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds; each must be above 0 (ValueError). `zones` holds whole replacements for a zone, and
    `policies` those of connections that were committed with `timeout=NAME`.

    Field names are those of `net.netfilter.nf_conntrack_<proto>_timeout_<state>`. tcp_max_retrans
    applies from three retransmissions on and at a zero window, tcp_unacknowledged while data waits
    for its ACK and to a connection picked up midstream; both only ever shorten.
    """

    tcp_syn_sent: float = 120
    tcp_syn_sent2: float = 120
    tcp_syn_recv: float = 60
    tcp_established: float = 432000
    tcp_fin_wait: float = 120
    tcp_close_wait: float = 60
    tcp_last_ack: float = 30
    tcp_time_wait: float = 120
    tcp_close: float = 10
    tcp_max_retrans: float = 300
    tcp_unacknowledged: float = 300
    udp: float = 30
    udp_stream: float = 120
    icmp: float = 30
    icmpv6: float = 30
    gre: float = 30
    gre_stream: float = 180
    sctp_closed: float = 10
    sctp_cookie_wait: float = 3
    sctp_cookie_echoed: float = 3
    sctp_established: float = 210
    sctp_shutdown_sent: float = 3
    sctp_shutdown_recd: float = 3
    sctp_shutdown_ack_sent: float = 3
    sctp_heartbeat_sent: float = 30
    generic: float = 600
    zones: Mapping[int, Timeouts] = field(default_factory=_no_zones)
    policies: Mapping[str, Timeouts] = field(default_factory=_no_policies)
    special: bool = field(init=False, repr=False, compare=False)
    """There are zones or policies with timeouts of their own."""
    tcp: tuple[float, ...] = field(init=False, repr=False, compare=False)
    """The TCP timeouts indexed by `TcpState`."""
    sctp: tuple[float, ...] = field(init=False, repr=False, compare=False)
    """The SCTP timeouts indexed by `SctpState`."""

    def __post_init__(self) -> None:
        for item in fields(self):
            if item.name in _NO_TIMEOUTS:
                continue
            value = getattr(self, item.name)
            if not value > 0:
                raise ValueError(f"timeout {item.name} must be above 0 seconds, not {value}")
        by_state = (
            self.tcp_syn_sent,  # NONE is left with the first packet; never read
            self.tcp_syn_sent,
            self.tcp_syn_recv,
            self.tcp_established,
            self.tcp_fin_wait,
            self.tcp_close_wait,
            self.tcp_last_ack,
            self.tcp_time_wait,
            self.tcp_close,
            self.tcp_syn_sent2,
        )
        object.__setattr__(self, "tcp", by_state)
        by_state = (
            self.sctp_closed,  # NONE is left with the first packet
            self.sctp_closed,
            self.sctp_cookie_wait,
            self.sctp_cookie_echoed,
            self.sctp_established,
            self.sctp_shutdown_sent,
            self.sctp_shutdown_recd,
            self.sctp_shutdown_ack_sent,
            self.sctp_heartbeat_sent,
        )
        object.__setattr__(self, "sctp", by_state)
        object.__setattr__(self, "special", bool(self.zones or self.policies))

    def of_protocol(self, version: int, proto: int) -> float:
        """What a protocol without states of its own gives a connection that is no stream."""
        if proto == PROTO_UDP:
            return self.udp
        if version == 4 and proto == PROTO_ICMP:
            return self.icmp
        if version == 6 and proto == PROTO_ICMPV6:
            return self.icmpv6
        return self.gre if proto == PROTO_GRE else self.generic

    def for_zone(self, zone: int) -> Timeouts:
        """The timeouts that hold in `zone`."""
        return self.zones.get(zone, self)

    def of(self, zone: int, policy: str) -> Timeouts:
        """Those of a connection in `zone` with this timeout policy (empty: none). A policy that is
        not known any more, after a restart with another configuration, is none."""
        if policy:
            found = self.policies.get(policy)
            if found is not None:
                return found
        return self.zones.get(zone, self)

    def with_policy(self, name: str, **changes: float) -> Timeouts:
        """A copy with a policy of this name; what it does not name is as outside of zones."""
        policy = replace(self, zones={}, policies={}, **changes)
        return replace(self, policies={**self.policies, name: policy})

    def with_zone(self, zone: int, **changes: float) -> Timeouts:
        """A copy in which `zone` has the named timeouts changed; TypeError for an unknown name."""
        changed = replace(self.for_zone(zone), zones={}, policies={}, **changes)
        return replace(self, zones={**self.zones, zone: changed})


TIMEOUTS = tuple(item.name for item in fields(Timeouts) if item.name not in _NO_TIMEOUTS)
"""The names of all timeouts."""
