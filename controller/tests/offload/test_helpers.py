# SPDX-License-Identifier: Apache-2.0
"""A connection with a helper stays in software; the data connection that it announces does not."""

from __future__ import annotations

from p4ct.packet import build
from p4ct.packet.parse import parse

from .model import ACK, FIN, IP, MAC, SYN, Tcp, World, learn

POLICY = """
table=0,priority=100,arp,actions=NORMAL
table=0,priority=50,ip,actions=ct(zone=1,table=1)
table=1,priority=95,ct_state=+trk+new+rel,ip,actions=ct(commit,zone=1,table=2)
table=1,priority=90,ct_state=+trk+est,actions=goto_table:2
table=1,priority=85,in_port=vm1,ct_state=+trk+new,tcp,tp_dst=21,actions=ct(commit,alg=ftp,exec(set_field:5->ct_mark),zone=1,table=2)
table=1,priority=80,in_port=vm1,ct_state=+trk+new,ip,actions=ct(commit,zone=1,table=2)
table=1,priority=0,actions=drop
table=2,priority=0,actions=NORMAL
"""


class Server(Tcp):
    """A connection that ext begins."""

    def begin(self) -> bool:
        """A SYN from ext; whether it was delivered."""
        self.world.delivered.clear()
        self.send("ext", SYN)
        return bool(self.world.delivered)


def announced() -> tuple[World, Tcp]:
    world = World(policy=POLICY)
    learn(world)
    control = Tcp(world, dport=21).offload()
    control.send("ext", ACK, b"220 ready\r\n")
    control.send("vm1", ACK, b"USER x\r\n")
    control.send("vm1", ACK, b"PORT 10,0,0,1,156,65\r\n")  # 40001
    return world, control


def test_the_control_connection_stays_and_the_data_connection_goes() -> None:
    world, control = announced()
    (connection,) = world.connections()
    assert connection.offload is None
    assert connection.offload_reason == "a helper reads its packets: ftp"
    assert control.send("vm1", ACK, b"NOOP\r\n") == "software"
    # Nobody expects this one.
    assert not Server(world, sport=40002, dport=20).begin()
    data = Server(world, sport=40001, dport=20)
    assert data.begin()
    data.send("vm1", SYN | ACK)
    data.send("ext", ACK)
    data.send("vm1", ACK, b"data")
    assert data.send("ext", ACK, b"data") == "hardware"
    assert data.send("vm1", ACK, b"data") == "hardware"
    (found,) = [c for c in world.connections() if c.original.sport == 20]
    assert (found.mark, found.helper) == (5, "")
    data.send("ext", FIN | ACK)
    data.send("vm1", FIN | ACK)
    data.send("ext", ACK)
    control.close()
    world.later(500)
    assert world.switch.empty
    assert len(world.tracker) == 0


def test_an_icmp_error_about_a_data_connection_is_none_of_its_packets() -> None:
    world, _ = announced()
    data = Server(world, sport=40001, dport=20)
    data.begin()
    data.send("vm1", SYN | ACK)
    data.send("ext", ACK)
    (found,) = [c for c in world.connections() if c.original.sport == 20]
    before = found.packets
    quoted = parse(
        build.tcp_frame(src=IP["vm1"], dst=IP["ext"], sport=40001, dport=20, flags=ACK)
    ).frame[14:]
    error = build.icmp_frame(
        eth_src=MAC["ext"], eth_dst=MAC["vm1"], src=IP["ext"], dst=IP["vm1"], icmp_type=3,
        icmp_code=1, body=bytes(4) + quoted,
    )  # fmt: skip
    world.packet(error, 3)
    assert found.packets == before
