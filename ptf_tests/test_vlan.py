# SPDX-License-Identifier: Apache-2.0
"""VLAN tags: vports that have one, and next hops that push, pop and set it."""

from ptf_base.connections import ORIGINAL, REPLY
from ptf_base.each import each
from ptf_base.eswitch import EswitchTest, StationsTest
from ptf_base.frames import EXT, VM1, frame, pop_vlan, push_vlan, routed
from ptf_base.traffic import Vport

PROTOS = ("tcp", "udp", "icmp")


class TaggedStationsTest(EswitchTest):
    """vm1 without a tag on port 1; ext with tag 100 on port 3, where it is popped and pushed."""

    def setUp(self):
        super().setUp()
        self.vm1 = self.add_station(VM1)
        self.ext = self.add_vport(EXT.vport, EXT.port, 100)
        self.add_next_hop(60, EXT.port, vlan_op="PUSH", vlan_id=100)
        self.add_next_hop(61, VM1.port, vlan_op="POP")

    def connect(self, proto="tcp", family=4, **options):
        options = {"next_hops": (60, 61), **options}
        return self.add_connection(
            proto, family, client=(VM1, self.vm1), server=(EXT, self.ext), **options
        )


@each(proto=PROTOS, family=(4, 6))
class PushAndPop(TaggedStationsTest):
    """Pushed one way, popped the other; both counted with the bytes that came in."""

    def runTest(self):
        connection = self.connect(self.proto, self.family)
        counts = self.watch_connection(connection)
        data, reply = connection.frame(), connection.frame(REPLY)
        self.forwards(self.vm1, data, EXT.port, push_vlan(data, 100))
        self.forwards(self.ext, reply, VM1.port, pop_vlan(reply))
        counts[ORIGINAL].expect(data)
        counts[REPLY].expect(reply)


@each(family=(4, 6))
class SetVlan(TaggedStationsTest):
    """Another id in the same tag: the priority stays."""

    def runTest(self):
        self.add_next_hop(62, VM1.port, vlan_op="SET", vlan_id=4093)
        connection = self.connect("udp", self.family, next_hops=(60, 62))
        reply = connection.frame(REPLY, eth={"prio": 5})
        changed = reply[:14] + (5 << 13 | 4093).to_bytes(2, "big") + reply[16:]
        self.forwards(self.ext, reply, VM1.port, changed)


class KeepVlan(TaggedStationsTest):
    """KEEP leaves the tag, priority and DEI included."""

    def runTest(self):
        self.add_next_hop(62, VM1.port, vlan_op="KEEP", vlan_id=7)
        connection = self.connect("udp", next_hops=(60, 62))
        data = bytearray(connection.frame(REPLY, eth={"prio": 3}))
        data[14] |= 0x10
        self.forwards(self.ext, bytes(data), VM1.port)


class PopAndSetWithoutTag(StationsTest):
    """POP leaves no tag, SET leaves this tag, whatever the frame came with."""

    def runTest(self):
        self.add_next_hop(60, EXT.port, vlan_op="POP")
        self.add_next_hop(61, EXT.port, vlan_op="SET", vlan_id=9)
        for number, (next_hop, tag) in enumerate(((60, None), (61, 9))):
            connection = self.connect("udp", sport=41000 + number, next_hops=(next_hop, VM1.port))
            data = connection.frame()
            expected = data if tag is None else push_vlan(data, tag)
            self.forwards(self.vm1, data, EXT.port, expected)


class PushOnTag(TaggedStationsTest):
    """PUSH leaves exactly its own tag, on a frame that came with another."""

    def runTest(self):
        self.add_next_hop(62, VM1.port, vlan_op="PUSH", vlan_id=200)
        reply = self.connect("udp", next_hops=(60, 62)).frame(REPLY)
        self.forwards(self.ext, reply, VM1.port, push_vlan(pop_vlan(reply), 200))


@each(family=(4, 6))
class RouteAndPush(TaggedStationsTest):
    """A routed next hop that also pushes a tag, and one that pops it."""

    def runTest(self):
        macs = {"src": "02:00:00:00:aa:01", "dst": "02:00:00:00:bb:02"}
        route = (macs["src"], macs["dst"])
        self.add_next_hop(63, EXT.port, vlan_op="PUSH", vlan_id=200, route=route)
        self.add_next_hop(64, VM1.port, vlan_op="POP", route=route)
        connection = self.connect("tcp", self.family, next_hops=(63, 64))
        data, reply = connection.frame(), connection.frame(REPLY)
        self.forwards(self.vm1, data, EXT.port, push_vlan(routed(data, **macs), 200))
        self.forwards(self.ext, reply, VM1.port, pop_vlan(routed(reply, **macs)))


@each(family=(4, 6))
class VlansApart(EswitchTest):
    """One port, three vports: untagged, tag 100, tag 200, with the same addresses in each."""

    def runTest(self):
        vports = [self.add_vport(20 + n, VM1.port, vlan) for n, vlan in enumerate((None, 100, 200))]
        ext = self.add_station(EXT)
        connections = []
        for number, vport in enumerate(vports):
            self.add_next_hop(70 + number, EXT.port)
            connection = self.add_connection(
                "udp", self.family, client=(VM1, vport), server=(EXT, ext), dport=90 + number
            )
            connections.append(connection)
        for vport, connection in zip(vports, connections, strict=True):
            self.forwards(vport, connection.frame(), EXT.port)
        for vport in vports[1:]:
            data = connections[0].frame(vlan=vport.vlan)
            self.punts(vport, data, "MISS")


class TaggedPuntIsUnchanged(TaggedStationsTest):
    """What comes up has its tag, and frame_length counts it."""

    def runTest(self):
        connection = self.connect()
        data = connection.frame(REPLY, flags="FA")
        self.punts(self.ext, data, "TCP_FIN", hit=connection.hit(REPLY))
        self.punts(self.ext, frame("udp", 6, EXT, VM1, vlan=100), "MISS")


class PriorityTag(EswitchTest):
    """Tag 0 is a tag: a vport of its own, if it is to be one."""

    def runTest(self):
        vport = self.add_vport(30, VM1.port, 0)
        self.punts(vport, frame("udp", 4, VM1, EXT, vlan=0, eth={"prio": 7}), "MISS")
        self.punts(Vport(0, VM1.port), frame("udp", 4, VM1, EXT), "UNKNOWN_VPORT")


@each(family=(4, 6))
class PriorityTagOfAnUntaggedVport(StationsTest):
    """A second row gives frames with tag 0 to the vport of the untagged ones: they hit its
    entries, and a next hop that pops sends both alike."""

    def runTest(self):
        self.add_vport(self.vm1.id, VM1.port, 0)
        self.add_next_hop(70, EXT.port, vlan_op="POP")
        connection = self.connect("udp", self.family, next_hops=(70, VM1.port))
        count = self.watch_connection(connection)[ORIGINAL]
        plain, tagged = connection.frame(), connection.frame(vlan=0, eth={"prio": 5})
        for data in (plain, tagged):
            self.forwards(self.vm1, data, EXT.port, plain)
        count.expect(plain, tagged)
        self.add_next_hop(70, EXT.port, vlan_op="SET", vlan_id=9, kind="MODIFY")
        self.forwards(self.vm1, plain, EXT.port, connection.frame(vlan=9))
        kept = connection.frame(vlan=9, eth={"prio": 5})
        self.forwards(self.vm1, tagged, EXT.port, kept)


class DoubleTag(TaggedStationsTest):
    """Behind the outer tag a second one is only an EtherType."""

    def runTest(self):
        data = push_vlan(frame("tcp", 4, EXT, VM1, flags="S", vlan=7), 100)
        self.punts(self.ext, data, "MISS")
        self.add_flow(self.ext, VM1.port, {"ether_type": 0x8100}, priority=1)
        self.forwards(self.ext, data, VM1.port)


@each(family=(4, 6))
class MtuWithoutTag(TaggedStationsTest):
    """A tag is no part of the IP packet that the limit is for."""

    def runTest(self):
        self.add_next_hop(65, VM1.port, vlan_op="KEEP", mtu=1280)
        connection = self.connect("udp", self.family, next_hops=(60, 65))
        header = {4: 28, 6: 48}[self.family]
        self.forwards(self.ext, connection.frame(REPLY, payload=b"x" * (1280 - header)), VM1.port)
        large = connection.frame(REPLY, payload=b"x" * (1281 - header))
        self.punts(self.ext, large, "MTU_EXCEEDED", hit=connection.hit(REPLY))
