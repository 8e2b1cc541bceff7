# SPDX-License-Identifier: Apache-2.0
"""The page of differences and the rules that recognise them say the same."""

import re
from pathlib import Path

from .differences import RULES

PAGE = Path(__file__).resolve().parents[3] / "docs" / "conntrack-differences.md"


def test_every_explanation_has_its_paragraph() -> None:
    page = PAGE.read_text(encoding="utf-8")
    recognised = page.split("\n## Recognised by the comparison\n")[1].split("\n## ")[0]
    assert re.findall(r"^### (.+)$", recognised, re.MULTILINE) == list(RULES)
