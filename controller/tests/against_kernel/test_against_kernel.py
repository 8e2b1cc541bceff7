# SPDX-License-Identifier: Apache-2.0
"""A bounded run against this machine's kernel; and that a difference would be found.

Needs nf_conntrack, nf_tables and ctnetlink in a private namespace: where the kernel has them not,
or is older than the one that p4ct follows, these tests are skipped and say why.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace

import pytest
from p4ct.conntrack import TcpState, Timeouts, Tracker
from p4ct.conntrack.helpers.seq_adjust import SeqAdjust
from p4ct.packet import Packet
from p4ct.packet.rewrite import translate

from . import nat_traces
from .campaign import Campaign
from .kinds import KINDS
from .namespace import CannotCompare, NotInstalled
from .router import MARKS, Router
from .subject import Subject

SEED = 1
TCP_TRACES = 5000
#: The oldest release that is known to agree; see docs/conntrack-differences.md.
SINCE = (6, 18)


@pytest.fixture(scope="module", autouse=True)
def kernel() -> None:
    """Skip, aloud, where there is nothing to compare with."""
    found = re.match(r"(\d+)\.(\d+)", os.uname().release)
    if found is None or (int(found[1]), int(found[2])) < SINCE:
        pytest.skip(
            f"not compared with Linux {os.uname().release}: p4ct follows {SINCE[0]}.{SINCE[1]}; "
            "make fuzz-conntrack compares all the same"
        )
    try:
        Router().close()
    except NotInstalled as missing:
        pytest.fail(str(missing))
    except CannotCompare as reason:
        pytest.skip(f"not compared with this kernel: {reason}")


def play(name: str, traces: int, seed: int = SEED) -> tuple[Campaign, list[str]]:
    said: list[str] = []
    campaign = Campaign(seed, said.append)
    campaign.run(name, KINDS[name], traces)
    return campaign, said


@pytest.mark.parametrize("name", KINDS)
def test_no_packet_tells_p4ct_from_the_kernel(name: str) -> None:
    traces = round(TCP_TRACES * KINDS[name].share)
    campaign, said = play(name, traces)
    assert campaign.result.unexplained == 0, "\n".join(said)
    assert campaign.result.traces == traces
    assert campaign.result.packets > 10 * traces


def test_traces_go_everywhere() -> None:
    """Every cell of the TCP table and every mark but those of other protocols was reached."""
    campaign, _ = play("tcp", 600)
    result = campaign.result
    kinds = ("SYN", "SYNACK", "FIN", "ACK", "RST")
    states = [state.name for state in TcpState]
    wanted = {(way, kind, state) for way in (0, 1) for kind in kinds for state in states}
    wanted -= {(1, kind, "NONE") for kind in kinds}
    assert wanted <= set(result.cells)
    assert {"invalid", "new", "established original", "established reply"} == set(result.marks)
    assert set(result.marks) < set(MARKS.values())


@pytest.mark.parametrize(
    ("fault", "tracker"),
    [
        ("retransmissions", lambda: Tracker(tcp_max_retrans=4)),
        ("windows", lambda: Tracker(tcp_be_liberal=True)),
        ("pick-up", lambda: Tracker(tcp_loose=False)),
        ("resets", lambda: Tracker(tcp_ignore_invalid_rst=True)),
        ("timeouts", lambda: Tracker(Timeouts(tcp_last_ack=35))),
    ],
)
def test_a_planted_difference_is_found_and_shrunk(fault: str, tracker: type[Tracker]) -> None:
    said: list[str] = []
    campaign = Campaign(SEED, said.append)
    kind = replace(KINDS["tcp"], subject=lambda: Subject(tracker()))
    for first in range(0, 1000, 50):
        campaign.run("tcp", kind, 50, first)
        if campaign.result.unexplained:
            break
    assert campaign.result.unexplained > 0
    shrunk = re.search(r"shrunk to (\d+) packets: packet", "\n".join(said))
    assert shrunk is not None, said
    assert int(shrunk[1]) <= 9, said


def test_a_planted_translation_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The quoted packet of an ICMP error is left as it came."""

    def outside_only(pkt: Packet, src: bytes, dst: bytes, quoted: object) -> Packet:
        return translate(pkt, (src, dst, 0, 0))

    monkeypatch.setattr(nat_traces, "translate_error", outside_only)
    campaign, said = play("snat", 20)
    assert campaign.result.unexplained > 0
    assert any("packet: kernel" in line for line in said)


def test_planted_sequence_numbers_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """What follows a line of another length keeps its numbers."""

    def unmoved(adjust: SeqAdjust, seq: int) -> int:
        return seq

    monkeypatch.setattr(SeqAdjust, "outgoing", unmoved)
    campaign, said = play("snat ftp", 10)
    assert campaign.result.unexplained > 0
    assert any("packet: kernel" in line for line in said)
