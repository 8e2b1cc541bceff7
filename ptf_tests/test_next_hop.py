# SPDX-License-Identifier: Apache-2.0
"""Next hops: what a frame looks like where it leaves, and what never leaves."""

from ptf_base.connections import ORIGINAL, REPLY
from ptf_base.each import each
from ptf_base.eswitch import StationsTest
from ptf_base.frames import ETHERTYPE_EXPERIMENTAL, EXT, VM1, VM2, Ether, Raw, frame, pad, routed

ROUTER = "02:00:00:00:aa:01"
GATEWAY = "02:00:00:00:bb:02"
PROTOS = ("tcp", "udp", "icmp")


@each(proto=PROTOS, family=(4, 6))
class Route(StationsTest):
    """New MAC addresses, TTL or hop limit less one, checksums right; the rest as it was."""

    def runTest(self):
        self.add_next_hop(50, EXT.port, route=(ROUTER, GATEWAY))
        connection = self.connect(self.proto, self.family, next_hops=(50, VM1.port))
        count = self.watch_connection(connection)[ORIGINAL]
        sent = []
        for ttl in (2, 64, 128, 255):
            data = connection.frame(ttl=ttl)
            as_ = routed(data, src=ROUTER, dst=GATEWAY)
            self.forwards(self.vm1, data, EXT.port, as_)
            sent.append(data)
        count.expect(*sent)


class RouteChecksumCarries(StationsTest):
    """The IPv4 checksum is right whatever it was before: also around 0x0000 and 0xFFFF."""

    def runTest(self):
        self.add_next_hop(50, EXT.port, route=(ROUTER, GATEWAY))
        connection = self.connect("udp", next_hops=(50, VM1.port))
        for identification in range(0, 65536, 1021):
            data = connection.frame(ip={"id": identification})
            self.forwards(self.vm1, data, EXT.port, routed(data, src=ROUTER, dst=GATEWAY))
        base = int.from_bytes(connection.frame(ip={"id": 0})[24:26], "big")
        for near in range(-3, 4):
            data = connection.frame(ip={"id": (base + near) % 65535})
            self.forwards(self.vm1, data, EXT.port, routed(data, src=ROUTER, dst=GATEWAY))


class RouteNonIp(StationsTest):
    """A routed next hop gives a frame that is not IP new MAC addresses, and no more."""

    def runTest(self):
        self.add_next_hop(50, EXT.port, route=(ROUTER, GATEWAY))
        self.add_flow(self.vm1, 50, {}, priority=1)
        payload = Raw(b"\x45\x00" * 20)
        data = bytes(Ether(src=VM1.mac, dst=VM2.mac, type=ETHERTYPE_EXPERIMENTAL) / payload)
        as_ = bytes(Ether(src=ROUTER, dst=GATEWAY, type=ETHERTYPE_EXPERIMENTAL) / payload)
        self.forwards(self.vm1, data, EXT.port, as_)


@each(family=(4, 6))
class Redirect(StationsTest):
    """Changing one next hop redirects all that use it, at once."""

    def runTest(self):
        self.add_next_hop(50, EXT.port)
        connections = [
            self.connect("udp", self.family, sport=41000 + n, next_hops=(50, VM1.port))
            for n in range(5)
        ]
        self.add_flow(self.vm1, 50, {"ether_type": 0x88B5}, priority=1)
        self.add_next_hop(50, VM2.port, kind="MODIFY")
        for connection in connections:
            self.forwards(self.vm1, connection.frame(), VM2.port)
        header = Ether(src=VM1.mac, dst=EXT.mac, type=ETHERTYPE_EXPERIMENTAL)
        self.forwards(self.vm1, bytes(header), VM2.port)


@each(family=(4, 6), proto=("tcp", "udp"))
class Mtu(StationsTest):
    """The limit is on the IP packet: one that fits exactly passes, one byte more comes up."""

    def runTest(self):
        header = {4: 20, 6: 40}[self.family] + {"tcp": 20, "udp": 8}[self.proto]
        self.add_next_hop(50, EXT.port, mtu=1280, route=(ROUTER, GATEWAY))
        connection = self.connect(self.proto, self.family, next_hops=(50, VM1.port), paths=(31, 32))
        watches = [self.watch_connection(connection)[ORIGINAL], self.watch("path_counter", 31)]
        punts = self.watch("punt_counter", "MTU_EXCEEDED")
        fits = connection.frame(payload=b"x" * (1280 - header))
        self.forwards(self.vm1, fits, EXT.port, routed(fits, src=ROUTER, dst=GATEWAY))
        large = connection.frame(payload=b"x" * (1281 - header))
        self.punts(self.vm1, large, "MTU_EXCEEDED", hit=connection.hit(ORIGINAL))
        punts.expect(large)
        for watch in watches:
            watch.expect(fits)


class MtuIgnoresPadding(StationsTest):
    """Neither padding nor what is not IP counts against the limit."""

    def runTest(self):
        self.add_next_hop(50, EXT.port, mtu=40)
        self.add_flow(self.vm1, 50, {}, priority=1)
        self.forwards(self.vm1, pad(frame("udp", 4, VM1, EXT, payload=b""), 100), EXT.port)
        header = Ether(src=VM1.mac, dst=EXT.mac, type=ETHERTYPE_EXPERIMENTAL)
        self.forwards(self.vm1, bytes(header / Raw(b"x" * 200)), EXT.port)
        self.punts(self.vm1, frame("udp", 4, VM1, EXT, payload=b"x" * 13), "MTU_EXCEEDED")


@each(family=(4, 6))
class MissingNextHop(StationsTest):
    """An entry whose next hop does not exist: up, uncounted, until it does."""

    def runTest(self):
        connection = self.connect("udp", self.family, next_hops=(51, 52), paths=(33, 34))
        watches = [*self.watch_connection(connection), self.watch("path_counter", 33)]
        punts = self.watch("punt_counter", "NO_NEXT_HOP")
        data, reply = connection.frame(), connection.frame(REPLY)
        self.punts(self.vm1, data, "NO_NEXT_HOP", hit=connection.hit(ORIGINAL))
        self.punts(self.ext, reply, "NO_NEXT_HOP", hit=connection.hit(REPLY))
        punts.expect(data, reply)
        for watch in watches:
            watch.expect()
        self.add_next_hop(51, EXT.port)
        self.forwards(self.vm1, data, EXT.port)


class MissingNextHopOfFlow(StationsTest):
    """The same for a flow."""

    def runTest(self):
        self.add_flow(self.vm1, 51, {}, priority=1, path=35)
        path = self.watch("path_counter", 35)
        self.punts(self.vm1, frame("udp", 4, VM1, EXT), "NO_NEXT_HOP")
        path.expect()


@each(family=(4, 6))
class Drop(StationsTest):
    """A next hop that drops: nothing leaves, and entry, path and drop reason count it."""

    def runTest(self):
        self.add_drop_next_hop(53)
        connection = self.connect("udp", self.family, next_hops=(53, 53), paths=(36, 37))
        counts = self.watch_connection(connection)
        path, drops = self.watch("path_counter", 36), self.watch("drop_counter", "NEXT_HOP")
        data, reply = connection.frame(), connection.frame(REPLY)
        self.send(self.vm1, data)
        self.send(self.ext, reply)
        self.verify_nothing_else()
        counts[ORIGINAL].expect(data)
        counts[REPLY].expect(reply)
        path.expect(data)
        drops.expect(data, reply)


class DropFlow(StationsTest):
    """A flow may drop, too."""

    def runTest(self):
        self.add_drop_next_hop(53)
        match = self.add_flow(self.vm1, 53, {"proto": 17}, priority=1)
        entry, drops = self.watch_entry("flow", match, 1), self.watch("drop_counter", "NEXT_HOP")
        data = frame("udp", 4, VM1, EXT)
        self.send(self.vm1, data)
        self.verify_nothing_else()
        entry.expect(data)
        drops.expect(data)


class Hairpin(StationsTest):
    """A next hop may lead back to where the frame came from."""

    def runTest(self):
        self.add_flow(self.vm1, VM1.port, {}, priority=1)
        self.forwards(self.vm1, frame("udp", 4, VM1, EXT), VM1.port)


class LargestId(StationsTest):
    """Next hop ids use their 24 bits."""

    def runTest(self):
        self.add_next_hop((1 << 24) - 1, EXT.port)
        self.add_next_hop(0, VM2.port)
        self.add_flow(self.vm1, (1 << 24) - 1, {"proto": 17}, priority=2)
        self.add_flow(self.vm1, 0, {}, priority=1)
        self.forwards(self.vm1, frame("udp", 4, VM1, EXT), EXT.port)
        self.forwards(self.vm1, frame("icmp", 4, VM1, EXT), VM2.port)
