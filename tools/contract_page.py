# SPDX-License-Identifier: Apache-2.0
"""Write the reference part of docs/p4-contract.md from P4Info, and check that the two agree.

    tools/contract_page.py           rewrite what is between the page's two markers
    tools/contract_page.py --check   change nothing; fail when the page is not what P4Info says

Names, ids, widths and sizes come from p4src/compiled/, meanings from tools/contract_meanings.py.
An object without a meaning, or a meaning without an object, is an error.
"""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from p4ct.eswitch.enums import DropReason  # noqa: E402  (the path must be set first)
from p4ct.p4runtime.p4info import Action, Field, P4InfoIndex, Table, load_p4info  # noqa: E402

from tools import contract_meanings as meanings  # noqa: E402

PAGE = ROOT / "docs" / "p4-contract.md"
COMPILED = ROOT / "p4src" / "compiled"
BEGIN = "<!-- begin: written by tools/contract_page.py, do not edit -->"
END = "<!-- end -->"

Enums = Mapping[str, tuple[int, Mapping[str, int]]]
"""Name -> (width in bits, member -> value)."""


class PageError(Exception):
    """Page, P4Info and meanings disagree; the text says where and what to do."""


def load(compiled: Path = COMPILED) -> tuple[P4InfoIndex, list[dict[str, Any]]]:
    """P4Info, and the const entries of `trap`, which P4Info does not hold, from the JSON."""
    index = P4InfoIndex(load_p4info(compiled / "eswitch.p4info.txtpb"))
    program = json.loads((compiled / "eswitch.json").read_bytes())
    tables = [table for pipeline in program["pipelines"] for table in pipeline["tables"]]
    trap = next(table for table in tables if table["name"] == "trap")
    return index, trap["entries"]


def enums_of(index: P4InfoIndex) -> Enums:
    """The enums of P4Info, and DropReason, which p4c leaves out of it."""
    found = {e.name: (e.width, e.members) for e in index.enums.values()}
    found.setdefault("DropReason", (8, {m.name: m.value for m in DropReason}))
    order = [*meanings.ENUMS, *(name for name in found if name not in meanings.ENUMS)]
    return {name: found[name] for name in order if name in found}


def public_actions(index: P4InfoIndex) -> list[Action]:
    """The actions that a table offers; p4c also lists those that statements became."""
    offered = {action.id for table in index.tables for action in table.actions}
    return [action for action in index.actions if action.id in offered]


def disagreements(index: P4InfoIndex) -> list[str]:
    """What has no meaning, and what has one but does not exist."""
    enums = enums_of(index)
    actions = public_actions(index)
    direct = [c.preamble.name for c in index.message.direct_counters]
    pairs: tuple[tuple[str, Iterable[Any], Mapping[Any, str]], ...] = (
        ("table", (t.name for t in index.tables), meanings.TABLES),
        ("key", ((t.name, k.name) for t in index.tables for k in t.keys), meanings.KEYS),
        ("action", (a.name for a in actions), meanings.ACTIONS),
        ("parameter", ((a.name, p.name) for a in actions for p in a.params), meanings.PARAMS),
        ("counter", [*(c.name for c in index.counters), *direct], meanings.COUNTERS),
        ("meter", (m.name for m in index.meters), meanings.METERS),
        ("register", (r.preamble.name for r in index.message.registers), meanings.REGISTERS),
        ("header", (h.name for h in index.headers), meanings.HEADERS),
        ("field", ((h.name, f.name) for h in index.headers for f in h.fields), meanings.FIELDS),
        ("enum", enums, meanings.ENUMS),
        ("member", ((e, m) for e, (_, ms) in enums.items() for m in ms), meanings.MEMBERS),
    )
    problems: list[str] = []
    for kind, exists, explained in pairs:
        names = set(exists)
        problems += [f"{kind} {_name(n)} has no meaning" for n in sorted(names - set(explained))]
        gone = sorted(set(explained) - names)
        problems += [f"{kind} {_name(n)} has a meaning but is not in P4Info" for n in gone]
    return problems


def _name(name: str | tuple[str, str]) -> str:
    return name if isinstance(name, str) else ".".join(name)


def render(index: P4InfoIndex, trap: list[dict[str, Any]]) -> str:
    """The generated part of the page. Raises PageError if anything is unexplained."""
    problems = disagreements(index)
    if problems:
        raise PageError("\n".join([*problems, "correct tools/contract_meanings.py"]))
    return "\n".join(_lines(index, trap)) + "\n"


def _lines(index: P4InfoIndex, trap: list[dict[str, Any]]) -> Iterator[str]:
    yield f"Program `{index.name}`, version {index.version}, architecture {index.arch}."
    yield ""
    yield "## Tables"
    for table in index.tables:
        yield from _table(table)
        if table.name == "trap":
            yield from _trap(table, trap, enums_of(index))
    yield from _actions(index)
    yield from _arrays(index)
    for header in index.headers:
        yield from ("", f"## Header `{header.name}`", "", meanings.HEADERS[header.name])
        rows = ((f, meanings.FIELDS[header.name, f.name]) for f in header.fields)
        yield from _fields(rows, "field")
    yield from ("", "## Enums")
    for name, (width, members) in enums_of(index).items():
        yield from ("", f"### `{name}`, {width} bits", "", meanings.ENUMS[name], "")
        rows = (
            (str(value), f"`{member}`", meanings.MEMBERS[name, member])
            for member, value in members.items()
        )
        yield from _grid(("value", "name", "meaning"), rows)


def _table(table: Table) -> Iterator[str]:
    notes = [f"id 0x{table.id:08x}", f"{table.size} rows"]
    notes += ["const entries"] if table.is_const else []
    notes += ["idle timeout"] if table.idle_timeout else []
    notes += [f"direct counter `{table.counter}`"] if table.counter else []
    yield from ("", f"### `{table.name}`", "", f"{', '.join(notes)}.")
    yield from ("", meanings.TABLES[table.name])
    yield from _fields(((k, meanings.KEYS[table.name, k.name]) for k in table.keys), "key")
    usable = [f"`{a.name}`" for a in table.actions if a.id not in table.default_only]
    fixed = [f"`{a.name}`" for a in table.actions if a.id in table.default_only]
    yield from ("", f"Actions: {', '.join(usable)}; default (const): {', '.join(fixed)}.")


def _fields(rows: Iterable[tuple[Field, str]], what: str) -> Iterator[str]:
    cells = [
        (str(f.id), f"`{f.name}`", str(f.width), *([f.kind] if f.kind else []), meaning)
        for f, meaning in rows
    ]
    kind = ["match"] if cells and len(cells[0]) == 5 else []
    yield ""
    yield from _grid(("id", what, "bits", *kind, "meaning"), cells)


def _trap(table: Table, entries: list[dict[str, Any]], enums: Enums) -> Iterator[str]:
    reasons, classes, hits = (
        {value: name for name, value in enums[enum][1].items()}
        for enum in ("PuntReason", "PuntClass", "CtHit")
    )
    flags = {0x01: "FIN", 0x02: "SYN", 0x04: "RST", 0x10: "ACK"}
    rows: list[tuple[str, ...]] = []
    for entry in sorted(entries, key=lambda item: item["priority"]):
        conditions: list[str] = []
        for key, match in zip(table.keys, entry["match_key"], strict=True):
            value, mask = int(match["key"], 16), int(match["mask"], 16)
            if not mask:
                continue
            if key.name == "ct_hit":
                conditions.append(f"ct_hit {hits[value]}")
            elif key.name == "tcp_flags":
                conditions += [
                    f"{name} {'set' if value & flag else 'clear'}"
                    for flag, name in flags.items()
                    if mask & flag
                ]
            else:
                conditions.append(key.name if value else f"not {key.name}")
        reason, class_ = (int(number, 16) for number in entry["action_entry"]["action_data"])
        rows.append(
            (str(entry["priority"]), ", ".join(conditions), reasons[reason], classes[class_])
        )
    yield from ("", "Const entries; the first that matches decides:", "")
    yield from _grid(("order", "condition", "reason", "class"), rows)


def _actions(index: P4InfoIndex) -> Iterator[str]:
    yield from ("", "## Actions")
    for action in public_actions(index):
        yield from ("", f"### `{action.name}`, id 0x{action.id:08x}", "")
        yield meanings.ACTIONS[action.name]
        if action.params:
            rows = ((p, meanings.PARAMS[action.name, p.name]) for p in action.params)
            yield from _fields(rows, "parameter")


def _arrays(index: P4InfoIndex) -> Iterator[str]:
    yield from ("", "## Counters and meters", "")
    tables = {t.id: t.name for t in index.tables}
    units = {"both": "packets and bytes"}
    rows = [
        (f"`{c.name}`", f"0x{c.id:08x}", f"{c.size} cells", units.get(c.unit, c.unit), text)
        for c in index.counters
        if (text := meanings.COUNTERS[c.name])
    ]
    for counter in index.message.direct_counters:
        name, table = counter.preamble.name, tables[counter.direct_table_id]
        where = f"direct, of `{table}`"
        id_, unit = f"0x{counter.preamble.id:08x}", units["both"]
        rows.append((f"`{name}`", id_, where, unit, meanings.COUNTERS[name]))
    rows += [
        (f"`{m.name}`", f"0x{m.id:08x}", f"{m.size} cells", f"meter, {m.unit}", text)
        for m in index.meters
        if (text := meanings.METERS[m.name])
    ]
    yield from _grid(("name", "id", "size", "unit", "meaning"), rows)
    yield from ("", "## Registers", "", meanings.REGISTERS_NOTE, "")
    registers = (
        (f"`{r.preamble.name}`", f"{r.size} cells", width, meanings.REGISTERS[r.preamble.name])
        for r in index.message.registers
        if (width := str(r.type_spec.bitstring.bit.bitwidth))
    )
    yield from _grid(("name", "size", "bits", "meaning"), registers)


def _grid(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def replaced(page: str, generated: str) -> str:
    """The page with its generated part exchanged."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise PageError(f"{PAGE.name}: the markers '{BEGIN}' and '{END}' are not both there")
    return f"{before}{BEGIN}\n\n{generated}\n{END}{after}"


def check(page: str, wanted: str) -> None:
    """Raises PageError with the difference if the page is not what it should be."""
    if page != wanted:
        lines = difflib.unified_diff(
            page.splitlines(), wanted.splitlines(), "docs/p4-contract.md", "P4Info", lineterm=""
        )
        raise PageError("\n".join([*lines, "run tools/contract_page.py and commit the page"]))


def main() -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(description="Write or check docs/p4-contract.md.")
    parser.add_argument("--check", action="store_true", help="compare only, change nothing")
    arguments = parser.parse_args()
    try:
        page = PAGE.read_text(encoding="utf-8")
        wanted = replaced(page, render(*load()))
        if arguments.check:
            check(page, wanted)
        else:
            PAGE.write_text(wanted, encoding="utf-8")
    except PageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
