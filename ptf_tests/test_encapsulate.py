# SPDX-License-Identifier: Apache-2.0
"""Next hops that put the packet into VXLAN: every byte outside, and what becomes of it inside."""

from ptf_base.connections import ORIGINAL, REPLY
from ptf_base.each import each
from ptf_base.eswitch import StationsTest
from ptf_base.frames import (
    ETHERTYPE_EXPERIMENTAL,
    EXT,
    VM1,
    VM2,
    Ether,
    Raw,
    Tunnel,
    difference,
    frame,
    pad,
    pop_vlan,
    push_vlan,
    routed,
)
from ptf_base.traffic import PATIENCE

PROTOS = ("tcp", "udp", "icmp")
ROUTER, GATEWAY = "02:00:00:00:aa:01", "02:00:00:00:bb:02"
TUNNELS = {
    4: Tunnel("192.0.2.1", "192.0.2.200", 0xABCDEF, ttl=63, dscp=46),
    6: Tunnel("2001:db8:9::1", "2001:db8:9::ffff", 1, ttl=255, dscp=63),
}
ENTROPY = range(0xC000, 0x10000)
SPORT_AT = {4: 34, 6: 54}
"""Where the outer UDP source port stands."""


class EncapsulateTest(StationsTest):
    """Next hop 50 leads into the tunnel, out of ext's port; `outer` is the tunnel's family."""

    outer = 4

    def setUp(self):
        super().setUp()
        self.tunnel = TUNNELS[self.outer]

    def encapsulates(self, vport, data, inner=None, *, ecn=0, tunnel=None, port=EXT.port):
        """`data` leaves as `inner` in the tunnel; returns the outer source port, whose range is
        all that is known of it."""
        self.send(vport, data)
        return self.verify_encapsulated(data if inner is None else inner, ecn, tunnel, port)

    def verify_encapsulated(self, inner, ecn=0, tunnel=None, port=EXT.port):
        tunnel = tunnel or self.tunnel
        polled = self.switch.dataplane.poll(0, port, PATIENCE).packet
        assert polled is not None, f"nothing left on port {port}"
        at = SPORT_AT[tunnel.family]
        sport = int.from_bytes(polled[at : at + 2], "big")
        assert sport in ENTROPY, sport
        expected = tunnel.wrap(inner, sport=sport, ecn=ecn)
        assert polled == expected, difference(expected, polled)
        self.switch.ledger.left(port)
        return sport


@each(outer=(4, 6), family=(4, 6), proto=PROTOS)
class Encapsulate(EncapsulateTest):
    """Lengths, checksum and every other byte, at payloads of many sizes; counted as it came."""

    def runTest(self):
        self.add_vxlan_next_hop(50, EXT.port, self.tunnel)
        connection = self.connect(self.proto, self.family, next_hops=(50, VM1.port))
        count = self.watch_connection(connection)[ORIGINAL]
        sent = [connection.frame(payload=b"x" * size) for size in (0, 1, 2, 63, 64, 255, 1300)]
        sent.append(pad(connection.frame(payload=b"")))
        ports = {self.encapsulates(self.vm1, data) for data in sent}
        assert len(ports) == 1, ports
        count.expect(*sent)


@each(outer=(4, 6), family=(4, 6))
class Entropy(EncapsulateTest):
    """The outer source port is one for each flow, and not one for all; and the same whether the
    packet came from the wire or from the controller."""

    def runTest(self):
        self.add_vxlan_next_hop(50, EXT.port, self.tunnel)
        self.add_flow(self.vm1, 50, {}, priority=1)
        ports = {}
        for proto in PROTOS:
            for number in range(20):
                data = frame(proto, self.family, VM1, EXT, sport=41000 + number)
                ports[proto, number] = self.encapsulates(self.vm1, data)
                assert self.encapsulates(self.vm1, data) == ports[proto, number]
                self.packet_out(data, "NEXT_HOP", next_hop=50)
                assert self.verify_encapsulated(data) == ports[proto, number]
        assert len(set(ports.values())) > 50, ports


@each(outer=(4, 6), family=(4, 6))
class Ecn(EncapsulateTest):
    """ECN is copied, the inner DSCP is not: the outer one is the next hop's."""

    def runTest(self):
        self.add_vxlan_next_hop(50, EXT.port, self.tunnel)
        connection = self.connect("udp", self.family, next_hops=(50, VM1.port))
        field = {4: "tos", 6: "tc"}[self.family]
        for ecn in range(4):
            for dscp in (0, 10, 63):
                data = connection.frame(ip={field: dscp << 2 | ecn})
                self.encapsulates(self.vm1, data, ecn=ecn)


@each(outer=(4, 6), family=(4, 6))
class EncapsulateAndRoute(EncapsulateTest):
    """With the route flag the inner packet is routed; without it the addresses mean nothing."""

    def runTest(self):
        self.add_vxlan_next_hop(50, EXT.port, self.tunnel, route=(ROUTER, GATEWAY))
        connection = self.connect("tcp", self.family, next_hops=(50, VM1.port))
        data = connection.frame()
        self.encapsulates(self.vm1, data, routed(data, src=ROUTER, dst=GATEWAY))
        self.add_vxlan_next_hop(50, EXT.port, self.tunnel, kind="MODIFY")
        self.encapsulates(self.vm1, data)


@each(outer=(4, 6), op=("PUSH", "POP", "SET", "KEEP"))
class EncapsulateVlan(EncapsulateTest):
    """VLAN operations are on the inner frame, and the outer lengths follow; by entry and by
    packet-out."""

    def runTest(self):
        self.add_vxlan_next_hop(50, EXT.port, self.tunnel, vlan_op=self.op, vlan_id=321)
        tagged = self.add_vport(90, VM1.port, 8)
        for vport, tag in ((self.vm1, None), (tagged, 8)):
            self.add_flow(vport, 50, {}, priority=1)
            data = frame("udp", 4, VM1, EXT, vlan=tag)
            bare = frame("udp", 4, VM1, EXT)
            inner = {"KEEP": data, "POP": bare}.get(self.op, push_vlan(bare, 321))
            self.encapsulates(vport, data, inner)
            self.packet_out(data, "NEXT_HOP", next_hop=50)
            self.verify_encapsulated(inner)


@each(outer=(4, 6))
class EncapsulateNotIp(EncapsulateTest):
    """What is not IP goes in as it is."""

    def runTest(self):
        self.add_vxlan_next_hop(50, EXT.port, self.tunnel)
        self.add_flow(self.vm1, 50, {}, priority=1)
        header = Ether(src=VM1.mac, dst=VM2.mac, type=ETHERTYPE_EXPERIMENTAL)
        for size in (0, 1, 100):
            self.encapsulates(self.vm1, bytes(header / Raw(b"x" * size)))


@each(outer=(4, 6), family=(4, 6), end=(4, 6))
class VxlanToVxlan(EncapsulateTest):
    """Out of one tunnel and into another: counted with the first one's bytes."""

    def runTest(self):
        ending = Tunnel(*{4: ("192.0.2.9", "192.0.2.1"), 6: ("fd09::9", "fd09::1")}[self.end], 77)
        self.add_tunnel(ending, 500)
        behind = self.add_vport(80, VM2.port, tunnel_vport=500, tunnel=ending)
        self.add_vxlan_next_hop(50, EXT.port, self.tunnel)
        connection = self.add_connection(
            "udp",
            self.family,
            client=(VM2, behind),
            server=(EXT, self.ext),
            next_hops=(50, VM2.port),
        )
        count = self.watch_connection(connection)[ORIGINAL]
        data = connection.frame()
        self.encapsulates(behind, ending.wrap(data, vlan=5), data)
        self.encapsulates(behind, ending.wrap(data), data)
        count.expect(ending.wrap(data, vlan=5), ending.wrap(data))


@each(outer=(4, 6), family=(4, 6))
class EncapsulateMtu(EncapsulateTest):
    """The limit is on the inner IP packet, not on the frame and not on the outer packet."""

    def runTest(self):
        self.add_vxlan_next_hop(50, EXT.port, self.tunnel, mtu=1280)
        connection = self.connect("udp", self.family, next_hops=(50, VM1.port))
        count = self.watch_connection(connection)[ORIGINAL]
        header = {4: 28, 6: 48}[self.family]
        fits = connection.frame(payload=b"x" * (1280 - header))
        self.encapsulates(self.vm1, fits)
        large = connection.frame(payload=b"x" * (1281 - header))
        self.punts(self.vm1, large, "MTU_EXCEEDED", hit=connection.hit(ORIGINAL))
        count.expect(fits)


@each(outer=(4, 6))
class EncapsulateMtuFromTunnel(EncapsulateTest):
    """What came out of a tunnel is compared by its inner length, too."""

    def runTest(self):
        ending = Tunnel("192.0.2.9", "192.0.2.1", 77)
        self.add_tunnel(ending, 500)
        behind = self.add_vport(80, VM2.port, tunnel_vport=500, tunnel=ending)
        self.add_vxlan_next_hop(50, EXT.port, self.tunnel, mtu=100)
        self.add_flow(behind, 50, {}, priority=1)
        fits = frame("udp", 4, VM2, EXT, payload=b"x" * 72)
        self.encapsulates(behind, ending.wrap(fits), fits)
        large = frame("udp", 4, VM2, EXT, payload=b"x" * 73)
        self.punts(behind, ending.wrap(large), "MTU_EXCEEDED", as_=large)


@each(family=(4, 6))
class RedirectThroughEveryKind(EncapsulateTest):
    """One change of a next hop moves all its connections: plain, routed, either tunnel, and back;
    also to another port. The reply direction stays."""

    def runTest(self):
        self.add_next_hop(50, EXT.port)
        connections = [
            self.connect(proto, self.family, sport=41000 + n, next_hops=(50, VM1.port))
            for proto in ("tcp", "udp")
            for n in range(3)
        ]
        for connection in connections:
            self.forwards(self.vm1, connection.frame(), EXT.port)
        for outer, port in ((4, VM2.port), (6, EXT.port), (4, EXT.port)):
            tunnel = TUNNELS[outer]
            self.add_vxlan_next_hop(50, port, tunnel, kind="MODIFY")
            for connection in connections:
                data = connection.frame()
                self.encapsulates(self.vm1, data, tunnel=tunnel, port=port)
                self.forwards(self.ext, connection.frame(REPLY), VM1.port)
        self.add_next_hop(50, VM2.port, kind="MODIFY", route=(ROUTER, GATEWAY))
        for connection in connections:
            data = connection.frame()
            self.forwards(self.vm1, data, VM2.port, routed(data, src=ROUTER, dst=GATEWAY))


@each(outer=(4, 6))
class EncapsulatePunts(EncapsulateTest):
    """What is trapped on its way into a tunnel goes up as it came, its tag included."""

    def runTest(self):
        self.add_vxlan_next_hop(50, EXT.port, self.tunnel, vlan_op="POP")
        tagged = self.add_vport(90, VM1.port, 8)
        connection = self.add_connection(
            "tcp", client=(VM1, tagged), server=(EXT, self.ext), next_hops=(50, VM1.port)
        )
        data = connection.frame(flags="FA")
        self.punts(tagged, data, "TCP_FIN", hit=connection.hit(ORIGINAL))
        self.encapsulates(tagged, connection.frame(), pop_vlan(connection.frame()))
