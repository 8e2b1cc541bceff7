# SPDX-License-Identifier: Apache-2.0
"""Writes and reads: mixed batches, whole-call failures, size."""

import asyncio
from pathlib import Path

import pytest
from google.rpc import code_pb2
from p4ct.p4runtime.client import P4RuntimeClient
from p4ct.p4runtime.errors import TargetError
from p4ct.p4runtime.p4info import P4InfoIndex, load_p4info
from p4ct.p4runtime.text import format_error, format_update
from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4rt

from .fake_target import fake_target, run

P4INFO = Path(__file__).parents[3] / "p4src/compiled/eswitch.p4info.txtpb"
NEXT_HOP = 0x02000009


def update(number: int, kind=p4rt.Update.INSERT) -> p4rt.Update:
    message = p4rt.Update(type=kind)
    message.entity.table_entry.table_id = NEXT_HOP
    match = message.entity.table_entry.match.add(field_id=1)
    match.exact.value = number.to_bytes(3, "big").lstrip(b"\0") or b"\0"
    return message


async def connected(address: str, **options) -> P4RuntimeClient:
    client = P4RuntimeClient(address, **options)
    await client.connect()
    return client


def test_all_updates_succeed():
    async def main():
        async with fake_target() as (target, address):
            client = await connected(address)
            assert await client.write([update(1), update(2)]) == [None, None]
            assert await client.write([]) == []
            assert len(target.rows) == 2
            await client.close()

    run(main())


def test_mixed_batch_names_each_failed_update():
    async def main():
        async with fake_target() as (_, address):
            client = await connected(address)
            await client.write([update(1)])
            answers = await client.write([
                update(1), update(2), update(9, p4rt.Update.DELETE), update(3),
            ])  # fmt: skip
            assert [a and (a.index, a.code) for a in answers] == [
                (0, "ALREADY_EXISTS"),
                None,
                (2, "NOT_FOUND"),
                None,
            ]
            assert answers[0].message == "Match entry exists"
            assert answers[0].space == "ALL-sswitch-p4org"
            assert not answers[0].whole_call
            assert not answers[0].unknown_outcome
            p4info = P4InfoIndex(load_p4info(P4INFO))
            text = format_error(p4info, answers[2])
            assert text == "DELETE next_hop next_hop=9: Cannot find match entry (NOT_FOUND)"
            await client.close()

    run(main())


def test_errors_of_a_large_batch_survive_the_metadata_limit():
    async def main():
        async with fake_target() as (target, address):
            target.check = lambda _: (code_pb2.RESOURCE_EXHAUSTED, "table full " + "x" * 200)
            client = await connected(address)
            answers = await client.write([update(i) for i in range(2500)])
            assert len(answers) == 2500
            assert all(a is not None and a.code == "RESOURCE_EXHAUSTED" for a in answers)
            assert not any(a.whole_call for a in answers)
            assert [a.index for a in answers] == list(range(2500))
            assert [len(r.updates) for r in target.requests] == [1000, 1000, 500]
            await client.close()

    run(main())


def test_backup_may_not_write():
    async def main():
        async with fake_target() as (target, address):
            first = await connected(address, election_id=2)
            backup = await connected(address, election_id=1, max_batch=2)
            answers = await backup.write([update(1), update(2), update(3)])
            assert {a.code for a in answers} == {"PERMISSION_DENIED"}
            assert all(a.whole_call and not a.unknown_outcome for a in answers)
            assert len(target.requests) == 1  # the second batch was not even tried
            await backup.close()
            await first.close()

    run(main())


def test_target_dies_in_the_middle_of_a_write():
    async def main():
        async with fake_target() as (target, address):
            client = await connected(address, max_batch=2)
            arrived = asyncio.Event()

            async def second_call_hangs():
                if len(target.requests) == 2:
                    arrived.set()
                    await asyncio.Event().wait()

            target.before_write = second_call_hangs
            writing = asyncio.create_task(client.write([update(i) for i in range(6)]))
            await arrived.wait()
            await target.stop()
            answers = await asyncio.wait_for(writing, 5)
            assert answers[:2] == [None, None]
            assert [a.code for a in answers[2:]] == ["UNAVAILABLE"] * 4
            assert all(a.whole_call for a in answers[2:])
            # The third call was never made; what became of the second, nobody knows.
            assert [a.unknown_outcome for a in answers[2:]] == [True, True, False, False]
            assert [a.index for a in answers[2:]] == [2, 3, 4, 5]
            assert not (await asyncio.wait_for(client.closed, 5)).requested
            await client.close()

    run(main())


def test_close_during_a_write_is_not_a_cancellation_of_the_writer():
    async def main():
        async with fake_target() as (target, address):
            client = await connected(address)
            arrived = asyncio.Event()

            async def hang():
                arrived.set()
                await asyncio.Event().wait()

            target.before_write = hang
            writing = asyncio.create_task(client.write([update(1)]))
            await arrived.wait()
            await client.close()
            (answer,) = await asyncio.wait_for(writing, 5)
            assert answer.code == "UNAVAILABLE"
            assert answer.unknown_outcome

    run(main())


def test_cancelling_the_writer_cancels_it():
    async def main():
        async with fake_target() as (target, address):
            client = await connected(address)
            arrived = asyncio.Event()

            async def hang():
                arrived.set()
                await asyncio.Event().wait()

            target.before_write = hang
            writing = asyncio.create_task(client.write([update(1)]))
            await arrived.wait()
            writing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await writing
            await client.close()

    run(main())


def test_not_connected():
    async def main():
        client = P4RuntimeClient("127.0.0.1:1")
        (answer,) = await client.write([update(1)])
        assert (answer.code, answer.unknown_outcome) == ("UNAVAILABLE", False)
        with pytest.raises(TargetError, match="not connected"):
            _ = [entity async for entity in client.read([p4rt.Entity()])]

    run(main())


def test_read_streams_entities_and_may_be_left_early():
    async def main():
        async with fake_target() as (_, address):
            client = await connected(address)
            await client.write([update(i) for i in range(20)])
            wanted = p4rt.Entity(table_entry=p4rt.TableEntry(table_id=NEXT_HOP))
            found = [entity.table_entry async for entity in client.read([wanted])]
            assert len(found) == 20
            async for entity in client.read([wanted]):
                assert entity.HasField("table_entry")
                break
            await client.close()

    run(main())


def test_read_fails_with_the_targets_words():
    async def main():
        async with fake_target() as (target, address):
            client = await connected(address)
            await target.stop()
            with pytest.raises(TargetError, match="read") as error:
                _ = [entity async for entity in client.read([p4rt.Entity()])]
            assert error.value.code == "UNAVAILABLE"
            await client.close()

    run(main())


def test_update_as_text():
    p4info = P4InfoIndex(load_p4info(P4INFO))
    message = p4rt.Update(type=p4rt.Update.INSERT)
    entry = message.entity.table_entry
    entry.table_id = p4info.tables.get("flow").id
    entry.priority = 7
    entry.match.add(field_id=1).exact.value = b"\x05"
    ternary = entry.match.add(field_id=2).ternary
    ternary.value, ternary.mask = b"\x02\0\0\0\0\x01", b"\xff" * 6
    action = p4info.actions.get("flow_forward")
    entry.action.action.action_id = action.id
    entry.action.action.params.add(param_id=1, value=b"\x01\x00")
    entry.action.action.params.add(param_id=2, value=b"\x03")
    assert format_update(p4info, message) == (
        "INSERT flow priority=7 vport=5 eth_src=02:00:00:00:00:01&ff:ff:ff:ff:ff:ff"
        " -> flow_forward(path=256, next_hop=3)"
    )
    assert format_update(None, update(4)) == "INSERT table 0x2000009 field1=4"
    counter = p4rt.Update(type=p4rt.Update.MODIFY)
    counter.entity.counter_entry.counter_id = 0x12000001
    counter.entity.counter_entry.index.index = 8
    assert format_update(p4info, counter) == "MODIFY ct_counter[8]"
