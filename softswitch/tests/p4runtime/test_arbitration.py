# SPDX-License-Identifier: Apache-2.0
"""Client arbitration: who is primary, who is told, and what ends a stream."""

from __future__ import annotations

import grpc
import pytest
from softswitch.p4runtime.arbitration import MAX_CLIENTS_PER_ROLE

from .client import DEVICE, Uint, action, p4rt, update
from .conftest import World
from .program import DROP, KEYLESS

OK, NO_PRIMARY, BACKUP = 0, 5, 6


def can_write(world: World, **fields: object) -> str:
    """The status code of a harmless write."""

    entry = p4rt.TableEntry(table_id=KEYLESS, is_default_action=True, action=action(DROP))
    try:
        world.client.write(update("MODIFY", table_entry=entry), **fields)
    except grpc.RpcError as error:
        return error.code().name
    return "OK"


def test_first_client_is_primary_and_second_with_lower_id_backup(world: World) -> None:
    first, second = world.client.stream(), world.client.stream()
    first.become_primary(10)
    second.arbitrate(9)
    assert second.arbitration() == (BACKUP, 10)
    first.arbitrate(10)  # the lower one was told alone, so this answer is first's next message
    assert first.arbitration() == (OK, 10)


def test_status_messages_are_bmv2s(world: World) -> None:
    first, second = world.client.stream(), world.client.stream()
    first.arbitrate(2)
    assert first.recv().arbitration.status.message == "Is primary"
    second.arbitrate(1)
    assert second.recv().arbitration.status.message == "Is backup"


def test_higher_id_takes_over_and_all_are_told(world: World) -> None:
    clients = [world.client.stream() for _ in range(3)]
    clients[0].become_primary(5)
    clients[1].arbitrate(4)
    assert clients[1].arbitration() == (BACKUP, 5)
    clients[2].arbitrate(6)
    assert clients[2].arbitration() == (OK, 6)
    assert clients[0].arbitration() == (BACKUP, 6)
    assert clients[1].arbitration() == (BACKUP, 6)
    assert can_write(world, election_id=Uint(low=5)) == "PERMISSION_DENIED"
    assert can_write(world, election_id=Uint(low=6)) == "OK"


@pytest.mark.parametrize("leave", ["close", "half_close"])
def test_next_highest_becomes_primary_when_the_primary_leaves(world: World, leave: str) -> None:
    clients = [world.client.stream() for _ in range(3)]
    clients[0].become_primary(5)
    for client, election_id in ((clients[1], 3), (clients[2], 4)):
        client.arbitrate(election_id)
        assert client.arbitration() == (BACKUP, 5)
    getattr(clients[0], leave)()
    assert clients[2].arbitration() == (OK, 4)
    assert clients[1].arbitration() == (BACKUP, 4)
    assert can_write(world, election_id=Uint(low=4)) == "OK"


def test_backup_that_leaves_disturbs_nobody(world: World) -> None:
    first, second = world.client.stream(), world.client.stream()
    first.become_primary(5)
    second.arbitrate(3)
    second.arbitration()
    second.half_close()
    assert second.status()[0] == grpc.StatusCode.OK
    first.arbitrate(5)
    assert first.arbitration() == (OK, 5)


def test_primary_may_raise_and_lower_its_id(world: World) -> None:
    first, second = world.client.stream(), world.client.stream()
    first.become_primary(5)
    second.arbitrate(3)
    assert second.arbitration() == (BACKUP, 5)
    first.arbitrate(7)
    assert first.arbitration() == (OK, 7)
    assert second.arbitration() == (BACKUP, 7)
    first.arbitrate(1)
    assert first.arbitration() == (BACKUP, 3)
    assert second.arbitration() == (OK, 3)


def test_election_id_has_128_bits(world: World) -> None:
    first, second = world.client.stream(), world.client.stream()
    first.become_primary((1 << 64) + 1)
    second.arbitrate(2)
    assert second.arbitration() == (BACKUP, (1 << 64) + 1)
    assert can_write(world, election_id=Uint(high=1, low=1)) == "OK"
    assert can_write(world, election_id=Uint(high=0, low=1)) == "PERMISSION_DENIED"


def test_without_election_id_never_primary(world: World) -> None:
    first, second = world.client.stream(), world.client.stream()
    first.arbitrate(None)
    assert first.arbitration() == (NO_PRIMARY, 0)
    second.become_primary(1)
    assert first.arbitration() == (BACKUP, 1)


def test_election_id_in_use_ends_the_stream(world: World) -> None:
    first, second = world.client.stream(), world.client.stream()
    first.become_primary(5)
    second.arbitrate(5)
    assert second.status() == (grpc.StatusCode.INVALID_ARGUMENT, "Election id already exists")
    assert can_write(world, election_id=Uint(low=5)) == "OK"


def test_live_stream_that_takes_an_id_in_use_ends_alone(world: World) -> None:
    first, second = world.client.stream(), world.client.stream()
    first.become_primary(5)
    second.arbitrate(4)
    second.arbitration()
    second.arbitrate(5)
    assert second.status()[0] == grpc.StatusCode.INVALID_ARGUMENT
    first.arbitrate(5)
    assert first.arbitration() == (OK, 5)


def test_unknown_device_ends_the_stream(world: World) -> None:
    stream = world.client.stream()
    stream.arbitrate(1, device_id=DEVICE + 1)
    code, details = stream.status()
    assert code == grpc.StatusCode.NOT_FOUND
    assert str(DEVICE + 1) in details


@pytest.mark.parametrize("change", [{"device_id": DEVICE + 1}, {"role": "other"}])
def test_device_and_role_cannot_change(world: World, change: dict) -> None:
    stream = world.client.stream().become_primary(1)
    stream.arbitrate(1, **change)
    assert stream.status()[0] == grpc.StatusCode.FAILED_PRECONDITION


def test_role_config_is_not_understood(world: World) -> None:

    stream = world.client.stream()
    update = p4rt.MasterArbitrationUpdate(device_id=DEVICE, election_id=Uint(low=1))
    update.role.config.type_url = "type.example.com/x"
    stream.send(arbitration=update)
    assert stream.status()[0] == grpc.StatusCode.INVALID_ARGUMENT


def test_roles_have_their_own_primary(world: World) -> None:
    first, second = world.client.stream(), world.client.stream()
    first.become_primary(5)
    second.arbitrate(5, role="monitor")
    answer = second.recv().arbitration
    assert (answer.status.code, answer.role.name) == (OK, "monitor")
    assert can_write(world, election_id=Uint(low=5), role="monitor") == "OK"
    assert can_write(world, election_id=Uint(low=6), role="monitor") == "PERMISSION_DENIED"
    assert can_write(world, election_id=Uint(low=5), role="nobody") == "NOT_FOUND"


def test_too_many_clients_of_a_role(world: World) -> None:
    for number in range(MAX_CLIENTS_PER_ROLE):
        stream = world.client.stream()
        stream.arbitrate(100 - number)
        stream.arbitration()
    stream = world.client.stream()
    stream.arbitrate(1)
    assert stream.status()[0] == grpc.StatusCode.RESOURCE_EXHAUSTED
    other = world.client.stream()
    other.arbitrate(1, role="other")
    assert other.arbitration()[0] == OK


def test_too_many_streams(world: World) -> None:
    from softswitch.p4runtime.service import MAX_STREAMS

    for number in range(MAX_STREAMS):
        stream = world.client.stream()
        stream.arbitrate(1, role=f"role {number}")
        stream.arbitration()
    assert world.client.stream().status()[0] == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert world.client.table(table_id=0) is not None  # unary calls still find a thread


def test_write_without_stream_needs_no_election_id(world: World) -> None:
    assert can_write(world) == "OK"
    assert can_write(world, election_id=Uint(low=1)) == "PERMISSION_DENIED"
    stream = world.client.stream().become_primary(1)
    assert can_write(world) == "PERMISSION_DENIED"
    assert can_write(world, election_id=Uint(low=1)) == "OK"
    stream.half_close()
    stream.status()
    assert can_write(world) == "OK"


def test_checks_come_in_order(bare: World) -> None:
    bare.client.stream().become_primary(5)
    wrong, right = Uint(low=4), Uint(low=5)
    assert can_write(bare, device_id=9, election_id=wrong) == "NOT_FOUND"
    assert can_write(bare, election_id=wrong) == "PERMISSION_DENIED"
    assert can_write(bare, election_id=right) == "FAILED_PRECONDITION"
    with pytest.raises(grpc.RpcError) as error:
        bare.client.push(bare.config(), election_id=wrong)
    assert error.value.code() == grpc.StatusCode.PERMISSION_DENIED
    with pytest.raises(grpc.RpcError) as error:
        bare.client.push(bare.config(), election_id=right, device_id=9)
    assert error.value.code() == grpc.StatusCode.NOT_FOUND
    bare.client.push(bare.config(), election_id=right)
    assert can_write(bare, election_id=right) == "OK"


def test_pipeline_push_keeps_streams_and_election(world: World) -> None:
    stream = world.client.stream().become_primary(5)
    world.client.push(world.config(), election_id=Uint(low=5))
    stream.arbitrate(5)
    assert stream.arbitration() == (OK, 5)


def test_push_by_a_primary_that_lost_its_role_meanwhile_is_refused(bare: World) -> None:
    """Compiling takes seconds: a new primary must not find a late push of the old one."""
    import threading

    compiling, go_on = threading.Event(), threading.Event()
    load = bare.pipelines._load_program

    def slow(json: bytes) -> object:
        compiling.set()
        assert go_on.wait(20)
        return load(json)

    bare.pipelines._load_program = slow
    first, second = bare.client.stream(), bare.client.stream()
    first.become_primary(1)
    outcome: list[grpc.StatusCode] = []

    def push() -> None:
        try:
            bare.client.push(bare.config(), election_id=Uint(low=1))
        except grpc.RpcError as error:
            outcome.append(error.code())

    pushing = threading.Thread(target=push)
    pushing.start()
    assert compiling.wait(20)
    second.arbitrate(2)
    assert second.arbitration() == (OK, 2)  # arbitration does not wait for the compiler
    go_on.set()
    pushing.join()
    assert outcome == [grpc.StatusCode.PERMISSION_DENIED]
    assert bare.dataplane.loads == 0
