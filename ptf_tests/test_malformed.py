# SPDX-License-Identifier: Apache-2.0
"""Truncated frames and lengths that contradict each other: up, never through."""

from ptf_base.each import each
from ptf_base.eswitch import StationsTest
from ptf_base.frames import EXT, VM1, frame, pad

PROTOS = ("tcp", "udp", "icmp")
# Wrong lengths and versions, as fields of scapy's IP (or IPv6) and transport header.
WRONG_4 = {
    "version 0": ("tcp", {"version": 0}, {}),
    "version 5": ("tcp", {"version": 5}, {}),
    "version 6": ("udp", {"version": 6}, {}),
    "header of 4 words": ("tcp", {"ihl": 4}, {}),
    "header of 0 words": ("udp", {"ihl": 0}, {}),
    "total length 0": ("tcp", {"len": 0}, {}),
    "total length 19": ("udp", {"len": 19}, {}),
    "total length beyond the frame": ("udp", {"len": 500}, {}),
    "total length 65535": ("tcp", {"len": 65535}, {}),
    "no room for TCP": ("tcp", {"len": 39}, {}),
    "no room for UDP": ("udp", {"len": 27}, {}),
    "no room for an echo": ("icmp", {"len": 27}, {}),
}
WRONG_6 = {
    "version 0": ("tcp", {"version": 0}, {}),
    "version 4": ("udp", {"version": 4}, {}),
    "payload beyond the frame": ("udp", {"plen": 500}, {}),
    "payload 65535": ("tcp", {"plen": 65535}, {}),
    "no room for TCP": ("tcp", {"plen": 19}, {}),
    "no room for UDP": ("udp", {"plen": 7}, {}),
    "no room for an echo": ("icmp", {"plen": 7}, {}),
    "payload 0": ("tcp", {"plen": 0}, {}),
}
WRONG_L4 = {
    "TCP header of 4 words": ("tcp", {}, {"dataofs": 4}),
    "TCP header of 0 words": ("tcp", {}, {"dataofs": 0}),
    "TCP header beyond the packet": ("tcp", {}, {"dataofs": 15}),
    "UDP length 0": ("udp", {}, {"len": 0}),
    "UDP length 7": ("udp", {}, {"len": 7}),
    "UDP length beyond the packet": ("udp", {}, {"len": 16}),
}
WRONG = {4: WRONG_4 | WRONG_L4, 6: WRONG_6 | WRONG_L4}


@each(proto=PROTOS, family=(4, 6))
class Truncated(StationsTest):
    """A connection's frame, cut at every length."""

    def runTest(self):
        connection = self.connect(self.proto, self.family)
        uncounted = self.watch_connection(connection)
        entry = self.watch_trap("MALFORMED", "EXCEPTION")
        whole = connection.frame()
        cut = [whole[:length] for length in range(14, len(whole))]
        for data in cut:
            self.punts(self.vm1, data, "MALFORMED")
        entry.expect(*cut)
        for count in uncounted:
            count.expect()
        self.forwards(self.vm1, whole, EXT.port)


@each(family=(4, 6))
class TruncatedVlan(StationsTest):
    """A tagged frame, cut at every length that Linux carries: 20 bytes and up."""

    def runTest(self):
        tagged = self.add_vport(99, VM1.port, 5)
        whole = frame("tcp", self.family, VM1, EXT, vlan=5)
        for length in range(20, len(whole)):
            self.punts(tagged, whole[:length], "MALFORMED")
        self.punts(tagged, whole, "MISS")


@each(family=(4, 6))
class WrongLengths(StationsTest):
    """Headers that contradict each other or the frame, with an entry for what they pretend."""

    def runTest(self):
        connections = {proto: self.connect(proto, self.family) for proto in PROTOS}
        for proto, ip, l4 in WRONG[self.family].values():
            data = connections[proto].frame(ip=ip, l4=l4)
            self.punts(self.vm1, data, "MALFORMED")


@each(family=(4, 6))
class PaddingIsNotPayload(StationsTest):
    """Lengths are checked against the IP packet, not against the padded frame."""

    def runTest(self):
        length = {4: {"len": 27}, 6: {"plen": 7}}[self.family]
        data = pad(frame("udp", self.family, VM1, EXT, ip=length), 90)
        self.punts(self.vm1, data, "MALFORMED")
