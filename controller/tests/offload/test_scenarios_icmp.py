# SPDX-License-Identifier: Apache-2.0
"""Conntrack scenarios as of Open vSwitch: ICMP errors that belong to connections.

Each is played with offload and without (`scripts.play`); docs/ovs-scenarios.md has the list.
"""

from __future__ import annotations

import pytest

from .scripts import play, steps

RELATED = """
table=0,ip,actions=ct(zone=1,table=1)
table=1,priority=9,ip,in_port=vm1,ct_state=+trk+new-rel,actions=ct(commit,zone=1,MARK),ext
table=1,priority=8,ip,in_port=vm1,ct_state=+trk+est,actions=ext
table=1,priority=8,ip,in_port=ext,ct_state=+trk+est,actions=vm1
table=1,priority=7,icmp,in_port=ext,ct_state=+trk+rel,ct_mark=1,actions=vm1
table=1,priority=7,icmp,in_port=vm1,ct_state=+trk+rel,ct_mark=1,actions=ext
table=1,priority=0,actions=drop
""".replace("MARK", "exec(set_field:1->ct_mark)")
THERE, BACK = "udp 10.0.0.1,1000 > 10.0.0.3,80", "udp 10.0.0.3,80 > 10.0.0.1,1000"
OFFLOADED = f"""
vm1: {THERE} -> ext
2x ext: {BACK} -> vm1
vm1: {THERE} -> ext
vm1: {THERE} => ext
ext: {BACK} => vm1
"""


def in_v6(flows: str, script: str) -> tuple[str, str]:
    flows = flows.replace(",ip,", ",ipv6,").replace(",icmp,", ",icmp6,")
    return flows.replace("10.0.0.", "fd00::"), script.replace("10.0.0.", "fd00::")


@pytest.mark.parametrize("v6", [False, True], ids=["v4", "v6"])
@pytest.mark.parametrize("begun", [f"vm1: {THERE} -> ext", OFFLOADED], ids=["new", "offloaded"])
def test_an_error_has_the_mark_of_its_connection(begun: str, v6: bool) -> None:
    script = f"""{begun}
        ext: unreach 10.0.0.3 > 10.0.0.1 : {THERE} -> vm1
        count mark=1 = 1
        vm1: {THERE} -> ext
        """
    play(*(in_v6(RELATED, script) if v6 else (RELATED, script)))


def test_an_error_in_the_direction_of_the_first_packet() -> None:
    """The client does not take the answer: its error goes the way that its request went."""
    play(RELATED, f"{OFFLOADED}\nvm1: unreach 10.0.0.1 > 10.0.0.3 : {BACK} -> ext")


def test_an_error_about_nothing_and_one_of_a_router_on_the_path() -> None:
    play(
        RELATED,
        f"""
        vm1: {THERE} -> ext
        ext: unreach 10.0.0.9 > 10.0.0.1 : udp 10.0.0.1,1001 > 10.0.0.3,80 -> nothing
        ext: exceeded 10.0.0.9 > 10.0.0.1 : {THERE} -> vm1
        """,
    )


TRANSLATED = """
table=0,ip,actions=ct(zone=1,nat,table=1)
table=1,priority=9,ip,in_port=vm1,ct_state=+trk+new-rel,actions=ct(commit,zone=1,nat(RANGE)),ext
table=1,priority=8,ip,in_port=vm1,ct_state=+trk+est,actions=ext
table=1,priority=8,ip,in_port=ext,ct_state=+trk+est,actions=vm1
table=1,priority=7,icmp,in_port=ext,ct_state=+trk+rel,actions=vm1
table=1,priority=7,icmp,in_port=vm1,ct_state=+trk+rel,actions=ext
table=1,priority=0,actions=drop
"""


def translated_exchange(port: int, arrow: str = "=>") -> str:
    there = f"{THERE} ARROW ext udp 10.0.0.100,{port} > 10.0.0.3,80"
    back = f"udp 10.0.0.3,80 > 10.0.0.100,{port} ARROW vm1 {BACK}"
    first = f"vm1: {there}\n2x ext: {back}\nvm1: {there}\n".replace("ARROW", "->")
    return first + f"vm1: {there}\next: {back}\n".replace("ARROW", arrow)


@pytest.mark.parametrize("v6", [False, True], ids=["v4", "v6"])
def test_an_error_about_a_translated_connection_with_one_port(v6: bool) -> None:
    quote = "udp 10.0.0.100,34567 > 10.0.0.3,80"
    flows = TRANSLATED.replace("RANGE", "src=[10.0.0.100]:34567" if v6 else "src=10.0.0.100:34567")
    script = f"""{translated_exchange(34567)}
        ext: unreach 10.0.0.3 > 10.0.0.100 : {quote} -> vm1 unreach 10.0.0.3 > 10.0.0.1 : {THERE}
        """
    play(*(in_v6(flows, script) if v6 else (flows, script)))


@pytest.mark.parametrize("v6", [False, True], ids=["v4", "v6"])
def test_an_error_about_a_translated_source_before_and_after_a_flush(v6: bool) -> None:
    quote = "udp 10.0.0.100,1000 > 10.0.0.3,80"
    flows = TRANSLATED.replace("RANGE", "src=10.0.0.100")
    error = f"ext: unreach 10.0.0.3 > 10.0.0.100 : {quote}"
    script = f"""
        vm1: {THERE} -> ext {quote}
        {error} -> vm1 unreach 10.0.0.3 > 10.0.0.1 : {THERE}
        flush zone=1
        {error} -> nothing
        {translated_exchange(1000)}
        {error} -> vm1 unreach 10.0.0.3 > 10.0.0.1 : {THERE}
        """
    play(*(in_v6(flows, script) if v6 else (flows, script)))


@pytest.mark.parametrize("kind", ["unreach", "exceeded"])
def test_a_router_in_the_middle_and_translation_in_both_directions(kind: str) -> None:
    """Of its outer addresses only the receiver's is the connection's, and is translated."""
    flows = TRANSLATED.replace("RANGE", "src=10.0.0.100")
    there = "udp 10.0.0.100,1000 > 10.0.0.3,80"
    back = "udp 10.0.0.3,80 > 10.0.0.100,1000"
    play(
        flows,
        f"""{translated_exchange(1000)}
        ext: {kind} 10.0.0.9 > 10.0.0.100 : {there} -> vm1 {kind} 10.0.0.9 > 10.0.0.1 : {THERE}
        vm1: {kind} 10.0.0.1 > 10.0.0.3 : {BACK} -> ext {kind} 10.0.0.100 > 10.0.0.3 : {back}
        """,
    )


def test_an_error_about_a_translated_target() -> None:
    flows = TRANSLATED.replace("RANGE", "dst=10.0.0.3:8080")
    asked, real = "udp 10.0.0.1,1000 > 10.0.0.100,80", "udp 10.0.0.1,1000 > 10.0.0.3,8080"
    outer = "unreach 10.0.0.100 > 10.0.0.1"
    play(
        flows,
        f"""
        vm1: {asked} -> ext {real}
        ext: unreach 10.0.0.3 > 10.0.0.1 : {real} -> vm1 {outer} : {asked}
        """,
    )


def test_an_error_that_passes_ct_twice() -> None:
    flows = """
        table=0,ip,in_port=vm1,actions=ct(commit,zone=1,table=1)
        table=1,ip,in_port=vm1,actions=ct(commit,zone=2,table=2)
        table=2,ip,in_port=vm1,actions=ext
        table=0,ip,in_port=ext,actions=ct(zone=2,table=3)
        table=3,priority=2,icmp,ct_state=+trk+rel,actions=ct(zone=1,table=4)
        table=3,priority=1,ip,ct_state=+trk+est,actions=ct(zone=1,table=4)
        table=4,priority=2,icmp,ct_state=+trk+rel,actions=vm1
        table=4,priority=1,ip,ct_state=+trk+est,actions=vm1
        """
    play(flows, f"{OFFLOADED}\next: unreach 10.0.0.9 > 10.0.0.1 : {THERE} -> vm1\ncount = 2")


def test_a_script_that_is_not_so_fails() -> None:
    """Of this notation itself: each kind of step finds what is wrong."""
    wrong = [
        f"vm1: {THERE} -> nothing",
        f"vm1: {THERE} -> vm1",
        f"vm1: {THERE} => ext",
        f"vm1: {THERE} -> ext udp 10.0.0.1,1000 > 10.0.0.3,81",
        "count = 1",
        "show udp",
        "unknown",
    ]
    assert len(list(steps("\n".join(wrong)))) == len(wrong)
    for line in wrong:
        with pytest.raises(AssertionError):
            play(RELATED, line)
