# SPDX-License-Identifier: Apache-2.0
"""docs/flows.md against the vocabulary: every word, and flows that can be read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from p4ct.pipeline import vocabulary
from p4ct.pipeline.parse_nat import NAT_ARGUMENTS
from p4ct.pipeline.parser import parse_flows
from p4ct.pipeline.values import CT_STATE_NAMES, FRAG_NAMES

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "docs/flows.md").read_text("utf-8")


def words(section: str) -> set[str]:
    """What is written as code in a section, subsections included."""
    part = re.split(r"^## ", TEXT.partition(f"\n## {section}\n")[2], flags=re.MULTILINE)[0]
    return set(re.findall(r"`([^`\s]+)`", part))


@pytest.mark.parametrize("name", sorted(vocabulary.MATCH_NAMES))
def test_every_match_is_named(name: str) -> None:
    known = words("Flow") | words("Match")
    assert name in known or f"{name}=" in known or f"{name}=N" in known


def test_every_flag_is_named() -> None:
    assert CT_STATE_NAMES.keys() | FRAG_NAMES.keys() <= words("Match")


def test_every_action_is_named_and_no_other() -> None:
    table = TEXT.partition("\n## Actions\n")[2].partition("\n## ")[0].partition("\nFields ")[0]
    first = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    actions = {re.split(r"[:(]", word)[0].lower() for cell in first
               for word in re.findall(r"`([^`\s]+)`", cell)}  # fmt: skip
    assert actions == {name.lower() for name in vocabulary.ACTION_NAMES}


def test_every_argument_of_ct_is_named_and_no_other() -> None:
    rows = re.findall(r"^\| (`.*?) \|", TEXT.partition("\n## ct\n")[2], re.MULTILINE)
    named = {re.split(r"[=(]", word)[0] for row in rows for word in re.findall(r"`([^`]+)`", row)}
    assert named == vocabulary.CT_ARGUMENTS
    assert set(NAT_ARGUMENTS) - {"src", "dst"} <= words("ct")


def test_the_examples_are_flows() -> None:
    ports = {"vm1": 1}
    (block,) = re.findall(r"^```\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    assert len(parse_flows(block, ports=ports)) == 2
    calls = re.findall(r"`(ct\(commit[^`]*\)|nat\((?:src|dst)=[^`]*[0-9][^`]*\))`", TEXT)
    assert calls
    for call in calls:
        text = call.replace("…", "10.0.0.1")
        text = text if text.startswith("ct") else f"ct(commit,{text})"
        family = "ipv6" if "::" in text else "ip"
        assert parse_flows(f"{family},actions={text}", ports=ports)
