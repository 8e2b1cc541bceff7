# SPDX-License-Identifier: Apache-2.0
"""Policies of the tests, in the syntax of ovs-ofctl."""

from __future__ import annotations

from collections.abc import Sequence

#: From inside (a, b) everything may begin; from outside only TCP port 80, and whatever the tagged
#: station begins.  Inside, a station speaks with its own addresses only.
_INSIDE = {"a": ("10.0.0.1", "fd00::1"), "b": ("10.0.0.2", "fd00::2")}
_COMMIT = "ct(commit,zone=1,table=2)"


def _policy() -> list[str]:
    flows = ["table=0, priority=100, arp, actions=NORMAL"]
    for name, (ipv4, ipv6) in _INSIDE.items():
        flows += [
            f"table=0, priority=60, in_port={name}, ip, nw_src={ipv4}, actions=ct(zone=1,table=1)",
            f"table=0, priority=60, in_port={name}, ipv6, ipv6_src={ipv6}, "
            "actions=ct(zone=1,table=1)",
        ]
    for name in ("ext", "tag"):
        for family in ("ip", "ipv6"):
            flows.append(
                f"table=0, priority=50, in_port={name}, {family}, actions=ct(zone=1,table=1)"
            )
    flows += [
        "table=0, priority=0, actions=drop",
        "table=1, priority=100, ct_state=+trk+inv, actions=drop",
        "table=1, priority=95, ct_state=+trk+rel, actions=goto_table:2",
        "table=1, priority=90, ct_state=+trk+est, actions=goto_table:2",
    ]
    new = [f"in_port={name}, {family}" for name in ("a", "b", "tag") for family in ("ip", "ipv6")]
    new += [f"in_port=ext, {family}, tp_dst=80" for family in ("tcp", "tcp6")]
    flows += [f"table=1, priority=80, {who}, ct_state=+trk+new, actions={_COMMIT}" for who in new]
    return [*flows, "table=1, priority=0, actions=drop", "table=2, priority=0, actions=NORMAL"]


POLICY = "\n".join(_policy()) + "\n"


def denying(port: int, *, protocols: Sequence[str] = ("tcp", "udp")) -> str:
    """The same policy, except that nothing passes from or to this TCP or UDP port any more."""
    extra = [
        f"table=1, priority=99, {protocol}{version}, tp_{side}={port}, actions=drop"
        for protocol in protocols
        for version in ("", "6")
        for side in ("src", "dst")
    ]
    return POLICY + "\n".join(extra) + "\n"


def counting(ports: Sequence[int]) -> str:
    """The same policy; TCP and UDP to and from each of these ports pass a flow of their own."""
    extra = [
        f"table=2, priority=10, {protocol}{version}, tp_{side}={port}, actions=NORMAL"
        for port in ports
        for protocol in ("tcp", "udp")
        for version in ("", "6")
        for side in ("src", "dst")
    ]
    return POLICY + "\n".join(extra) + "\n"
