# SPDX-License-Identifier: Apache-2.0
"""Two hosts and a router between them, each a network namespace; the router's kernel is the judge.

    left  10.1.0.0/16 fd01::/64 ── router ── right  10.2.0.0/16 fd02::/64
          10.3.0.0/16 fd03::/64                     10.4.0.0/16 fd04::/64

The second nets are for addresses that are translated.

The hosts are packet sockets: nothing answers by itself. The router forwards, and its nftables rules
write what `ct state` and direction a packet has into the packet's TTL (hop limit), where the other
host reads it. Connections are read over netlink.
"""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Iterable
from typing import NamedTuple

from .ctnetlink import Conntrack
from .namespace import CannotCompare, Namespace

LEFT, RIGHT = 0, 1
_MACS = ("02:00:00:00:01:02", "02:00:00:00:02:02")
_ROUTER_MACS = ("02:00:00:00:01:01", "02:00:00:00:02:01")
_IGNORE_OUTGOING = 23  # PACKET_IGNORE_OUTGOING of linux/if_packet.h
_ETH_P_ALL = 3

#: What a packet can be to the kernel, by the TTL that says so.
MARKS = {
    101: "invalid",
    102: "untracked",
    103: "new",
    104: "established original",
    105: "established reply",
    106: "related original",
    107: "related reply",
}


def rules() -> str:
    """The nftables rules that report."""
    lines: list[str] = []
    for ttl, mark in MARKS.items():
        state, _, direction = mark.partition(" ")
        match = f"ct state {state}" + (f" ct direction {direction}" if direction else "")
        lines += [f"{match} ip ttl set {ttl}", f"{match} ip6 hoplimit set {ttl}"]
    body = "\n".join(f"        {line}" for line in lines)
    return f"""
table inet judge {{
    chain report {{
        type filter hook forward priority filter; policy accept;
{body}
    }}
}}
"""


class Seen(NamedTuple):
    """A packet that came out: what the kernel called it, and the frame as it arrived."""

    mark: str
    frame: bytes


class Router:
    """The topology. `extra_rules` is more nftables text (NAT, helpers). CannotCompare if it fails.

    conntrack: the router's table.
    """

    def __init__(self, extra_rules: str = "") -> None:
        self._spaces: list[Namespace] = []
        self._sockets: list[socket.socket] = []
        try:
            self._build(extra_rules)
        except BaseException:
            self.close()
            raise

    def _build(self, extra_rules: str) -> None:
        router = self._space("router")
        hosts = [self._space("left"), self._space("right")]
        for index, host in enumerate(hosts):
            ours, theirs = ("left", "right")[index], "uplink"
            host.command(
                *("ip", "link", "add", theirs, "address", _MACS[index], "type", "veth"),
                *("peer", "name", ours, "address", _ROUTER_MACS[index], "netns", router.path),
            )
            for space, link in ((host, theirs), (router, ours)):
                space.command("ip", "link", "set", link, "addrgenmode", "none")
            host.setting(f"ipv6/conf/{theirs}/disable_ipv6", "1")
            router.setting(f"ipv6/conf/{ours}/accept_dad", "0")
            for space, link in ((host, theirs), (router, ours)):
                space.command("ip", "link", "set", link, "arp", "off", "multicast", "off")
                space.command("ip", "link", "set", link, "mtu", "9000", "up")
            # What a helper has written anew gets its checksum here: there is no hardware behind.
            router.command("ethtool", "-K", ours, "tx", "off")
            net = index + 1
            for gateway, address, form in (
                (f"192.0.2.{net}2", f"192.0.2.{net}1/32", "10.{}.0.0/16"),
                (f"fd0a:{net}::2", f"fd0a:{net}::1/128", "fd0{}::/64"),
            ):
                router.command("ip", "address", "add", address, "dev", ours)
                router.command(
                    "ip", "neigh", "replace", gateway, "lladdr", _MACS[index], "dev", ours
                )
                for own in (net, net + 2):
                    way = ("via", gateway, "dev", ours, "onlink")
                    router.command("ip", "route", "add", form.format(own), *way)
            self._sockets.append(host.run(_open, theirs))
        router.setting("ipv4/ip_forward", "1")
        router.setting("ipv6/conf/all/forwarding", "1")
        with contextlib.suppress(OSError):  # a user may not: then packets are not compared
            router.setting("netfilter/nf_conntrack_acct", "1")
        router.command("nft", "-f", "-", text=rules() + extra_rules)
        try:
            self.conntrack = router.run(Conntrack)
            self.conntrack.flush()
        except OSError as error:
            raise CannotCompare(
                f"the kernel's connections cannot be read: {error}; "
                "it needs nf_conntrack and nf_conntrack_netlink"
            ) from None

    def _space(self, name: str) -> Namespace:
        space = Namespace(name)
        self._spaces.append(space)
        return space

    def send(self, side: int, frame: bytes, patience: float) -> Seen | None:
        """Send an IP frame from a host (MAC addresses are filled in); None if nothing came out
        within `patience` seconds.

        Only what arrives at the other host counts; packets are told apart by nothing, so one is
        sent at a time.
        """
        out, into = self._sockets[side], self._sockets[1 - side]
        while True:
            try:
                into.recv(65536, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
        macs = bytes.fromhex((_ROUTER_MACS[side] + _MACS[side]).replace(":", ""))
        out.send(macs + frame[12:])
        deadline = time.monotonic() + patience
        while True:
            try:
                got = into.recv(65536, socket.MSG_DONTWAIT)
            except BlockingIOError:
                left = deadline - time.monotonic()
                if left <= 0 or not select.select([into], [], [], left)[0]:
                    return None
                continue
            ttl = got[22] if got[12:14] == b"\x08\x00" else got[21]
            if ttl in MARKS:  # else the router has sent it of its own accord
                return Seen(MARKS[ttl], got)

    def set_conntrack(self, sysctls: Iterable[tuple[str, int]]) -> None:
        """Set net.netfilter.nf_conntrack_<name> in the router. CannotCompare if it may not be."""
        for name, value in sysctls:
            try:
                self._spaces[0].setting(f"netfilter/nf_conntrack_{name}", str(value))
            except OSError as error:
                raise CannotCompare(f"cannot set nf_conntrack_{name}: {error}") from None

    def close(self) -> None:
        """Remove everything."""
        for opened in self._sockets:
            opened.close()
        conntrack = getattr(self, "conntrack", None)
        if conntrack is not None:
            conntrack.close()
        for space in self._spaces:
            space.close()


def _open(link: str) -> socket.socket:
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    opened.setsockopt(263, _IGNORE_OUTGOING, 1)  # SOL_PACKET
    opened.bind((link, _ETH_P_ALL))  # until here it captures nothing
    return opened
