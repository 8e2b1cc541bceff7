# SPDX-License-Identifier: Apache-2.0
"""Connecting, arbitration, and how a session ends."""

import asyncio
import socket

import grpc.aio
import pytest
from p4ct.p4runtime.client import P4RuntimeClient
from p4ct.p4runtime.errors import ElectionIdInUse, TargetError, TargetUnavailable
from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4rt

from .fake_target import fake_target, run


async def until(condition) -> None:
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the condition did not become true")


def test_becomes_primary_and_closes():
    async def main():
        async with fake_target() as (_, address):
            roles: list[bool] = []
            client = P4RuntimeClient(address, on_role=roles.append)
            assert not client.connected
            assert await client.connect()
            assert client.connected
            assert client.primary
            closed = client.closed
            await client.close()
            assert (await closed).requested
            assert not client.connected
            assert not client.primary
            assert roles == [True]

    run(main())


def test_connects_again_after_close():
    async def main():
        async with fake_target() as (target, address):
            client = P4RuntimeClient(address)
            await client.connect()
            await client.close()
            assert await client.connect()
            assert list(target.streams.values()) == [1]
            await client.close()

    run(main())


def test_nothing_listens():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"

        async def main():
            with pytest.raises(TargetUnavailable) as error:
                await P4RuntimeClient(address).connect(timeout=0.3)
            return str(error.value)

        text = run(main())
    assert address in text
    assert "within 0.3 s" in text
    assert "refused" in text
    assert "start the target, or correct its address" in text


def test_listener_that_does_not_speak_grpc():
    async def main():
        async def hang_up(reader, writer):
            writer.write(b"220 mail.example ESMTP\r\n")
            writer.close()

        server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(TargetUnavailable):
                await P4RuntimeClient(f"127.0.0.1:{port}").connect(timeout=0.3)

    run(main())


def test_grpc_server_without_p4runtime():
    async def main():
        server = grpc.aio.server()
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        with pytest.raises(TargetUnavailable, match="gRPC but not P4Runtime"):
            await P4RuntimeClient(f"127.0.0.1:{port}").connect(timeout=5)
        await server.stop(None)

    run(main())


def test_no_answer_to_arbitration():
    async def main():
        async with fake_target() as (target, address):
            target.answers_arbitration = False
            with pytest.raises(TargetError, match="no answer within") as error:
                await P4RuntimeClient(address).connect(timeout=0.2)
            assert error.value.code == "DEADLINE_EXCEEDED"

    run(main())


def test_election_id_in_use():
    async def main():
        async with fake_target() as (_, address):
            first = P4RuntimeClient(address, election_id=7)
            await first.connect()
            second = P4RuntimeClient(address, election_id=7)
            with pytest.raises(ElectionIdInUse) as error:
                await second.connect()
            text = str(error.value)
            assert "Election id already exists" in text
            assert "election id 7" in text
            assert "use a higher election id to take over or a lower one to stand by" in text
            assert not second.connected
            assert first.primary
            await first.close()

    run(main())


@pytest.mark.parametrize(("on_conflict", "election_id", "primary"), [
    ("lower", 6, False),
    ("higher", 8, True),
])  # fmt: skip
def test_election_id_in_use_tries_the_next(on_conflict, election_id, primary):
    async def main():
        async with fake_target() as (_, address):
            first = P4RuntimeClient(address, election_id=7)
            await first.connect()
            second = P4RuntimeClient(address, election_id=7, on_conflict=on_conflict)
            assert await second.connect() is primary
            assert second.election_id == election_id
            await second.close()
            await first.close()

    run(main())


def test_lower_election_ids_run_out():
    async def main():
        async with fake_target() as (_, address):
            first = P4RuntimeClient(address, election_id=1)
            await first.connect()
            second = P4RuntimeClient(address, election_id=1, on_conflict="lower")
            with pytest.raises(ElectionIdInUse):
                await second.connect()
            await first.close()

    run(main())


def test_large_election_id_goes_over_the_wire():
    async def main():
        async with fake_target() as (target, address):
            client = P4RuntimeClient(address, election_id=(3 << 64) + 5)
            await client.connect()
            assert list(target.streams.values()) == [(3 << 64) + 5]
            await client.close()

    run(main())


def test_backup_is_promoted_when_the_primary_leaves():
    async def main():
        async with fake_target() as (_, address):
            roles: list[bool] = []
            first = P4RuntimeClient(address, election_id=2)
            backup = P4RuntimeClient(address, election_id=1, on_role=roles.append)
            assert await first.connect()
            assert not await backup.connect()
            await first.close()
            await until(lambda: backup.primary)
            assert roles == [False, True]
            await backup.close()

    run(main())


def test_primary_is_told_when_another_takes_over():
    async def main():
        async with fake_target() as (_, address):
            roles: list[bool] = []
            first = P4RuntimeClient(address, election_id=1, on_role=roles.append)
            await first.connect()
            second = P4RuntimeClient(address, election_id=2)
            assert await second.connect()
            await until(lambda: not first.primary)
            assert roles == [True, False]
            assert first.connected
            await second.close()
            await first.close()

    run(main())


def test_role_is_called_back_only_when_it_changes():
    async def main():
        async with fake_target() as (target, address):
            roles: list[bool] = []
            got: list[bytes] = []
            client = P4RuntimeClient(
                address,
                election_id=5,
                on_role=roles.append,
                on_packet_in=lambda payload, _: got.append(payload),
            )
            await client.connect()
            for election_id in (2, 3):  # the primary is told of each, and remains what it is
                backup = P4RuntimeClient(address, election_id=election_id)
                await backup.connect()
                await backup.close()
            marker = p4rt.StreamMessageResponse()
            marker.packet.payload = b"after the announcements"
            target.to_primary(marker)
            await until(lambda: got)
            assert roles == [True]
            await client.close()

    run(main())


def test_target_dies():
    async def main():
        async with fake_target() as (target, address):
            client = P4RuntimeClient(address)
            await client.connect()
            await target.stop()
            reason = await asyncio.wait_for(client.closed, 5)
            assert not reason.requested
            assert reason.code == "UNAVAILABLE"
            assert not client.connected
            assert not client.primary
            assert not client.packet_out(b"frame", [])
            await client.close()

    run(main())


def test_target_ends_the_stream():
    async def main():
        async with fake_target() as (target, address):
            client = P4RuntimeClient(address)
            await client.connect()
            target.end_streams()
            reason = await asyncio.wait_for(client.closed, 5)
            assert (reason.code, reason.requested) == ("OK", False)
            assert "ended the stream" in reason.message
            await client.close()

    run(main())


def test_a_cancelled_waiter_leaves_closed_intact():
    async def main():
        async with fake_target() as (_, address):
            client = P4RuntimeClient(address)
            await client.connect()

            async def wait():
                await client.closed

            waiter = asyncio.create_task(wait())
            await asyncio.sleep(0)
            waiter.cancel()
            await asyncio.gather(waiter, return_exceptions=True)
            assert client.connected
            closed = client.closed
            await client.close()
            assert (await closed).requested

    run(main())
