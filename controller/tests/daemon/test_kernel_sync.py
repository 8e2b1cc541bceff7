# SPDX-License-Identifier: Apache-2.0
"""The kernel's own connections, in a namespace of the test, taken over and followed."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from p4ct.conntrack import Connection, CtState, Direction, Tracker, Tuple
from p4ct.conntrack.ctnetlink import changes, dump_request
from p4ct.daemon import kernel_sync, views
from p4ct.daemon.kernel_sync import KernelSync, KernelSyncError, open_socket
from p4ct.p4runtime.errors import TargetError
from p4ct.packet.build import udp_frame
from p4ct.packet.parse import parse

from ..against_kernel.ctnetlink import Conntrack
from ..against_kernel.namespace import Namespace
from .bench import controller_of, until, write_config

RULES = """
table inet watch {
  chain out { type filter hook output priority 0; ct state new ct mark set 0x77 accept; }
}
"""
LO = "127.0.0.1"


class Kernel:
    """A namespace whose loopback traffic is tracked."""

    def __init__(self) -> None:
        self.namespace = Namespace("sync")
        self.run: Callable[..., Any] = self.namespace.run
        self.namespace.command("ip", "link", "set", "lo", "up")
        self.namespace.command("nft", "-f", "-", text=RULES)
        self.table: Conntrack = self.run(Conntrack)
        self.sockets: list[socket.socket] = []

    def udp(self, *, answer: bool = True) -> Tuple:
        """A datagram over loopback, and an answer; the tuple of its connection."""
        pair = [self.run(socket.socket, socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
        self.sockets += pair
        client, server = pair
        server.bind((LO, 0))
        client.bind((LO, 0))
        client.connect(server.getsockname())
        client.send(b"question")
        server.recv(100)
        if answer:
            server.sendto(b"answer", client.getsockname())
            client.recv(100)
        ports = client.getsockname()[1], server.getsockname()[1]
        return Tuple(4, 17, socket.inet_aton(LO), socket.inet_aton(LO), *ports)

    def tcp(self) -> tuple[Tuple, socket.socket]:
        """An established connection over loopback, and its client's end."""
        listener = self.run(socket.socket, socket.AF_INET, socket.SOCK_STREAM)
        listener.bind((LO, 0))
        listener.listen()
        client = self.run(socket.socket, socket.AF_INET, socket.SOCK_STREAM)
        client.connect(listener.getsockname())
        accepted, _ = listener.accept()
        self.sockets += [listener, client, accepted]
        ports = client.getsockname()[1], listener.getsockname()[1]
        return Tuple(4, 6, socket.inet_aton(LO), socket.inet_aton(LO), *ports), client

    def close(self) -> None:
        for item in self.sockets:
            item.close()
        self.table.close()
        self.namespace.close()


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    made = Kernel()
    yield made
    made.close()


def follow(kernel: Kernel, story: Callable[[KernelSync], Any], **limits: int) -> None:
    """Run `story` with a tracker that follows the kernel; the table was read when it begins."""

    async def main() -> None:
        sync = KernelSync(Tracker(**limits), lambda: 100.0, kernel.run(open_socket))
        sync.start()
        try:
            await asyncio.wait_for(sync.read.wait(), 10)
            await story(sync)
        finally:
            sync.stop()

    asyncio.run(main())


def known(sync: KernelSync, key: Tuple) -> Connection | None:
    found = sync.tracker.find(key, 0)
    return None if found is None else found[0]


def test_what_was_there_before(kernel: Kernel) -> None:
    asked, answered = kernel.udp(answer=False), kernel.udp()
    opened, _ = kernel.tcp()

    async def story(sync: KernelSync) -> None:
        states = {
            key.proto + 100 * (key == answered): conn.state_name
            for key in (asked, answered, opened)
            if (conn := known(sync, key)) is not None
        }
        assert states == {17: "UNREPLIED", 117: "REPLIED", 6: "ESTABLISHED"}
        conn = known(sync, opened)
        assert conn is not None
        assert (conn.mark, conn.assured, conn.seen_reply) == (0x77, True, True)
        assert conn.reply == opened.reversed()
        held = kernel.table.find(opened)
        assert held is not None
        assert abs(conn.expires - 100 - held.timeout) <= 2
        assert sync.stats["taken"] == len(sync.tracker) == 3

    follow(kernel, story)


def test_what_comes_changes_and_goes(kernel: Kernel) -> None:
    async def story(sync: KernelSync) -> None:
        assert len(sync.tracker) == 0
        key, client = kernel.tcp()
        await until(lambda: (c := known(sync, key)) and c.assured, "the connection is known")
        client.close()
        await until(lambda: (c := known(sync, key)) and c.state_name != "ESTABLISHED", "it closes")
        other = kernel.udp()
        await until(lambda: known(sync, other), "another")
        kernel.table.delete(other)
        await until(lambda: known(sync, other) is None, "it is gone")
        assert known(sync, key) is not None

    follow(kernel, story)


def test_a_connection_that_comes_here_is_ours(kernel: Kernel) -> None:
    key = kernel.udp()

    async def story(sync: KernelSync) -> None:
        before = known(sync, key)
        assert before is not None
        packets = before.packets[0]
        frame = udp_frame(src=LO, dst=LO, sport=key.sport, dport=key.dport, payload=b"x")
        result = sync.tracker.track(parse(frame), 0, 101.0)
        assert result.state == CtState.TRK | CtState.EST
        assert result.direction is Direction.ORIGINAL
        kernel.table.delete(key)
        other = kernel.udp()
        await until(lambda: known(sync, other), "what came after it")
        conn = known(sync, key)
        assert conn is not None
        assert conn.packets[0] == packets + 1
        assert sync.stats["removed"] == 0

    follow(kernel, story)


def test_without_room_the_rest_is_refused(kernel: Kernel) -> None:
    for _ in range(3):
        kernel.tcp()

    async def story(sync: KernelSync) -> None:
        assert len(sync.tracker) == 2
        assert sync.stats["refused"] == 1

    follow(kernel, story, max_connections=2)


def test_lost_events_are_made_up_for(kernel: Kernel) -> None:
    async def story(sync: KernelSync) -> None:
        key = kernel.udp()
        # As if nothing had been heard of it.
        while True:
            try:
                sync._socket.recv(1 << 17)
            except BlockingIOError:
                break
        assert known(sync, key) is None
        sync._ask()
        await until(lambda: known(sync, key), "it is known all the same")

    follow(kernel, story)


def test_the_controller_does_it_where_the_configuration_says_so(
    kernel: Kernel, tmp_path: Path
) -> None:
    key = kernel.udp()
    path = write_config(tmp_path, more="[conntrack]\nkernel_sync = true\n")

    async def main() -> None:
        controller = kernel.run(controller_of, path)
        running = asyncio.create_task(controller.run(asyncio.Event()))
        await until(lambda: controller.tracker.find(key, 0), "it is known")
        assert controller.connections_seen == 1
        assert views.conntrack_stats(controller)["kernel_sync"] == {"taken": 1}
        with pytest.raises(TargetError):  # there is none
            await running

    asyncio.run(main())
    assert controller_of(write_config(tmp_path)).kernel_sync is None


def test_messages_that_make_no_sense_are_passed_over() -> None:
    request = dump_request(7)
    assert list(changes(request, 0.0)) == []
    for data in (b"", b"\0" * 16, b"\xff" * 64, request[:10]):
        assert list(changes(data, 0.0)) == []
    new = (24).to_bytes(4, "little") + (0x100).to_bytes(2, "little") + bytes(10) + bytes(8)
    assert list(changes(new, 0.0)) == []


def test_what_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_sync, "_NETLINK_NETFILTER", 31)
    with pytest.raises(KernelSyncError, match="needs CAP_NET_ADMIN and the module"):
        open_socket()
