# SPDX-License-Identifier: Apache-2.0
"""What only IPv6 has; the rest of IPv6 is in the cases of both families."""

from ptf_base.connections import ORIGINAL, REPLY
from ptf_base.each import each
from ptf_base.eswitch import StationsTest
from ptf_base.frames import EXT, VM1, frame
from scapy.layers.inet6 import (
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)

# Extension headers that scapy builds before the transport header, which is then out of reach.
EXTENSIONS = {
    "hop_by_hop": IPv6ExtHdrHopByHop,
    "routing": IPv6ExtHdrRouting,
    "destination": IPv6ExtHdrDestOpt,
}
# ESP, AH, no next header, mobility, HIP, shim6, by number alone.
OTHER_NUMBERS = (50, 51, 59, 135, 139, 140)


@each(extension=tuple(EXTENSIONS), proto=("tcp", "udp", "icmp"))
class ExtensionHeader(StationsTest):
    """What follows an extension header is not read: up, without a hit."""

    def runTest(self):
        connection = self.connect(self.proto, 6)
        uncounted = self.watch_connection(connection)
        entry = self.watch_trap("IP_OPTIONS", "EXCEPTION")
        sent = []
        for direction, vport in ((ORIGINAL, self.vm1), (REPLY, self.ext)):
            data = connection.frame(direction, between=EXTENSIONS[self.extension]())
            self.punts(vport, data, "IP_OPTIONS")
            sent.append(data)
        entry.expect(*sent)
        for count in uncounted:
            count.expect()


class OtherExtensionHeaders(StationsTest):
    """Extension headers by number, with nothing sensible behind them."""

    def runTest(self):
        for number in OTHER_NUMBERS:
            self.punts(self.vm1, frame("udp", 6, VM1, EXT, ip={"nh": number}), "IP_OPTIONS")


@each(offset=(0, 1, 8191), more=(0, 1))
class Fragment(StationsTest):
    """A fragment header, also the one of a packet that is whole: up."""

    def runTest(self):
        connection = self.connect("udp", 6)
        header = IPv6ExtHdrFragment(offset=self.offset, m=self.more, id=7)
        self.punts(self.vm1, connection.frame(between=header), "FRAGMENT")


class ClassAndLabel(StationsTest):
    """Traffic class and flow label are not matched, and not changed by a routed next hop."""

    def runTest(self):
        connection = self.connect("tcp", 6)
        for fields in ({"tc": 0xFF}, {"fl": 0xFFFFF}, {"tc": 0x2A, "fl": 1}):
            self.forwards(self.vm1, connection.frame(ip=fields), EXT.port)


class HighBitsOfAddresses(StationsTest):
    """All 128 bits of both addresses are matched."""

    def runTest(self):
        connection = self.connect("udp", 6)
        for changes in ({"src": "7d00::1"}, {"src": "fd00::3"}, {"dst": "2001:db8:8000::3"}):
            self.punts(self.vm1, connection.frame(ip=changes), "MISS")
        self.forwards(self.vm1, connection.frame(), EXT.port)


class Mapped(StationsTest):
    """An IPv4 packet does not hit an IPv6 entry of the same low bits, nor the reverse."""

    def runTest(self):
        connection = self.connect("udp", 4)
        mapped = {"src": f"::{VM1.ip4}", "dst": f"::{EXT.ip4}"}
        self.punts(self.vm1, frame("udp", 6, VM1, EXT, ip=mapped), "MISS")
        match = {**connection.match(ORIGINAL), **mapped}
        self.delete("ct_v4", connection.match(ORIGINAL))
        self.insert("ct_v6", match, "ct_forward", connection.forward_params(ORIGINAL))
        self.punts(self.vm1, connection.frame(), "MISS")
        self.forwards(self.vm1, frame("udp", 6, VM1, EXT, ip=mapped), EXT.port)
