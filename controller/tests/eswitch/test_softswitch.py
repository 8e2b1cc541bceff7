# SPDX-License-Identifier: Apache-2.0
"""The driver against the embedded target: the program of this repository, really compiled."""

import asyncio
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from p4ct.eswitch.driver import Eswitch
from p4ct.eswitch.entries import (
    CtEntry,
    CtForward,
    CtKey,
    Delete,
    FlowEntry,
    FlowKey,
    Insert,
    L2PairEntry,
    Modify,
    NextHopEntry,
    PuntInfo,
    TunnelTermEntry,
    VportEntry,
    WindowPair,
    WindowSide,
)
from p4ct.eswitch.enums import CtHit, PuntClass, PuntReason, Step, WindowVerdict
from p4ct.p4runtime.client import P4RuntimeClient, pipeline_cookie
from p4ct.p4runtime.errors import ElectionIdInUse
from p4ct.packet.vxlan import decapsulate, encapsulate
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Ether

from ..p4runtime.fake_target import run
from .samples import (
    CT_V4,
    DRAIN,
    ENTRIES,
    MAC1,
    MAC2,
    P4INFO,
    P4INFO_MESSAGE,
    TUNNEL_V4,
    TUNNEL_V6,
    V4,
    V6,
)

CONFIG = Path(__file__).parents[3] / "p4src/compiled/eswitch.json"

# The push compiles the program, which takes a while on a machine that has never done so.
pytestmark = pytest.mark.timeout(180)


@contextmanager
def softswitch():
    """Runs the command on a port that the kernel chooses; gives its address and its process."""
    command = [Path(sys.executable).with_name("softswitch"), "--no-p4", "--"]
    command += ["--grpc-server-addr", "127.0.0.1:0", "--cpu-port", "510"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            output = []
            for line in process.stdout:
                output.append(line.decode())
                if line.startswith(b"Server listening on "):
                    break
            else:
                pytest.fail(f"softswitch ended: {''.join(output)}")
            yield output[-1].split()[-1], process
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def address():
    with softswitch() as (address, _):
        yield address


class Session:
    """A client and a driver on a freshly pushed program; punts are collected."""

    def __init__(self, address: str) -> None:
        self.punts: asyncio.Queue = asyncio.Queue()
        self.idle: asyncio.Queue = asyncio.Queue()
        self.client = P4RuntimeClient(
            address,
            on_packet_in=self._packet_in,
            on_idle=lambda entries: self.idle.put_nowait(self.eswitch.idle_keys(entries)),
        )

    async def __aenter__(self):
        await self.client.connect()
        self.eswitch = Eswitch(self.client, P4INFO)
        cookie = pipeline_cookie(P4INFO_MESSAGE, CONFIG.read_bytes())
        # Another cookie first: the fixture's target may still hold the last test's entries.
        for number in (cookie ^ 1, cookie):
            outcome = await self.client.ensure_pipeline(P4INFO_MESSAGE, CONFIG.read_bytes(), number)
            assert outcome == "pushed"
        return self

    async def __aexit__(self, *_):
        await self.client.close()

    def _packet_in(self, payload: bytes, metadata: tuple[int, ...]) -> None:
        info = self.eswitch.decode_punt(metadata)
        if not self.eswitch.take_answer(payload, info):
            self.punts.put_nowait((payload, info))

    async def punt(self) -> tuple[bytes, PuntInfo]:
        return await asyncio.wait_for(self.punts.get(), 5)


def frame(flags: str = "A", seq: int = 0, ack: int = 0) -> bytes:
    ether = Ether(src=MAC1.hex(":"), dst=MAC2.hex(":"))
    segment = TCP(sport=40000, dport=80, flags=flags, seq=seq, ack=ack)
    packet = ether / IP(src="10.0.0.1", dst="10.0.0.2") / segment
    return bytes(packet / (b"x" * 40))


KEY = CtKey(4, 9, bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]), 6, 40000, 80)
FORWARD = CtEntry(KEY, CtForward(conn_index=5, generation=3, direction=1, path=2, next_hop=1))
CONNECTION = [
    Insert(VportEntry(3, None, 7)),
    Insert(L2PairEntry(7, MAC1, MAC2, 9)),
    Insert(NextHopEntry(1, "drop")),
    Insert(FORWARD),
]


def test_program_is_kept_on_the_second_try(address):
    async def main():
        async with Session(address) as session:
            config = CONFIG.read_bytes()
            cookie = pipeline_cookie(P4INFO_MESSAGE, config)
            assert await session.client.ensure_pipeline(P4INFO_MESSAGE, config, cookie) == "kept"
            assert await session.client.get_p4info() == P4INFO_MESSAGE

    run(main())


def test_every_kind_of_entry(address):
    async def main():
        async with Session(address) as session:
            eswitch = session.eswitch
            assert await eswitch.write([Insert(entry) for entry in ENTRIES]) == [None] * len(
                ENTRIES
            )

            def of(kind):
                return {entry for entry in ENTRIES if isinstance(entry, kind)}

            assert set(await eswitch.read_tunnels()) == of(TunnelTermEntry)
            assert set(await eswitch.read_vports()) == of(VportEntry)
            assert set(await eswitch.read_l2_pairs()) == of(L2PairEntry)
            assert set(await eswitch.read_ct_entries()) == of(CtEntry)
            assert set(await eswitch.read_flows()) == of(FlowEntry)
            assert set(await eswitch.read_next_hops()) == of(NextHopEntry)
            assert set(await eswitch.read_flow_counters()) == {f.key for f in of(FlowEntry)}
            assert await eswitch.write([Modify(DRAIN)]) == [None]
            assert DRAIN in await eswitch.read_ct_entries()
            assert await eswitch.write([Delete(entry) for entry in ENTRIES]) == [None] * len(
                ENTRIES
            )
            assert await eswitch.read_ct_entries() == []
            assert await eswitch.read_flows() == []

    run(main())


def test_mixed_batch(address):
    async def main():
        async with Session(address) as session:
            answers = await session.eswitch.write(
                [Insert(CT_V4), Insert(CT_V4), Delete(V6), Modify(DRAIN)]
            )
            codes = [answer and answer.code for answer in answers]
            assert codes == [None, "ALREADY_EXISTS", "NOT_FOUND", None]

    run(main())


def test_errors_of_a_full_batch_come_back(address):
    async def main():
        async with Session(address) as session:
            ops = [Delete(V4._replace(sport=i)) for i in range(1500)]
            answers = await session.eswitch.write(ops)
            assert [answer and answer.code for answer in answers] == ["NOT_FOUND"] * 1500

    run(main())


def test_second_controller_with_the_same_election_id(address):
    async def main():
        async with Session(address):
            with pytest.raises(ElectionIdInUse):
                await P4RuntimeClient(address).connect()

    run(main())


def test_punt_header_and_counters(address):
    async def main():
        async with Session(address) as session:
            eswitch = session.eswitch
            assert eswitch.send_pipeline(3, frame())
            payload, info = await session.punt()
            assert payload == frame()
            assert (info.ingress_port, info.vport) == (3, 0)
            assert (info.reason, info.step) == (PuntReason.UNKNOWN_VPORT, Step.VPORT)
            assert info.frame_length == len(frame())

            assert await eswitch.write(CONNECTION) == [None] * 4
            assert eswitch.send_pipeline(3, frame("FA"))
            payload, info = await session.punt()
            assert payload == frame("FA")
            assert info.vport == 7
            assert (info.reason, info.step) == (PuntReason.TCP_FIN, Step.TRAP)
            assert (info.ct_hit, info.conn_index) == (CtHit.FORWARD, 5)
            assert (info.generation, info.direction) == (3, 1)
            assert await eswitch.read_connection_counters([5]) == {5: ((0, 0), (0, 0))}
            punts = await eswitch.read_punt_counters()
            length = len(frame())
            assert punts["UNKNOWN_VPORT"] == (1, length)
            assert punts["TCP_FIN"] == (1, length)
            assert (await eswitch.read_trap_counters())["TCP_FIN"][0] == 1

    run(main())


def test_connection_counters_and_drain(address):
    async def main():
        async with Session(address) as session:
            eswitch = session.eswitch
            assert await eswitch.write(CONNECTION) == [None] * 4
            for _ in range(3):
                assert eswitch.send_pipeline(3, frame())
            # A packet-out is not acknowledged: the FIN behind them comes back once they are done.
            assert eswitch.send_pipeline(3, frame("FA"))
            await session.punt()
            length = len(frame())
            counts = (3, 3 * length)
            assert await eswitch.read_connection_counters([4, 5]) == {
                4: ((0, 0), (0, 0)),
                5: ((0, 0), counts),
            }
            assert await eswitch.read_path_counters([2]) == {2: counts}
            assert (await eswitch.read_drop_counters())["NEXT_HOP"] == counts
            drain = CtEntry(KEY, DRAIN.action)
            assert await eswitch.write([Modify(drain)]) == [None]
            assert eswitch.send_pipeline(3, frame())
            _, info = await session.punt()
            assert (info.reason, info.ct_hit) == (PuntReason.DRAIN, CtHit.DRAIN)
            assert (await eswitch.read_connection_counters([5]))[5] == ((0, 0), counts)
            await eswitch.zero_connection_counters([5])
            await eswitch.zero_path_counters([2])
            assert (await eswitch.read_connection_counters([5]))[5] == ((0, 0), (0, 0))
            assert await eswitch.read_path_counters([2]) == {2: (0, 0)}
            many = range(eswitch.capabilities.max_connections)
            assert len(await eswitch.read_connection_counters(many)) == len(many)

    run(main())


def test_policer(address):
    async def main():
        async with Session(address) as session:
            eswitch = session.eswitch
            # One a second, one in the bucket: the second packet of an unknown vport is dropped.
            await eswitch.set_punt_meter(0, PuntClass.MISS, 1, 1)
            for _ in range(2):
                assert eswitch.send_pipeline(3, frame())
            await session.punt()
            await eswitch.set_punt_meter(0, PuntClass.MISS, None)
            assert eswitch.send_pipeline(3, frame("R"))
            payload, _ = await session.punt()
            assert payload == frame("R")
            assert (await eswitch.read_drop_counters())["POLICER_MISS"][0] == 1

    run(main())


def test_idle_timeout(address):
    async def main():
        async with Session(address) as session:
            eswitch = session.eswitch
            entry = CtEntry(KEY, FORWARD.action, idle_timeout_ns=100_000_000)
            assert await eswitch.write([Insert(entry)]) == [None]
            assert await asyncio.wait_for(session.idle.get(), 10) == [KEY]

    run(main())


WINDOWS = WindowPair(WindowSide(1000, 2000, 500, 7000, 3), WindowSide(7000, 7500, 1000, 1000, 14))


def test_windows(address):
    async def main():
        async with Session(address) as session:
            eswitch = session.eswitch
            assert await eswitch.write_windows({5: WINDOWS, 65535: WindowPair()}) == {5, 65535}
            assert await eswitch.read_windows([5, 6]) == {5: WINDOWS, 6: WindowPair()}
            checked = CtForward(5, 3, 0, 2, 1, check_window=True)
            ops = [*CONNECTION[:-1], Insert(CtEntry(KEY, checked))]
            assert await eswitch.write(ops) == [None] * 4
            assert eswitch.send_pipeline(3, frame(seq=2001, ack=7000))
            _, info = await session.punt()
            assert (info.reason, info.step) == (PuntReason.WINDOW, Step.WINDOW)
            assert info.window_verdict == WindowVerdict.SEQ_ABOVE
            assert info.window == WINDOWS
            # 40 bytes from 1000 on, and a window of 8192 << 3 behind 7000.
            assert eswitch.send_pipeline(3, frame(seq=1000, ack=7000))
            moved = WindowPair(
                WINDOWS.original._replace(end=1040, max_win=65536),
                WINDOWS.reply._replace(max_end=7000 + 65536),
            )
            assert await eswitch.read_windows([5]) == {5: moved}
            # The trap comes first, and what it sends up has the registers as they are.
            assert eswitch.send_pipeline(3, frame("FA", seq=1040, ack=7000))
            _, info = await session.punt()
            assert (info.reason, info.window) == (PuntReason.TCP_FIN, moved)

    run(main())


@pytest.mark.parametrize("tunnel", [TUNNEL_V4, TUNNEL_V6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("inner", [
    frame(),
    bytes(Ether(src=MAC1.hex(":"), dst=MAC2.hex(":")) / IP(src="10.0.0.1", dst="10.0.0.2", tos=3)
          / ICMP(id=77, seq=1) / b"ping"),
    bytes(Ether(src=MAC1.hex(":"), dst=MAC2.hex(":")) / IPv6(src="fd00::1", dst="fd00::2", tc=2)
          / UDP(sport=53, dport=5353) / b"datagram"),
    bytes(Ether(src=MAC1.hex(":"), dst=MAC2.hex(":")) / ARP()),
], ids=["TCP", "echo", "UDP over IPv6", "ARP"])  # fmt: skip
def test_vxlan_is_that_of_the_slow_path(address, tunnel, inner):
    """Into the tunnel and out of it again: both as `p4ct.packet.vxlan` does it."""
    outer = encapsulate(inner, tunnel)

    async def main():
        async with Session(address) as session:
            eswitch = session.eswitch
            version = 4 if len(tunnel.dst) == 4 else 6
            rows = [
                VportEntry(3, None, 7),
                # To the port of the controller, which is where this test is.
                NextHopEntry(1, "vxlan", 510, tunnel=tunnel),
                FlowEntry(FlowKey(7, 1), 0, 1),
                TunnelTermEntry(version, tunnel.dst, tunnel.vni, 9),
                VportEntry(4, None, 8, tunnel_vport=9),
            ]
            assert await eswitch.write([Insert(row) for row in rows]) == [None] * len(rows)
            assert eswitch.send_pipeline(3, inner)
            payload, info = await session.punt()
            assert info.reason == PuntReason.NONE
            assert payload == outer
            assert eswitch.send_pipeline(4, outer)
            payload, info = await session.punt()
            assert (payload, info.vport, info.reason) == (inner, 8, PuntReason.MISS)
            assert info.tunnel_id == tunnel.vni
            assert info.outer_src == int.from_bytes(tunnel.src, "big")
            assert info.frame_length == len(outer)
            assert decapsulate(outer) == (tunnel.dst, tunnel.vni, inner)
            # From a port that is no uplink it belongs to no vport.
            assert eswitch.send_pipeline(5, outer)
            payload, info = await session.punt()
            assert (info.vport, info.reason) == (0, PuntReason.UNKNOWN_VPORT)

    run(main())


def test_target_is_killed():
    async def main(address, process):
        async with Session(address) as session:
            process.kill()
            reason = await asyncio.wait_for(session.client.closed, 10)
            assert not reason.requested
            (answer,) = await session.eswitch.write([Insert(CT_V4)])
            assert answer.code == "UNAVAILABLE"

    with softswitch() as (address, process):
        run(main(address, process))
