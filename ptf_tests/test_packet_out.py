# SPDX-License-Identifier: Apache-2.0
"""Packet-out in its three forms: to a port, by a next hop, through the pipeline."""

from ptf_base.connections import ORIGINAL, REPLY
from ptf_base.each import each
from ptf_base.eswitch import StationsTest
from ptf_base.frames import EXT, VM1, VM2, Ether, frame, pop_vlan, push_vlan, routed
from ptf_base.traffic import Vport

ROUTER = "02:00:00:00:aa:01"
GATEWAY = "02:00:00:00:bb:02"
DROP_REASONS = ("NEXT_HOP", "BAD_PACKET_OUT")


class Send(StationsTest):
    """SEND: unchanged, on that port, uncounted, whatever the frame is."""

    def runTest(self):
        connection = self.connect()
        uncounted = [*self.watch_connection(connection), self.watch("path_counter", 0)]
        for port in self.switch.ports:
            for data in (
                connection.frame(),
                connection.frame(flags="S", ttl=0),
                frame("udp", 6, VM1, EXT, vlan=9),
                frame("udp", 4, VM1, EXT, ip={"chksum": 1, "flags": "MF"}),
                frame("udp", 4, VM1, EXT, payload=b"x" * 1458),
                bytes(Ether(src=VM1.mac, dst=VM2.mac, type=0x0800)),
            ):
                self.packet_out(data, "SEND", port=port)
                self.verify_forwarded(port, data)
        for watch in uncounted:
            watch.expect()


@each(family=(4, 6))
class ByNextHop(StationsTest):
    """NEXT_HOP: what the next hop does to a frame, without MTU limit and counters."""

    def runTest(self):
        macs = {"src": ROUTER, "dst": GATEWAY}
        self.add_next_hop(50, EXT.port, mtu=100, route=(ROUTER, GATEWAY))
        self.add_next_hop(51, VM2.port, vlan_op="PUSH", vlan_id=12)
        self.add_next_hop(52, VM1.port, vlan_op="POP")
        uncounted = [self.watch("ct_counter", 0), self.watch("path_counter", 0)]
        data = frame("tcp", self.family, VM1, EXT, flags="FA", payload=b"x" * 500)
        self.packet_out(data, "NEXT_HOP", next_hop=50)
        self.verify_forwarded(EXT.port, routed(data, **macs))
        self.packet_out(data, "NEXT_HOP", next_hop=51)
        self.verify_forwarded(VM2.port, push_vlan(data, 12))
        tagged = frame("udp", self.family, EXT, VM1, vlan=12)
        self.packet_out(tagged, "NEXT_HOP", next_hop=52)
        self.verify_forwarded(VM1.port, pop_vlan(tagged))
        for watch in uncounted:
            watch.expect()


class RouteWithOptions(StationsTest):
    """A packet with IPv4 options, which only the controller sends on, keeps a right checksum."""

    def runTest(self):
        self.add_next_hop(50, EXT.port, route=(ROUTER, GATEWAY))
        for words in (1, 4, 10):
            data = frame("udp", 4, VM1, EXT, ip={"options": b"\x01" * 4 * words})
            self.packet_out(data, "NEXT_HOP", next_hop=50)
            self.verify_forwarded(EXT.port, routed(data, src=ROUTER, dst=GATEWAY))


class RouteFragments(StationsTest):
    """Fragments, which only the controller sends on, keep a right checksum, too."""

    def runTest(self):
        self.add_next_hop(50, EXT.port, route=(ROUTER, GATEWAY))
        for fields in ({"flags": "MF"}, {"flags": "MF", "frag": 10}, {"frag": 20}):
            data = frame("udp", 4, VM1, EXT, ip=fields)
            self.packet_out(data, "NEXT_HOP", next_hop=50)
            self.verify_forwarded(EXT.port, routed(data, src=ROUTER, dst=GATEWAY))


@each(family=(4, 6), ttl=(0, 1))
class RouteWithLowTtl(StationsTest):
    """The controller is not to route a packet whose TTL would run out: dropped and counted."""

    def runTest(self):
        self.add_next_hop(50, EXT.port, route=(ROUTER, GATEWAY))
        drops = self.watch("drop_counter", "BAD_PACKET_OUT")
        data = frame("udp", self.family, VM1, EXT, ttl=self.ttl)
        self.packet_out(data, "NEXT_HOP", next_hop=50)
        self.verify_nothing_else()
        assert drops.count().packets == 1


class NextHopWithoutFrame(StationsTest):
    """Fewer bytes than an Ethernet header are no frame that a next hop could change: dropped."""

    def runTest(self):
        self.add_next_hop(51, EXT.port, vlan_op="PUSH", vlan_id=100)
        drops = self.watch("drop_counter", "BAD_PACKET_OUT")
        for length in (0, 1, 13):
            self.packet_out(bytes(length), "NEXT_HOP", next_hop=51)
        self.verify_nothing_else()
        assert drops.count().packets == 3


class NextHopThatDrops(StationsTest):
    """A next hop that drops or does not exist: nothing leaves, and the drop is counted."""

    def runTest(self):
        self.add_drop_next_hop(53)
        data = frame("udp", 4, VM1, EXT)
        for next_hop, reason in ((53, "NEXT_HOP"), (54, "BAD_PACKET_OUT")):
            drops = {r: self.watch("drop_counter", r) for r in DROP_REASONS}
            self.packet_out(data, "NEXT_HOP", next_hop=next_hop)
            self.verify_nothing_else()
            assert {r: int(r == reason) for r in drops} == {
                r: watch.count().packets for r, watch in drops.items()
            }


class UnknownOperation(StationsTest):
    """An operation that does not exist: nothing leaves, and the drop is counted."""

    def runTest(self):
        drops = self.watch("drop_counter", "BAD_PACKET_OUT")
        operations = (0, 7, 255)
        for op in operations:
            self.packet_out(frame("udp", 4, VM1, EXT), op, port=EXT.port, next_hop=EXT.port)
        self.verify_nothing_else()
        assert drops.count().packets == len(operations)


@each(proto=("tcp", "udp", "icmp"), family=(4, 6))
class PipelineHit(StationsTest):
    """PIPELINE: as if received on a port. It is counted once, without the header's bytes."""

    def runTest(self):
        connection = self.connect(self.proto, self.family, paths=(41, 42))
        counts = self.watch_connection(connection)
        path = self.watch("path_counter", 41)
        data, reply = connection.frame(), connection.frame(REPLY, payload=b"")
        self.packet_out(data, "PIPELINE", port=VM1.port)
        self.verify_forwarded(EXT.port, data)
        self.packet_out(reply, "PIPELINE", port=EXT.port)
        self.verify_forwarded(VM1.port, reply)
        counts[ORIGINAL].expect(data)
        counts[REPLY].expect(reply)
        path.expect(data)


@each(family=(4, 6))
class PipelinePunt(StationsTest):
    """It comes back up with the port it acted on and its own length, and goes round only once."""

    def runTest(self):
        connection = self.connect("tcp", self.family)
        data = frame("udp", self.family, VM1, EXT)
        punts = self.watch("punt_counter", "MISS")
        self.packet_out(data, "PIPELINE", port=VM1.port)
        self.verify_punt(data, self.vm1, "MISS")
        fin = connection.frame(flags="FA")
        self.packet_out(fin, "PIPELINE", port=VM1.port)
        self.verify_punt(fin, self.vm1, "TCP_FIN", hit=connection.hit(ORIGINAL))
        self.packet_out(data, "PIPELINE", port=0)
        self.verify_punt(data, Vport(0, 0), "UNKNOWN_VPORT")
        punts.expect(data)


class PipelineAsCpuPort(StationsTest):
    """To act as the controller's own port, or as one that is not there, is an unknown vport."""

    def runTest(self):
        data = frame("udp", 4, VM1, EXT)
        for port in (509, 510, 300):
            self.packet_out(data, "PIPELINE", port=port)
            self.verify_punt(data, Vport(0, port), "UNKNOWN_VPORT")


class PipelineRewrites(StationsTest):
    """The second pass routes, tags and drops like any other."""

    def runTest(self):
        self.add_next_hop(50, EXT.port, vlan_op="PUSH", vlan_id=5, route=(ROUTER, GATEWAY))
        connection = self.connect(next_hops=(50, VM1.port))
        data = connection.frame()
        self.packet_out(data, "PIPELINE", port=VM1.port)
        as_ = push_vlan(routed(data, src=ROUTER, dst=GATEWAY), 5)
        self.verify_forwarded(EXT.port, as_)


@each(family=(4, 6))
class PipelineTruncated(StationsTest):
    """Cut at every length, below what Linux lets through a port: up as malformed."""

    def runTest(self):
        whole = frame("tcp", self.family, VM1, EXT)
        for length in range(1, len(whole)):
            self.packet_out(whole[:length], "PIPELINE", port=VM1.port)
            self.verify_punt(whole[:length], self.vm1, "MALFORMED")


class PipelineTruncatedVlan(StationsTest):
    """A tag that is cut is none, so the frame is the untagged vport's, and malformed."""

    def runTest(self):
        whole = frame("tcp", 4, VM1, EXT, vlan=5)
        for length in range(14, 18):
            self.packet_out(whole[:length], "PIPELINE", port=VM1.port)
            self.verify_punt(whole[:length], self.vm1, "MALFORMED")
