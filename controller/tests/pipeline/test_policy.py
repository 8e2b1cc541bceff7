# SPDX-License-Identifier: Apache-2.0
"""A realistic stateful policy over the real connection tracker, IPv4 and IPv6.

vm1 and vm2 may open anything; ext gets in only with what belongs to a known connection, and with
TCP to port 80 of vm1.
"""

from __future__ import annotations

import pytest
from p4ct.conntrack import CtState, Tracker
from p4ct.packet import parse
from p4ct.packet.build import arp_frame, icmp_echo_frame, icmp_frame, tcp_frame, udp_frame
from p4ct.pipeline import PeekConntrack, Pipeline, PortTable, Result, Vport, parse_flows

POLICY = """
# table 0: who is let in, and what has to be tracked
table=0,priority=100,arp,actions=NORMAL
table=0,priority=100,icmp6,icmpv6_type=133,actions=NORMAL
table=0,priority=100,icmp6,icmpv6_type=134,actions=NORMAL
table=0,priority=100,icmp6,icmpv6_type=135,actions=NORMAL
table=0,priority=100,icmp6,icmpv6_type=136,actions=NORMAL
table=0,priority=50,ip,actions=ct(table=1)
table=0,priority=50,ipv6,actions=ct(table=1)
table=0,priority=0,actions=drop
# table 1: the policy by state
table=1,priority=200,ct_state=+trk+inv,actions=drop
table=1,priority=100,ct_state=+trk+est,actions=NORMAL
table=1,priority=100,ct_state=+trk+rel,actions=NORMAL
table=1,priority=50,ip,in_port=vm1,ct_state=+trk+new,actions=ct(commit),NORMAL
table=1,priority=50,ip,in_port=vm2,ct_state=+trk+new,actions=ct(commit),NORMAL
table=1,priority=50,ipv6,in_port=vm1,ct_state=+trk+new,actions=ct(commit),NORMAL
table=1,priority=50,ipv6,in_port=vm2,ct_state=+trk+new,actions=ct(commit),NORMAL
table=1,priority=40,tcp,in_port=ext,nw_dst=10.0.0.1,tp_dst=80,tcp_flags=+syn-ack,\
ct_state=+trk+new,actions=ct(commit),NORMAL
table=1,priority=40,tcp6,in_port=ext,ipv6_dst=fd00::1,tp_dst=80,tcp_flags=+syn-ack,\
ct_state=+trk+new,actions=ct(commit),NORMAL
table=1,priority=0,actions=drop
"""

PORTS = {"vm1": 1, "vm2": 2, "ext": 3}
ADDRESS = {
    4: {"vm1": "10.0.0.1", "vm2": "10.0.0.2", "ext": "10.0.0.3"},
    6: {"vm1": "fd00::1", "vm2": "fd00::2", "ext": "fd00::3"},
}
MAC = {"vm1": "02:00:00:00:00:01", "vm2": "02:00:00:00:00:02", "ext": "02:00:00:00:00:03"}
SYN, ACK, RST, FIN = 0x02, 0x10, 0x04, 0x01


class Network:
    """Three hosts that send packets through one pipeline, one packet a millisecond."""

    def __init__(self, version: int) -> None:
        self.address = ADDRESS[version]
        self.tracker = Tracker()
        ports = PortTable(Vport(number, name, number) for name, number in PORTS.items())
        self.pipeline = Pipeline(ports, self.tracker)
        self.pipeline.replace(parse_flows(POLICY, source="policy.flows", ports=PORTS))
        self.now = 1000.0

    def ends(self, source: str, target: str) -> dict[str, str]:
        return {
            "src": self.address[source],
            "dst": self.address[target],
            "eth_src": MAC[source],
            "eth_dst": MAC[target],
        }

    def send(self, frame: bytes, source: str) -> Result:
        self.now += 0.001
        return self.pipeline.process(parse(frame), PORTS[source], self.now)

    def tcp(self, source: str, target: str, sport: int, dport: int, **fields: int) -> Result:
        frame = tcp_frame(**self.ends(source, target), sport=sport, dport=dport, **fields)
        return self.send(frame, source)

    def udp(self, source: str, target: str, sport: int, dport: int) -> Result:
        return self.send(udp_frame(**self.ends(source, target), sport=sport, dport=dport), source)

    def ping(self, source: str, target: str, identifier: int, *, reply: bool = False) -> Result:
        frame = icmp_echo_frame(**self.ends(source, target), identifier=identifier, reply=reply)
        return self.send(frame, source)

    def introduce(self) -> None:
        """Everybody asks for everybody's address, so that the switch knows where they are."""
        for name, mac in MAC.items():
            frame = arp_frame(op=1, sha=mac, spa="10.0.0.9", tpa="10.0.0.8")
            assert self.send(frame, name).verdict == "forward"

    def open(self, client: str, server: str, sport: int, dport: int) -> list[Result]:
        """The three packets of a handshake."""
        return [
            self.tcp(client, server, sport, dport, flags=SYN, seq=100),
            self.tcp(server, client, dport, sport, flags=SYN | ACK, seq=500, ack=101),
            self.tcp(client, server, sport, dport, flags=ACK, seq=101, ack=501),
        ]


@pytest.fixture(params=[4, 6], ids=["ipv4", "ipv6"])
def net(request: pytest.FixtureRequest) -> Network:
    network = Network(request.param)
    network.introduce()
    return network


def outputs(results: list[Result]) -> list[list[int]]:
    return [result.outputs for result in results]


@pytest.mark.parametrize(
    ("client", "server", "dport"),
    [("vm1", "ext", 443), ("vm2", "ext", 22), ("vm1", "vm2", 5000), ("ext", "vm1", 80)],
)
def test_allowed_tcp(net: Network, client: str, server: str, dport: int) -> None:
    results = net.open(client, server, 4000, dport)
    assert outputs(results) == [[PORTS[server]], [PORTS[client]], [PORTS[server]]]
    syn, syn_ack, ack = results
    assert syn.ct[0].committed
    assert syn.ct[0].result.state == CtState.TRK | CtState.NEW
    assert syn_ack.ct[0].result.state == CtState.TRK | CtState.EST | CtState.RPL
    assert ack.ct[0].result.state == CtState.TRK | CtState.EST
    connections = {result.ct[0].connection for result in results}
    assert len(connections) == 1
    # both directions could be eswitch entries, although the policy looks at the TCP flags of new
    # connections
    assert syn_ack.blockers == []
    assert ack.blockers == []
    assert ack.fdb_dependencies == {(0, bytes.fromhex(MAC[server].replace(":", "")))}
    assert [flow.table for flow in ack.path] == [0, 1]


@pytest.mark.parametrize(("server", "dport"), [("vm1", 22), ("vm2", 80), ("vm1", 8080)])
def test_denied_tcp_from_outside(net: Network, server: str, dport: int) -> None:
    result = net.tcp("ext", server, 4000, dport, flags=SYN)
    assert (result.verdict, result.drop_reason) == ("drop", "action drop")
    assert not result.ct[0].committed
    assert list(net.tracker.select()) == []
    assert net.pipeline.drops == {"action drop": 1}


@pytest.mark.parametrize("flags", [ACK, RST, FIN | ACK, SYN | ACK, 0])
@pytest.mark.parametrize("dport", [80, 443])
def test_scan_does_not_pass(net: Network, flags: int, dport: int) -> None:
    result = net.tcp("ext", "vm1", 4000, dport, flags=flags)
    assert result.verdict == "drop"
    assert list(net.tracker.select()) == []


def test_udp(net: Network) -> None:
    assert net.udp("ext", "vm1", 53, 4000).verdict == "drop"
    assert net.udp("vm1", "ext", 4000, 53).outputs == [3]
    again = net.udp("vm1", "ext", 4000, 53)
    assert again.outputs == [3]
    assert again.ct[0].result.state == CtState.TRK | CtState.NEW
    reply = net.udp("ext", "vm1", 53, 4000)
    assert (reply.outputs, reply.blockers) == ([1], [])
    assert net.udp("vm1", "ext", 4000, 53).blockers == []
    assert net.udp("ext", "vm1", 54, 4000).verdict == "drop"


def test_ping(net: Network) -> None:
    assert net.ping("ext", "vm1", 7).verdict == "drop"
    assert net.ping("ext", "vm1", 7, reply=True).verdict == "drop"
    assert net.ping("vm1", "ext", 7).outputs == [3]
    reply = net.ping("ext", "vm1", 7, reply=True)
    assert (reply.outputs, reply.blockers) == ([1], [])
    assert net.ping("ext", "vm1", 8, reply=True).verdict == "drop"


def test_related_error_gets_in_and_others_do_not(net: Network) -> None:
    four = "." in net.address["vm1"]
    sent = udp_frame(**net.ends("vm1", "ext"), sport=4000, dport=33434)
    net.send(sent, "vm1")
    unknown = udp_frame(**net.ends("vm1", "ext"), sport=4001, dport=33434)
    kind, code = (3, 3) if four else (1, 4)

    def error(about: bytes) -> Result:
        body = bytes(4) + about[14:]
        frame = icmp_frame(**net.ends("ext", "vm1"), icmp_type=kind, icmp_code=code, body=body)
        return net.send(frame, "ext")

    result = error(sent)
    assert result.outputs == [1]
    assert "ICMP error related to a connection of zone 0" in result.blockers
    assert error(unknown).verdict == "drop"


def test_neighbour_discovery_passes_untracked(net: Network) -> None:
    for kind in (133, 134, 135, 136):
        frame = icmp_frame(
            src="fe80::1",
            dst="ff02::1",
            icmp_type=kind,
            body=bytes(20),
            eth_src=MAC["ext"],
            eth_dst="33:33:00:00:00:01",
        )
        result = net.send(frame, "ext")
        assert (result.outputs, result.ct) == ([1, 2], [])


def test_other_ethernet_types_do_not_pass(net: Network) -> None:
    frame = bytes.fromhex("ffffffffffff020000000001") + b"\x88\xb5" + bytes(46)
    assert net.send(frame, "vm1").drop_reason == "action drop"


def test_reset_then_scan(net: Network) -> None:
    net.open("ext", "vm1", 4000, 80)
    assert net.tcp("vm1", "ext", 80, 4000, flags=RST | ACK, seq=501, ack=101).outputs == [3]
    net.now += 60
    assert net.tcp("ext", "vm1", 4000, 80, flags=ACK, seq=101, ack=501).verdict == "drop"


def test_recheck_of_an_established_connection_changes_nothing(net: Network) -> None:
    net.open("ext", "vm1", 4000, 80)
    before = snapshot(net)
    peek = PeekConntrack(net.tracker)

    def again(source: str, target: str, sport: int, dport: int) -> Result:
        frame = tcp_frame(**net.ends(source, target), sport=sport, dport=dport, seq=101, ack=501)
        return net.pipeline.process(parse(frame), PORTS[source], net.now, ct=peek)

    assert again("ext", "vm1", 4000, 80).outputs == [1]
    assert again("ext", "vm1", 4001, 80).verdict == "drop"
    assert snapshot(net) == before
    without = POLICY.replace("table=1,priority=100,ct_state=+trk+est,actions=NORMAL", "")
    net.pipeline.replace(parse_flows(without, ports=PORTS))
    assert again("ext", "vm1", 4000, 80).verdict == "drop"


def snapshot(net: Network) -> tuple[object, ...]:
    return (
        [(flow.id, flow.n_packets, flow.n_bytes) for flow in net.pipeline.flows],
        dict(net.pipeline.drops),
        list(net.pipeline.macs.entries(net.now)),
        [
            (c.id, c.state_name, c.expires, list(c.packets), list(c.bytes))
            for c in net.tracker.select()
        ],
    )


def test_full_table_drops_new_ones_and_keeps_the_others() -> None:
    network = Network(4)
    network.tracker = Tracker(max_connections=1)
    network.pipeline.tracker = network.tracker
    network.introduce()
    network.open("vm1", "ext", 4000, 443)
    for ack in (501, 502):  # data both ways makes it assured
        network.tcp("ext", "vm1", 443, 4000, flags=ACK, seq=ack, ack=101)
    refused = network.tcp("vm1", "ext", 4001, 443, flags=SYN)
    assert refused.drop_reason == "ct(commit): connection table full"
    assert network.tcp("vm1", "ext", 4000, 443, flags=ACK, seq=101, ack=501).outputs == [3]
