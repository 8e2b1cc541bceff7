# SPDX-License-Identifier: Apache-2.0
"""What is odd outside a tunnel leaves it closed; what is odd inside comes up decapsulated."""

from ptf_base.connections import ORIGINAL
from ptf_base.each import each
from ptf_base.frames import EXT, VM1, frame
from ptf_base.traffic import Vport
from test_tunnel import PROTOS, UPLINK, TunnelTest

OUTER_HEADERS = {4: 14 + 20 + 8 + 8, 6: 14 + 40 + 8 + 8}


class OddTunnelTest(TunnelTest):
    """With a vport for the uplink's own traffic, too."""

    def setUp(self):
        super().setUp()
        self.plain = self.add_vport(99, UPLINK)


@each(outer=(4, 6), family=(4, 6), proto=PROTOS)
class TruncatedInside(OddTunnelTest):
    """The inner frame, cut at every length, in an outer packet that is right."""

    def runTest(self):
        connection = self.connect(self.proto, self.family)
        whole = connection.frame()
        for length in range(len(whole)):
            outer = self.tunnel.wrap(whole[:length])
            if length < 14:
                self.punts(self.plain, outer, "MISS")
            else:
                self.punts(self.ext, outer, "MALFORMED", as_=whole[:length])
        self.forwards(self.ext, self.tunnel.wrap(whole), VM1.port, whole)


@each(outer=(4, 6))
class TruncatedInsideVlan(OddTunnelTest):
    """The same with a tag inside: one that is cut is none."""

    vlan = 5

    def runTest(self):
        untagged = self.add_vport(98, UPLINK, tunnel_vport=500, tunnel=self.tunnel)
        whole = self.connect("udp").frame()
        for length in range(14, len(whole)):
            vport = untagged if length < 18 else self.ext
            self.punts(vport, self.tunnel.wrap(whole[:length]), "MALFORMED", as_=whole[:length])


@each(outer=(4, 6))
class TruncatedOutside(OddTunnelTest):
    """The outer packet, cut at every length: up as it is, malformed and not decapsulated."""

    def runTest(self):
        whole = self.tunnel.wrap(self.connect().frame())
        for length in range(14, len(whole)):
            self.punts(self.plain, whole[:length], "MALFORMED")


class BadOuterChecksum(OddTunnelTest):
    """A wrong outer IPv4 checksum: up as it is."""

    def runTest(self):
        outer = self.tunnel.wrap(self.connect().frame(), ip={"chksum": 0x1234})
        self.punts(self.plain, outer, "BAD_CHECKSUM")


@each(outer=(4, 6))
class BadInnerChecksum(OddTunnelTest):
    """Every single-bit error of the inner IPv4 checksum: up, decapsulated, with the entry."""

    def runTest(self):
        connection = self.connect()
        for bit in range(16):
            inner = bytearray(connection.frame())
            inner[24 + bit // 8] ^= 1 << bit % 8
            self.punts(
                self.ext,
                self.tunnel.wrap(bytes(inner)),
                "BAD_CHECKSUM",
                as_=bytes(inner),
                hit=connection.hit(ORIGINAL),
            )


@each(outer=(4, 6))
class OuterFragment(OddTunnelTest):
    """A fragment of the outer packet is no packet: up as it is."""

    def runTest(self):
        data = self.connect().frame()
        if self.outer == 4:
            for fields in ({"flags": "MF"}, {"frag": 3}, {"flags": "MF", "frag": 1}):
                self.punts(self.plain, self.tunnel.wrap(data, ip=fields), "FRAGMENT")
        else:
            self.punts(self.plain, self.tunnel.wrap(data, ip={"nh": 44}), "FRAGMENT")


@each(outer=(4, 6))
class OuterOptions(OddTunnelTest):
    """Options or extension headers outside: up as it is."""

    def runTest(self):
        data = self.connect().frame()
        fields = {"options": b"\x01" * 4} if self.outer == 4 else {"nh": 60}
        self.punts(self.plain, self.tunnel.wrap(data, ip=fields), "IP_OPTIONS")


@each(outer=(4, 6))
class OuterLengths(OddTunnelTest):
    """Outer lengths that contradict each other or leave no room for a frame."""

    def runTest(self):
        data = self.connect().frame()
        room = OUTER_HEADERS[self.outer] - 14 + len(data)
        beyond = {"len": room + 1} if self.outer == 4 else {"plen": room - 40 + 1}
        self.punts(self.plain, self.tunnel.wrap(data, ip=beyond), "MALFORMED")
        for length in (0, 7, len(data) + 17, 65535):
            outer = self.tunnel.wrap(data, udp={"len": length})
            self.punts(self.plain, outer, "MALFORMED")
        for length in (8, 16, 29):
            self.punts(self.plain, self.tunnel.wrap(data, udp={"len": length}), "MISS")


@each(outer=(4, 6))
class VxlanFlags(OddTunnelTest):
    """Without the flag that says that there is a VNI there is none; other flags do not matter."""

    def runTest(self):
        connection = self.connect()
        data = connection.frame()
        for flags in (0x00, 0xF7, 0x80):
            self.punts(self.plain, self.tunnel.wrap(data, vxlan={"flags": flags}), "MISS")
        for flags in (0x08, 0xFF):
            outer = bytearray(self.tunnel.wrap(data))
            outer[OUTER_HEADERS[self.outer] - 8] = flags
            self.forwards(self.ext, bytes(outer), VM1.port, data)


@each(outer=(4, 6), family=(4, 6))
class OddInside(OddTunnelTest):
    """The guard rails hold for the inner packet."""

    def runTest(self):
        connection = self.connect("tcp", self.family)
        cases = [
            ({"ttl": 1}, "TTL", connection.hit(ORIGINAL)),
            ({"flags": "S"}, "TCP_SYN", connection.hit(ORIGINAL)),
            ({"l4": {"dataofs": 4}}, "MALFORMED", None),
        ]
        if self.family == 4:
            cases += [
                ({"ip": {"flags": "MF"}}, "FRAGMENT", None),
                ({"ip": {"options": b"\x01" * 4}}, "IP_OPTIONS", None),
                ({"ip": {"len": 19}}, "MALFORMED", None),
                ({"ip": {"version": 5}}, "MALFORMED", None),
            ]
        else:
            cases += [
                ({"ip": {"nh": 44}}, "FRAGMENT", None),
                ({"ip": {"nh": 0}}, "IP_OPTIONS", None),
                ({"ip": {"plen": 500}}, "MALFORMED", None),
            ]
        for changes, reason, hit in cases:
            data = connection.frame(**changes)
            expected = {} if hit is None else {"hit": hit}
            self.punts(self.ext, self.tunnel.wrap(data), reason, as_=data, **expected)
        same = frame("udp", self.family, EXT, VM1, ip={"dst": EXT.ip(self.family)})
        self.punts(self.ext, self.tunnel.wrap(same), "SAME_ADDRESS", as_=same)


@each(outer=(4, 6))
class TunnelInTunnel(OddTunnelTest):
    """One tunnel ends; what is in it is a packet, even if it is a tunnel again."""

    def runTest(self):
        twice = self.tunnel.wrap(frame("udp", 4, EXT, VM1))
        data = self.tunnel.wrap(twice)
        self.punts(self.ext, data, "MISS", as_=twice)
        self.punts(
            Vport(0, VM1.port, None, self.tunnel.vni, self.tunnel.src),
            data,
            "UNKNOWN_VPORT",
            as_=twice,
        )
