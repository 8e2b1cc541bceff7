# SPDX-License-Identifier: Apache-2.0
"""Packets of FTP and TFTP: what they say names the ends that they are sent between.

The ends have addresses whose texts are equally long for every trace, so that sequence numbers fit
when a trace is sent again between others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from p4ct.conntrack import NatRange, Tuple
from p4ct.packet import Packet
from p4ct.packet.text import format_ip

from .nat_traces import NatEnds, NatSubject
from .packets import Ends, Tcp, Udp

LEFT, RIGHT = 0, 1

#: The texts of addresses outside are longer or shorter than those inside. Data connections are
#: translated because they were expected, or not at all.
FTP_SNAT_RULES = """
table inet translate {
    chain source {
        type nat hook postrouting priority srcnat;
        meta l4proto . th dport != { tcp . 21, udp . 69 } return
        snat ip prefix to ip saddr map { 10.1.1.0/24 : 10.3.111.0/24, 10.1.111.0/24 : 10.3.1.0/24 }
        snat ip6 prefix to ip6 saddr map { fd01::/64 : fd03::/64 }
    }
}
"""
FTP_DNAT_RULES = """
table inet translate {
    chain target {
        type nat hook prerouting priority dstnat;
        meta l4proto . th dport != { tcp . 21, udp . 69 } return
        dnat ip prefix to ip daddr map { 10.4.111.0/24 : 10.2.1.0/24, 10.4.1.0/24 : 10.2.111.0/24 }
        dnat ip6 prefix to ip6 daddr map { fd04::/64 : fd02::/64 }
    }
}
"""
#: After the kernel knows the connection, and before anything is translated.
HELPER_RULES = """
table inet helpers {
    ct helper ftp { type "ftp" protocol tcp; }
    ct helper tftp { type "tftp" protocol udp; }
    chain assign {
        type filter hook prerouting priority -150;
        tcp dport 21 ct helper set "ftp"
        udp dport 69 ct helper set "tftp"
    }
}
"""


def _address(version: int, net: int, long: bool, number: int) -> bytes:
    if version == 4:
        return bytes((10, net, 111 if long else 1, 100 + number % 100))
    return bytes((0xFD, net)) + bytes(12) + (0x1000 + number % 0xE000).to_bytes(2, "big")


def outside(address: bytes) -> bytes:
    """The address of left or right that the other end knows, with translation."""
    net = bytes([address[1] + 2])
    third = bytes([112 - address[2]]) if len(address) == 4 else address[2:3]
    return address[:1] + net + third + address[3:]


def inside(address: bytes) -> bytes:
    """The reverse of `outside`."""
    own = outside(address)
    return own[:1] + bytes([address[1] - 2]) + own[2:]


def ftp_ends(number: int, version: int, port: int = 21) -> Ends:
    """Ends that no other `number` (0..59999) has."""
    long = bool(number // 100 % 2)
    addresses = _address(version, 1, long, number), _address(version, 2, not long, number)
    return NatEnds(version, addresses, (40000 + number // 200, port), addresses)


def ftp_snat_ends(number: int, version: int, port: int = 21) -> Ends:
    ends = ftp_ends(number, version, port)
    left, right = ends.addresses
    return NatEnds(version, ends.addresses, ends.ports, (outside(left), right))


def ftp_dnat_ends(number: int, version: int, port: int = 21) -> Ends:
    ends = ftp_ends(number, version, port)
    left, right = ends.addresses
    return NatEnds(version, ends.addresses, ends.ports, (left, outside(right)))


@dataclass(frozen=True)
class FtpLine(Tcp):
    """A segment of the control connection.

    text: in it {six} is the sender's IPv4 address and `port` as six numbers, {address} and {port}
    are the two, and {other} is an address that the sender has not.
    """

    text: str = ""
    port: int = 0

    def payload(self, ends: Ends) -> bytes:
        own = ends.addresses[self.way]
        text = format_ip(own)
        six = f"{text.replace('.', ',')},{self.port >> 8},{self.port & 255}"
        other = format_ip(own[:-1] + bytes([own[-1] ^ 1]))
        said = self.text.replace("{six}", six).replace("{address}", text)
        return said.replace("{other}", other).replace("{port}", str(self.port)).encode()


@dataclass(frozen=True)
class Data(Tcp):
    """A segment between two other ports: (left's, right's)."""

    ports: tuple[int, int] = (0, 0)

    def frame(self, ends: Ends) -> bytes:
        return super().frame(replace(ends, ports=self.ports))

    def key(self, ends: Ends) -> Tuple:
        return super().key(replace(ends, ports=self.ports))


@dataclass(frozen=True)
class Tftp(Udp):
    """A datagram with this operation code; port: right's, 0: the port that it is asked at."""

    code: int = 0
    port: int = 0

    def payload(self, ends: Ends) -> bytes:
        return self.code.to_bytes(2, "big") + bytes(self.length)

    def frame(self, ends: Ends) -> bytes:
        return super().frame(self._between(ends))

    def key(self, ends: Ends) -> Tuple:
        return super().key(self._between(ends))

    def _between(self, ends: Ends) -> Ends:
        return replace(ends, ports=(ends.ports[LEFT], self.port or ends.ports[RIGHT]))


class HelperNatSubject(NatSubject):
    """Translates control connections only, as `FTP_SNAT_RULES` and `FTP_DNAT_RULES`."""

    def __init__(self, source: bool) -> None:
        super().__init__(source)
        self.helpers = True

    def range(self, pkt: Packet) -> NatRange | None:
        if not self.alg(pkt):
            return None
        if self.source and pkt.src[1] == 1:
            address = outside(pkt.src)
        elif not self.source and pkt.dst[1] == 4:
            address = inside(pkt.dst)
        else:
            return None
        return NatRange(self.source, address, address)
