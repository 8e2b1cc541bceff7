# SPDX-License-Identifier: Apache-2.0
"""Digests: what is buffered, sent, acknowledged and sent again, with packets and without."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from p4rt_stubs.p4.config.v1 import p4info_pb2 as p4info
from p4rt_stubs.p4.v1 import p4data_pb2 as p4data
from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4rt
from softswitch.p4runtime.digest_types import DigestType
from softswitch.p4runtime.digests import CACHE_LIMIT, LIST_LIMIT, Digests

from .client import Uint
from .live import V1MODEL, Live, load_config, serve

LEARN, WIDE = 1, 2  # bits of the program's first header field
MS = 1_000_000
LONG = 3600 * 1000 * MS


@pytest.fixture
def live(cache_dir: Path) -> Iterator[Live]:
    with serve(load_config("digest", V1MODEL), cache_dir) as running:
        yield running


def entry(live: Live, size: int, timeout: int = LONG, ack: int = 0, name: str = "learn_t") -> dict:
    config = p4rt.DigestEntry.Config(max_list_size=size, max_timeout_ns=timeout, ack_timeout_ns=ack)
    return {"digest_entry": p4rt.DigestEntry(digest_id=live.ids[name], config=config)}


def report(live: Live, mac: int, what: int = LEARN, wide: int = 0) -> None:
    """One packet that reports `mac` (12 bits of VLAN 5, port 3)."""
    frame = what << 192 | mac << 144 | 0xF << 140 | 5 << 128 | wide
    live.dataplane.inject(3, frame.to_bytes(25, "big") + bytes(10))


def macs(digest: p4rt.DigestList) -> list[int]:
    out = []
    for data in digest.data:
        mac, vlan, port = (member.bitstring for member in data.struct.members)
        assert (vlan, port) == (b"\x05", b"\x03")
        out.append(int.from_bytes(mac, "big"))
    return out


def test_list_is_sent_when_it_is_full(live: Live) -> None:
    live.write("INSERT", **entry(live, 2))
    for mac in (0x0200_0000_0001, 2, 3, 4):
        report(live, mac)
    first, second = live.stream.recv().digest, live.stream.recv().digest
    assert first.digest_id == live.ids["learn_t"]
    assert (first.list_id, second.list_id) == (1, 2)
    assert (macs(first), macs(second)) == ([0x0200_0000_0001, 2], [3, 4])
    assert first.timestamp > 1_600_000_000 * 10**9


def test_list_is_sent_after_its_timeout(live: Live) -> None:
    live.write("INSERT", **entry(live, 100, timeout=20 * MS))
    report(live, 7)
    assert macs(live.stream.recv().digest) == [7]
    live.write("MODIFY", **entry(live, 100, timeout=0))
    report(live, 8)
    assert macs(live.stream.recv().digest) == [8]


def test_acknowledged_values_are_reported_again(live: Live) -> None:
    live.write("INSERT", **entry(live, 1, ack=LONG))
    report(live, 7)
    first = live.stream.recv().digest
    report(live, 7)
    report(live, 8)
    second = live.stream.recv().digest  # 7 is known
    assert macs(second) == [8]
    for digest in (first, second):
        ack = p4rt.DigestListAck(digest_id=digest.digest_id, list_id=digest.list_id)
        live.stream.send(digest_ack=ack)
    live.stream.arbitrate(1)  # its answer says that the acks have been read
    assert live.stream.arbitration() == (0, 1)
    report(live, 7)
    assert macs(live.stream.recv().digest) == [7]


def test_acknowledgement_of_a_backup_does_not_count(live: Live) -> None:
    live.write("INSERT", **entry(live, 1, ack=LONG))
    backup = live.client.stream()
    backup.arbitrate(0)
    assert backup.arbitration()[0] == 6
    report(live, 7)
    digest = live.stream.recv().digest
    backup.send(digest_ack=p4rt.DigestListAck(digest_id=digest.digest_id, list_id=digest.list_id))
    backup.arbitrate(0)
    assert backup.arbitration()[0] == 6
    report(live, 7)
    report(live, 8)
    assert macs(live.stream.recv().digest) == [8]


def test_nothing_is_sent_for_what_is_not_configured(live: Live) -> None:
    report(live, 7)
    live.write("INSERT", **entry(live, 1))
    live.write("DELETE", **entry(live, 1))
    report(live, 8)
    live.write("INSERT", **entry(live, 1, name="wide_t"))
    report(live, 9, WIDE | LEARN, wide=1 << 127 | 1)
    digest = live.stream.recv().digest
    assert digest.digest_id == live.ids["wide_t"]
    (data,) = digest.data
    assert data.struct.members[0].bitstring == (1 << 127 | 1).to_bytes(16, "big")


def test_entry_refusals(live: Live) -> None:
    unknown = {"digest_entry": p4rt.DigestEntry(digest_id=live.ids["learn_t"] + 1)}
    assert live.refused("INSERT", **unknown) == "NOT_FOUND"
    assert live.refused("MODIFY", **entry(live, 1)) == "NOT_FOUND"
    assert live.refused("DELETE", **entry(live, 1)) == "NOT_FOUND"
    live.write("INSERT", **entry(live, 1))
    assert live.refused("INSERT", **entry(live, 1)) == "ALREADY_EXISTS"
    for wrong in ((-1, 0, 0), (0, -1, 0), (0, 0, -1)):
        assert live.refused("MODIFY", **entry(live, *wrong)) == "INVALID_ARGUMENT"


def test_configuration_is_read_back_and_cleared_by_a_push(live: Live) -> None:
    written = entry(live, 5, timeout=1, ack=2)
    live.write("INSERT", **written)
    one = p4rt.DigestEntry(digest_id=live.ids["learn_t"])
    assert live.read(digest_entry=one) == [p4rt.Entity(**written)]
    assert live.read(digest_entry=p4rt.DigestEntry()) == [p4rt.Entity(**written)]
    assert live.read_refused(digest_entry=p4rt.DigestEntry(digest_id=1)) == "NOT_FOUND"
    live.push()
    assert live.read(digest_entry=p4rt.DigestEntry()) == []


def test_p4info_must_agree(live: Live) -> None:
    config = load_config("digest", V1MODEL)
    member = config.p4info.type_info.structs["learn_t"].members[0]
    member.type_spec.bitstring.bit.bitwidth = 47
    with pytest.raises(Exception, match=r"(?s)INVALID_ARGUMENT.*digest 'learn_t'"):
        live.client.push(config, election_id=Uint(low=1))


# The bookkeeping alone, with the time passed in


def table(size: int, timeout: int = LONG, ack: int = 0) -> Digests:
    digest = p4info.Digest()
    digest.type_spec.bitstring.bit.bitwidth = 32
    digests = Digests([(1, "d", DigestType(digest, {}))])
    config = p4rt.DigestEntry.Config(max_list_size=size, max_timeout_ns=timeout, ack_timeout_ns=ack)
    digests.write(p4rt.Update.INSERT, p4rt.DigestEntry(digest_id=1, config=config))
    return digests


def values(lists: list[p4rt.DigestList]) -> list[list[int]]:
    return [[int.from_bytes(data.bitstring, "big") for data in one.data] for one in lists]


def reports(*numbers: int) -> list[tuple[str, tuple[int, ...]]]:
    return [("d", (number,)) for number in numbers]


def test_duplicates_are_known_only_with_an_ack_timeout() -> None:
    assert values(table(2).add(reports(1, 1, 1, 1), 0)) == [[1, 1], [1, 1]]
    assert values(table(2, ack=1).add(reports(1, 1, 2, 1), 0)) == [[1, 2]]


def test_timeout_counts_from_the_first_value() -> None:
    digests = table(0, timeout=100)
    assert digests.next_due() is None
    assert digests.add(reports(1), 1000) == []
    assert digests.add(reports(2), 1099) == []
    assert digests.next_due() == 1100
    assert values(digests.add([], 1100)) == [[1, 2]]
    assert digests.next_due() is None


def test_values_are_forgotten_when_the_acknowledgement_is_late() -> None:
    digests = table(1, ack=100)
    assert values(digests.add(reports(1), 0)) == [[1]]
    assert digests.add(reports(1), 99) == []
    assert values(digests.add(reports(1), 100)) == [[1]]


def test_bounds() -> None:
    lists = table(0).add(reports(*range(LIST_LIMIT + 1)), 0)
    assert [len(one.data) for one in lists] == [LIST_LIMIT]
    digests = table(1 << 30, ack=LONG)
    digests.add(reports(*range(CACHE_LIMIT + 5)), 0)
    assert digests.dropped == 5
    digests.acknowledge(1, 1)
    digests.acknowledge(1, 99)
    digests.acknowledge(5, 1)
    assert values(digests.add(reports(*range(LIST_LIMIT)), 1)) == [[*range(LIST_LIMIT)]]


@pytest.mark.parametrize(
    ("width", "value", "said"),
    [(8, 0x7F, b"\x7f"), (8, 0xFF, b"\xff"), (8, 0x80, b"\x80"), (12, 0x080, b"\x00\x80"),
     (12, 0xF7F, b"\xff\x7f"), (64, 2**64 - 1, b"\xff"), (9, 0, b"\x00")],
)  # fmt: skip
def test_signed_values_are_twos_complement(width: int, value: int, said: bytes) -> None:
    digest = p4info.Digest()
    first = digest.type_spec.tuple.members.add()
    first.bitstring.int.bitwidth = width
    digest.type_spec.tuple.members.add().bool.SetInParent()
    kind = DigestType(digest, {})
    assert kind.widths == (width, 1)
    message = p4data.P4Data()
    kind.encode((value, 1), message)
    assert message.tuple.members[0].bitstring == said
    assert message.tuple.members[1].bool
