# SPDX-License-Identifier: Apache-2.0
"""NAT: the addresses and ports that a connection's packets leave with, checksums by scapy."""

import random
from dataclasses import replace
from ipaddress import ip_address

from ptf_base import frames
from ptf_base.each import each
from ptf_base.eswitch import StationsTest
from ptf_base.frames import EXT, PROTO_NUMBERS, VM1, Station, Tunnel, routed
from ptf_base.traffic import EntryHit
from scapy.layers.inet import UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

PROTOS = ("tcp", "udp", "icmp")
KINDS = ("source", "destination", "both", "ports", "nothing")
# What both sides see: the client as the server sees it, the server as the client sees it.
OUTSIDE = replace(VM1, ip4="203.0.113.77", ip6="2001:db8:77::ffff")
VIRTUAL = replace(EXT, ip4="10.0.0.254", ip6="fd00::fe")
CLIENT_PORT, OUTSIDE_PORT = 40000, 61234
SERVER_PORT, VIRTUAL_PORT = 8080, 80
ROUTER, GATEWAY = "02:00:00:00:aa:01", "02:00:00:00:bb:02"


class NatTest(StationsTest):
    """vm1 to ext, both entries with NAT."""

    def setUp(self):
        super().setUp()
        self.pairs = (
            self.add_l2_pair(self.vm1, VM1.mac, EXT.mac),
            self.add_l2_pair(self.ext, EXT.mac, VM1.mac),
        )

    def translate(
        self,
        proto: str,
        family: int,
        before: tuple[Station, Station, int, int],
        after: tuple[Station, Station, int, int],
        *,
        direction: int = 0,
        next_hop: int | None = None,
        index: int = 1,
    ) -> dict[str, object]:
        """An entry for packets from, to and with the ports of `before`, that leave with `after`'s;
        returns its key."""
        src, dst, sport, dport = before
        number, key_sport, key_dport = frames.key(proto, family, sport, dport, reply=direction == 1)
        match = {
            "l2_id": self.pairs[direction],
            "src": src.ip(family),
            "dst": dst.ip(family),
            "proto": number,
            "sport": key_sport,
            "dport": key_dport,
        }
        params = {
            "conn_index": index,
            "generation": 3,
            "direction": direction,
            "path": 0,
            "next_hop": (VM1 if direction else EXT).port if next_hop is None else next_hop,
            "check_window": 0,
            "src": after[0].ip(family),
            "dst": after[1].ip(family),
            "sport": after[2],
            "dport": key_dport if proto == "icmp" else after[3],
        }
        self.insert(f"ct_v{family}", match, f"ct_nat_v{family}", params)
        return match

    def frame(self, proto, family, tuple_, **changes):
        src, dst, sport, dport = tuple_
        return frames.frame(proto, family, src, dst, sport=sport, dport=dport, **changes)


def outward(kind: str, proto: str) -> tuple[tuple, tuple]:
    """What the client sends, and what the server gets."""
    client = OUTSIDE if kind in ("source", "both") else VM1
    server = VIRTUAL if kind in ("destination", "both") else EXT
    rewrite = kind in ("ports", "both")
    before = (VM1, server, CLIENT_PORT, VIRTUAL_PORT if rewrite else SERVER_PORT)
    after = (client, EXT, OUTSIDE_PORT if rewrite else CLIENT_PORT, SERVER_PORT)
    if proto == "icmp":
        return (*before[:3], 0), (*after[:3], 0)
    return before, after


def backward(after: tuple, proto: str) -> tuple:
    """The packet that answers a packet with these addresses and ports."""
    src, dst, sport, dport = after
    return (dst, src, sport, 0) if proto == "icmp" else (dst, src, dport, sport)


@each(proto=PROTOS, family=(4, 6), kind=KINDS)
class Translate(NatTest):
    """Both directions, at payloads of odd and even length; cells count the frames as they came."""

    def runTest(self):
        before, after = outward(self.kind, self.proto)
        self.translate(self.proto, self.family, before, after)
        back, back_after = backward(after, self.proto), backward(before, self.proto)
        self.translate(self.proto, self.family, back, back_after, direction=1)
        counts = self.watch("ct_counter", 2), self.watch("ct_counter", 3)
        sent = ([], [])
        for size in (0, 1, 2, 3, 7, 512, 1399):
            payload = bytes(range(256))[:size] * (1 + size // 256)
            for reply, vport, port, came, goes in (
                (False, self.vm1, EXT.port, before, after),
                (True, self.ext, VM1.port, back, back_after),
            ):
                data = self.frame(self.proto, self.family, came, payload=payload, reply=reply)
                as_ = self.frame(self.proto, self.family, goes, payload=payload, reply=reply)
                self.forwards(vport, data, port, as_)
                sent[reply].append(data)
        for count, data in zip(counts, sent, strict=True):
            count.expect(*data)


@each(proto=PROTOS, family=(4, 6))
class RandomTranslation(NatTest):
    """Random addresses, ports, payloads and header fields; the extremes 0x0000 and 0xffff, too."""

    def runTest(self):
        rng = random.Random(f"nat {self.proto} {self.family}")

        def number(bits):
            words = [rng.choice((0, 0xFFFF, rng.getrandbits(16))) for _ in range(bits // 16)]
            return sum(word << 16 * i for i, word in enumerate(words))

        def some(station, low):
            ip4, ip6 = (number(bits) & ~1 | low for bits in (32, 128))
            return replace(station, ip4=str(ip_address(ip4)), ip6=str(ip_address(ip6 | 1 << 125)))

        for index in range(1, 41):
            echo = self.proto == "icmp"
            before = (some(VM1, 1), some(EXT, 0), number(16), 0 if echo else number(16))
            after = (some(VM1, 1), some(EXT, 0), number(16), 0 if echo else number(16))
            self.translate(self.proto, self.family, before, after, index=index)
            payload = rng.randbytes(rng.randrange(200))
            ip = {4: {"id": number(16), "tos": rng.getrandbits(8)}, 6: {"fl": number(16)}}
            changes = {"payload": payload, "ip": ip[self.family], "ttl": rng.randrange(2, 256)}
            data = self.frame(self.proto, self.family, before, **changes)
            as_ = self.frame(self.proto, self.family, after, **changes)
            self.forwards(self.vm1, data, EXT.port, as_)


@each(family=(4, 6))
class NoUdpChecksum(NatTest):
    """A UDP checksum of 0 stays 0."""

    def runTest(self):
        before, after = outward("both", "udp")
        self.translate("udp", self.family, before, after)
        data = self.frame("udp", self.family, before, l4={"chksum": 0})
        as_ = self.frame("udp", self.family, after, l4={"chksum": 0})
        self.forwards(self.vm1, data, EXT.port, as_)


@each(family=(4, 6))
class UdpChecksumComputesToZero(NatTest):
    """A UDP checksum that computes to 0 is sent as 0xffff; a TCP checksum is sent as 0."""

    def runTest(self):
        before, after = outward("both", "udp")
        for index, proto in enumerate(("udp", "tcp"), 1):
            self.translate(proto, self.family, before, after, index=index)
            as_ = self.frame(proto, self.family, after, payload=b"\0\0tail")
            at = 14 + {4: 20, 6: 40}[self.family] + {"udp": 6, "tcp": 16}[proto]
            # Two payload bytes that make up for all the rest.
            payload = as_[at : at + 2] + b"tail"
            as_ = bytearray(self.frame(proto, self.family, after, payload=payload))
            expected = b"\xff\xff" if proto == "udp" else b"\0\0"
            assert as_[at : at + 2] in (b"\0\0", b"\xff\xff"), as_.hex()
            as_[at : at + 2] = expected
            data = self.frame(proto, self.family, before, payload=payload)
            self.forwards(self.vm1, data, EXT.port, bytes(as_))


@each(proto=PROTOS, family=(4, 6))
class ChecksumCarries(NatTest):
    """The sum of the differences carries more than once: results around 0x0000 and 0xffff, of the
    transport checksum and of the IPv4 header's."""

    def runTest(self):
        before, after = outward("both", self.proto)
        self.translate(self.proto, self.family, before, after)
        at = 14 + {4: 20, 6: 40}[self.family] + {"udp": 6, "tcp": 16, "icmp": 2}[self.proto]
        ip = {"id": 0} if self.family == 4 else {}
        base = self.frame(self.proto, self.family, after, payload=b"\0\0", ip=ip)
        for near in (*range(1, 5), *range(-48, -1)):
            # What is added to one word of a packet is taken from its checksum.
            word = (int.from_bytes(base[at : at + 2], "big") - near) % 65535
            changes = {"payload": word.to_bytes(2, "big")}
            if self.family == 4:
                changes["ip"] = {"id": (int.from_bytes(base[24:26], "big") - near) % 65535}
            data = self.frame(self.proto, self.family, before, **changes)
            as_ = self.frame(self.proto, self.family, after, **changes)
            assert int.from_bytes(as_[at : at + 2], "big") == near % 65535
            self.forwards(self.vm1, data, EXT.port, as_)


@each(proto=PROTOS, family=(4, 6))
class WrongChecksumStaysWrong(NatTest):
    """A transport checksum that was wrong is not made right: it stays wrong by as much."""

    def runTest(self):
        before, after = outward("both", self.proto)
        self.translate(self.proto, self.family, before, after)
        field = "cksum" if (self.proto, self.family) == ("icmp", 6) else "chksum"
        right = self.frame(self.proto, self.family, before)
        at = 14 + {4: 20, 6: 40}[self.family] + {"udp": 6, "tcp": 16, "icmp": 2}[self.proto]
        good = self.frame(self.proto, self.family, after)
        wrong = (int.from_bytes(right[at : at + 2], "big") + 1) % 65535 or 1
        data = self.frame(self.proto, self.family, before, l4={field: wrong})
        self.send(self.vm1, data)
        got = self.switch.dataplane.poll(0, EXT.port, 5).packet
        assert got[:at] == good[:at]
        assert got[at + 2 :] == good[at + 2 :]
        off = wrong - int.from_bytes(right[at : at + 2], "big")
        now = int.from_bytes(got[at : at + 2], "big") - int.from_bytes(good[at : at + 2], "big")
        assert (now - off) % 65535 == 0, (off, now)


@each(proto=PROTOS, family=(4, 6))
class TranslateAndRoute(NatTest):
    """NAT and a routed next hop in one pass: both change the checksum of IPv4."""

    def runTest(self):
        self.add_next_hop(50, EXT.port, route=(ROUTER, GATEWAY))
        before, after = outward("both", self.proto)
        self.translate(self.proto, self.family, before, after, next_hop=50)
        for ttl in (2, 255):
            data = self.frame(self.proto, self.family, before, ttl=ttl)
            as_ = self.frame(self.proto, self.family, after, ttl=ttl)
            self.forwards(self.vm1, data, EXT.port, routed(as_, src=ROUTER, dst=GATEWAY))


@each(proto=PROTOS, family=(4, 6))
class TranslateAndEncapsulate(NatTest):
    """NAT inside, VXLAN outside."""

    def runTest(self):
        tunnel = Tunnel("192.0.2.1", "192.0.2.2", 5)
        self.add_vxlan_next_hop(50, EXT.port, tunnel)
        before, after = outward("both", self.proto)
        self.translate(self.proto, self.family, before, after, next_hop=50)
        self.send(self.vm1, self.frame(self.proto, self.family, before))
        got = self.switch.dataplane.poll(0, EXT.port, 5).packet
        sport = int.from_bytes(got[34:36], "big")
        assert got == tunnel.wrap(self.frame(self.proto, self.family, after), sport=sport)


@each(proto=PROTOS, family=(4, 6))
class PuntsUntranslated(NatTest):
    """What goes up from an entry with NAT goes up as it came: TTL, MTU, no next hop."""

    def runTest(self):
        self.add_next_hop(50, EXT.port, mtu=200)
        before, after = outward("both", self.proto)
        self.translate(self.proto, self.family, before, after, next_hop=50)
        hit = EntryHit("FORWARD", 0, 1, 3)
        low = self.frame(self.proto, self.family, before, ttl=1)
        self.punts(self.vm1, low, "TTL", hit=hit)
        large = self.frame(self.proto, self.family, before, payload=b"x" * 300)
        self.punts(self.vm1, large, "MTU_EXCEEDED", hit=hit)
        self.delete("next_hop", {"next_hop": 50})
        data = self.frame(self.proto, self.family, before)
        self.punts(self.vm1, data, "NO_NEXT_HOP", hit=hit)


@each(family=(4, 6))
class TranslateTunnelPort(NatTest):
    """UDP to port 4789 that is no tunnel's: what is behind the UDP header is payload."""

    def runTest(self):
        before = (VM1, EXT, 40000, 4789)
        after = (OUTSIDE, EXT, 40001, 4789)
        self.translate("udp", self.family, before, after)
        inner = bytes([8, 0, 0, 0, 0, 1, 2, 0]) + frames.frame("tcp", 4, EXT, VM1)
        for length in (0, 7, 8, 30, len(inner)):
            data = self.frame("udp", self.family, before, payload=inner[:length])
            as_ = self.frame("udp", self.family, after, payload=inner[:length])
            self.forwards(self.vm1, data, EXT.port, as_)


class ScapyAgrees(NatTest):
    """The builder's checksums are those that scapy computes anew for what left."""

    def runTest(self):
        before, after = outward("both", "udp")
        self.translate("udp", 6, before, after)
        self.send(self.vm1, self.frame("udp", 6, before))
        got = self.switch.dataplane.poll(0, EXT.port, 5).packet
        packet = Ether(got)
        del packet[UDP].chksum
        assert bytes(packet) == got
        assert packet[IPv6].nh == PROTO_NUMBERS["udp", 6]
