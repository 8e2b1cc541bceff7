# SPDX-License-Identifier: Apache-2.0
"""VXLAN tunnels that end here: the inner packet is the packet, whatever is outside."""

from ptf_base.connections import ORIGINAL
from ptf_base.each import each
from ptf_base.eswitch import EswitchTest, StationsTest
from ptf_base.frames import (
    ETHERTYPE_EXPERIMENTAL,
    EXT,
    VM1,
    VM2,
    Ether,
    Raw,
    Tunnel,
    frame,
    pad,
    push_vlan,
)
from ptf_base.traffic import Vport

PROTOS = ("tcp", "udp", "icmp")
UPLINK = 3
TUNNEL_VPORT = 500
TUNNELS = {
    4: Tunnel("192.0.2.9", "192.0.2.1", 0x123456),
    6: Tunnel("2001:db8:9::9", "2001:db8:9::1", 0x654321),
}


class TunnelTest(EswitchTest):
    """vm1 on port 1; ext behind a tunnel that ends at the uplink, port 3. `outer` is the family
    of the tunnel, `vlan` the tag inside it."""

    outer = 4
    vlan = None

    def setUp(self):
        super().setUp()
        self.tunnel = TUNNELS[self.outer]
        self.vm1 = self.add_station(VM1)
        self.add_next_hop(UPLINK, UPLINK)
        self.add_tunnel(self.tunnel, TUNNEL_VPORT)
        self.ext = self.add_vport(
            EXT.vport, UPLINK, self.vlan, tunnel_vport=TUNNEL_VPORT, tunnel=self.tunnel
        )

    def connect(self, proto="udp", family=4, **options):
        """A connection whose client is behind the tunnel."""
        return self.add_connection(
            proto, family, client=(EXT, self.ext), server=(VM1, self.vm1), **options
        )


@each(outer=(4, 6), family=(4, 6), proto=PROTOS, vlan=(None, 77))
class Terminated(TunnelTest):
    """Hit: the inner frame leaves, and the outer bytes are counted. Miss: it comes up with VNI,
    outer source and the step that was reached."""

    def runTest(self):
        connection = self.connect(self.proto, self.family, paths=(61, 62))
        counts = self.watch_connection(connection)
        path, punts = self.watch("path_counter", 61), self.watch("punt_counter", "MISS")
        data = [connection.frame(payload=b"x" * size) for size in (0, 1, 700)]
        wrapped = [self.tunnel.wrap(inner) for inner in data]
        for inner, outer in zip(data, wrapped, strict=True):
            self.forwards(self.ext, outer, VM1.port, inner)
        other = frame(self.proto, self.family, EXT, VM1, sport=9, vlan=self.vlan)
        self.punts(self.ext, self.tunnel.wrap(other), "MISS", as_=other)
        counts[ORIGINAL].expect(*wrapped)
        path.expect(*wrapped)
        punts.expect(self.tunnel.wrap(other))


@each(outer=(4, 6))
class TerminatedFromVlan(TunnelTest):
    """A tag on the outer frame goes with it: the tag of the vport is the inner one."""

    def runTest(self):
        connection = self.connect()
        count = self.watch_connection(connection)[ORIGINAL]
        outer = self.tunnel.wrap(connection.frame(), vlan=9)
        self.forwards(self.ext, outer, VM1.port, connection.frame())
        count.expect(outer)
        tagged = push_vlan(connection.frame(), 9)
        self.punts(self.ext._replace(id=0), self.tunnel.wrap(tagged), "UNKNOWN_VPORT", as_=tagged)


@each(outer=(4, 6))
class TerminatedNotIp(TunnelTest):
    """Any Ethernet frame may be inside."""

    def runTest(self):
        self.add_flow(self.ext, VM1.port, {"ether_type": ETHERTYPE_EXPERIMENTAL}, priority=1)
        inner = bytes(Ether(src=EXT.mac, dst=VM1.mac, type=ETHERTYPE_EXPERIMENTAL) / Raw(b"x"))
        self.forwards(self.ext, self.tunnel.wrap(inner), VM1.port, inner)
        arp = bytes(Ether(src=EXT.mac, dst="ff:ff:ff:ff:ff:ff", type=0x0806) / Raw(b"x" * 28))
        self.punts(self.ext, self.tunnel.wrap(arp), "MISS", as_=arp)


@each(outer=(4, 6), family=(4, 6))
class TunnelDrain(TunnelTest):
    """A packet that is trapped or drains goes up with tunnel and entry."""

    def runTest(self):
        connection = self.connect("tcp", self.family)
        fin = connection.frame(flags="FA")
        hit = connection.hit(ORIGINAL)
        self.punts(self.ext, self.tunnel.wrap(fin), "TCP_FIN", as_=fin, hit=hit)
        low = connection.frame(ttl=1)
        self.punts(self.ext, self.tunnel.wrap(low), "TTL", as_=low, hit=hit)
        self.drain(connection)
        data = connection.frame()
        drained = connection.hit(ORIGINAL, "DRAIN")
        self.punts(self.ext, self.tunnel.wrap(data), "DRAIN", as_=data, hit=drained)


@each(outer=(4, 6))
class NoUplink(TunnelTest):
    """Tunnelled packets from a port that is no uplink belong to no vport, whatever vport the
    port has without a tunnel."""

    def runTest(self):
        connection = self.connect()
        data = connection.frame()
        stranger = Vport(0, VM1.port, None, self.tunnel.vni, self.tunnel.src)
        self.punts(stranger, self.tunnel.wrap(data), "UNKNOWN_VPORT", as_=data)
        self.punts(
            stranger._replace(port=VM2.port), self.tunnel.wrap(data), "UNKNOWN_VPORT", as_=data
        )


@each(outer=(4, 6))
class OtherTunnels(StationsTest):
    """Another VNI or another destination is UDP like any other: by connection, by flow, or up,
    untouched."""

    def runTest(self):
        tunnel = TUNNELS[self.outer]
        inner = frame("tcp", 4, EXT, VM1, flags="S", ttl=1)
        self.add_tunnel(tunnel, TUNNEL_VPORT)
        for change in ({"vni": 1}, {"dst": tunnel.dst[:-1] + "7"}):
            other = Tunnel(**{"src": tunnel.src, "dst": tunnel.dst, "vni": tunnel.vni, **change})
            self.punts(self.vm1, other.wrap(inner), "MISS")
            self.punts(self.vm1, other.wrap(inner, vxlan={"flags": 0}), "MISS")
        self.add_flow(self.vm1, EXT.port, {"proto": 17, "dport": 4789}, priority=1)
        self.forwards(self.vm1, other.wrap(inner), EXT.port)
        self.forwards(self.vm1, other.wrap(inner[:20]), EXT.port)
        self.forwards(self.vm1, tunnel.wrap(inner, vxlan={"flags": 0}), EXT.port)


@each(family=(4, 6))
class TunnelOfATenant(StationsTest):
    """A connection of a tenant's own VXLAN, with or without a rewrite, at any payload length."""

    def runTest(self):
        self.add_next_hop(50, EXT.port, vlan_op="PUSH", vlan_id=3)
        connection = self.connect("udp", self.family, dport=4789)
        tagged = self.connect("udp", self.family, dport=4789, sport=1, next_hops=(50, VM1.port))
        inner = frame("udp", 4, VM2, VM1, vlan=4)
        whole = bytes([8, 0, 0, 0, 0, 1, 2, 0]) + inner
        for length in range(len(whole) + 1):
            data = connection.frame(payload=whole[:length])
            self.forwards(self.vm1, data, EXT.port)
            data = tagged.frame(payload=whole[:length])
            self.forwards(self.vm1, data, EXT.port, push_vlan(data, 3))


@each(outer=(4, 6))
class TwoTenants(TunnelTest):
    """Two VNIs with the same addresses inside: two vports, two connections."""

    def runTest(self):
        other = Tunnel(self.tunnel.src, self.tunnel.dst, self.tunnel.vni + 1)
        self.add_tunnel(other, TUNNEL_VPORT + 1)
        ext2 = self.add_vport(600, UPLINK, tunnel_vport=TUNNEL_VPORT + 1, tunnel=other)
        self.add_next_hop(70, VM2.port)
        first = self.connect()
        second = self.add_connection(
            "udp", client=(EXT, ext2), server=(VM1, self.vm1), next_hops=(70, UPLINK), dport=81
        )
        self.forwards(self.ext, self.tunnel.wrap(first.frame()), VM1.port, first.frame())
        self.forwards(ext2, other.wrap(second.frame()), VM2.port, second.frame())
        self.punts(ext2, other.wrap(first.frame()), "MISS", as_=first.frame())
        self.punts(self.ext, self.tunnel.wrap(second.frame()), "MISS", as_=second.frame())


@each(outer=(4, 6))
class TunnelRemoved(TunnelTest):
    """A tunnel ends here until its row is deleted; then it is UDP from no vport."""

    def runTest(self):
        connection = self.connect()
        outer = self.tunnel.wrap(connection.frame())
        self.forwards(self.ext, outer, VM1.port, connection.frame())
        table = f"tunnel_term_v{self.outer}"
        self.delete(table, {"outer_dst": self.tunnel.dst, "vni": self.tunnel.vni})
        self.punts(Vport(0, UPLINK), outer, "UNKNOWN_VPORT")


@each(outer=(4, 6))
class TunnelByPacketOut(TunnelTest):
    """A pipeline packet-out ends its tunnel like a packet from the port."""

    def runTest(self):
        connection = self.connect()
        count = self.watch_connection(connection)[ORIGINAL]
        data = connection.frame()
        self.packet_out(self.tunnel.wrap(data), "PIPELINE", port=UPLINK)
        self.verify_forwarded(VM1.port, data)
        count.expect(self.tunnel.wrap(data))


class TrailingBytes(TunnelTest):
    """Bytes behind the inner IP packet stay with it."""

    def runTest(self):
        connection = self.connect()
        data = pad(connection.frame(), 90)
        self.forwards(self.ext, self.tunnel.wrap(data), VM1.port, data)
