# SPDX-License-Identifier: Apache-2.0
"""What no entry knows goes up, unchanged, with a header that says all there is to say."""

from ptf_base.each import each
from ptf_base.eswitch import EswitchTest, StationsTest
from ptf_base.frames import ETHERTYPE_EXPERIMENTAL, EXT, VM1, VM2, Ether, Raw, frame, pad
from ptf_base.traffic import Vport
from scapy.layers.l2 import ARP


@each(proto=("tcp", "udp", "icmp"), family=(4, 6))
class Miss(StationsTest):
    """No entry: up, from each station, and counted."""

    def runTest(self):
        counter = self.watch("punt_counter", "MISS")
        data = frame(self.proto, self.family, VM1, EXT)
        reply = frame(self.proto, self.family, EXT, VM1, reply=True)
        self.punts(self.vm1, data, "MISS")
        self.punts(self.ext, reply, "MISS")
        counter.expect(data, reply)


class MissWithKnownStations(StationsTest):
    """The MAC pair is known, the connection is not."""

    def runTest(self):
        self.add_l2_pair(self.vm1, VM1.mac, EXT.mac)
        self.punts(self.vm1, frame("tcp", 4, VM1, EXT), "MISS")
        self.punts(self.vm1, frame("tcp", 6, VM1, EXT), "MISS")


class MissPadded(StationsTest):
    """frame_length counts the padding of a small frame, and the padding goes up with it."""

    def runTest(self):
        for length in (46, 59, 60, 61, 64):
            self.punts(self.vm1, pad(frame("udp", 4, VM1, EXT, payload=b"x"), length), "MISS")


class MissOfEverySize(StationsTest):
    """From the smallest link-layer frame to a full one."""

    def runTest(self):
        header = Ether(src=VM1.mac, dst=VM2.mac, type=ETHERTYPE_EXPERIMENTAL)
        for size in (0, 1, 45, 46, 47, 255, 256, 1485, 1486, 1499, 1500):
            self.punts(self.vm1, bytes(header / Raw(b"\xa5" * size)), "MISS")


class MissBroadcast(StationsTest):
    """Broadcast and multicast are no different."""

    def runTest(self):
        who_has = ARP(op="who-has", hwsrc=VM1.mac, psrc=VM1.ip4, pdst=VM2.ip4)
        arp = bytes(Ether(src=VM1.mac, dst="ff:ff:ff:ff:ff:ff") / who_has)
        self.punts(self.vm1, arp, "MISS")
        group = frame("udp", 4, VM1, EXT, eth={"dst": "01:00:5e:00:00:01"}, ip={"dst": "224.0.0.1"})
        self.punts(self.vm1, group, "MISS")


class MissOtherProtocols(StationsTest):
    """IP protocols without ports miss like any other."""

    def runTest(self):
        for number in (2, 47, 89, 132, 255):
            self.punts(self.vm1, frame("udp", 4, VM1, EXT, ip={"proto": number}), "MISS")
        for number in (47, 89, 132, 255):
            self.punts(self.vm1, frame("udp", 6, VM1, EXT, ip={"nh": number}), "MISS")


class UnknownPort(EswitchTest):
    """A port without a vport: up, with vport 0."""

    def runTest(self):
        counter = self.watch("punt_counter", "UNKNOWN_VPORT")
        frames = [frame("tcp", 4, VM1, EXT, flags="S"), frame("udp", 6, VM1, EXT)]
        for data in frames:
            self.punts(Vport(0, 2), data, "UNKNOWN_VPORT")
        counter.expect(*frames)


class UnknownVlan(StationsTest):
    """A tag that the port does not have, or none where it has one, is another vport."""

    def runTest(self):
        self.punts(Vport(0, VM1.port), frame("tcp", 4, VM1, EXT, vlan=7), "UNKNOWN_VPORT")
        self.punts(Vport(0, VM1.port), frame("tcp", 4, VM1, EXT, vlan=0), "UNKNOWN_VPORT")


class VportRemoved(EswitchTest):
    """A vport holds until it is deleted."""

    def runTest(self):
        data = frame("udp", 4, VM1, EXT)
        vport = self.add_vport(1023, VM1.port)
        self.punts(vport, data, "MISS")
        match = {"port": VM1.port, "tunnel_vport": 0, "vlan_present": 0, "vlan_id": 0}
        self.delete("vport", match)
        self.punts(Vport(0, VM1.port), data, "UNKNOWN_VPORT")
