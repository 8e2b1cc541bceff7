# SPDX-License-Identifier: Apache-2.0
"""Loading: refusals by name and place, malformed and hostile JSON, the compiler and its cache."""

from __future__ import annotations

import json
import os
import random
import re
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from softswitch.bmv2 import loader
from softswitch.codegen.generate import generate
from softswitch.errors import (
    BadProgram,
    CompilerFailed,
    NoCompiler,
    ProgramError,
    SoftswitchError,
    UnsupportedConstruct,
)
from softswitch.program import Program

from softswitch import compiler

from .builder import Builder, Json, assign, call, const, field, header, op, std, whole
from .conftest import Runner, sent

COMPILED = Path(__file__).parents[1] / "v1model" / "programs"
INFO = {"filename": "prog.p4", "line": 12, "column": 3}


def base() -> Builder:
    builder = Builder({"h": [("a", 8), ("b", 8)]}, [("m", 8)])
    builder.statements(assign(std("egress_spec"), const(1)))
    return builder


def refused(data: bytes) -> UnsupportedConstruct:
    with pytest.raises(UnsupportedConstruct) as caught:
        generate(loader.load(data))
    return caught.value


@pytest.mark.parametrize(
    ("key", "value", "what"),
    [
        ("header_union_stacks", {"name": "st"}, "header union stack st"),
        ("parse_vsets", {"name": "vs"}, "parser value set vs"),
        ("extern_instances", {"name": "ex"}, "extern instance ex"),
        (
            "calculations",
            {"name": "c", "algo": "toeplitz", "input": []},
            "hash algorithm toeplitz",
        ),
        (
            "meter_arrays",
            {"name": "m", "rate_count": 1, "type": "bytes", "size": 1},
            "meter m with other than two rates",
        ),
        ("register_arrays", {"name": "r", "bitwidth": 129, "size": 1}, "register r of 129 bits"),
    ],
)
def test_what_is_not_supported_is_named_with_its_line(key: str, value: Json, what: str) -> None:
    builder = base()
    builder.extra[key] = [{**value, "source_info": INFO}]
    error = refused(builder.json())
    assert error.construct == what
    assert error.source_location == "prog.p4:12"
    assert str(error) == f"unsupported construct: {what} at prog.p4:12"


@pytest.mark.parametrize(
    ("primitive", "what"),
    [
        (call("add_header_fast", header("h"), line=7), "primitive add_header_fast"),
        (
            assign(field("h", "a"), whole(op("access_union_header", None, header("h")))),
            "operation 'access_union_header'",
        ),
        (
            assign(
                field("h", "a"),
                whole(op("==", op("<<", const(1), const(5000)), op("*", const(-3), const(7)))),
            ),
            "a value without bounds",
        ),
    ],
)
def test_unsupported_primitives(primitive: Json, what: str) -> None:
    builder = base()
    primitive["source_info"] = {"filename": "x.p4", "line": 7}
    builder.statements(primitive)
    error = refused(builder.json())
    assert error.construct.startswith(what)
    assert error.source_location == "x.p4:7"


def test_unsupported_tables() -> None:
    builder = base()
    act = builder.action("act", [])
    builder.table("t", [("h", "a", "exact")], [act], type="psa", source_info=INFO)
    assert refused(builder.json()).construct == "table t of type psa"
    for keys, what in (
        ([("h", "a", "lpm"), ("h", "b", "lpm")], "table t with two lpm keys"),
        ([("h", "wide", "range")], "range key of 65 bits (table t)"),
        ([("h", "a", "best")], "match kind best (table t)"),
    ):
        builder = base()
        builder.headers["h"] += [("wide", 65), ("pad", 7)]
        act = builder.action("act", [])
        builder.table("t", keys, [act], source_info=INFO)
        assert refused(builder.json()).construct == what
    builder = base()
    builder.headers["h"] += [("odd", 4), ("v", "*")]
    assert refused(builder.json()).construct.startswith("varbit field h_t.v that does not begin")
    builder.headers["h"] = [("odd", 4)]
    assert refused(builder.json()).construct == "header h of 4 bits (not whole bytes)"


Change = Callable[[Json], None]


def _cycle(root: Json) -> None:
    table = root["pipelines"][0]["tables"][0]
    table["next_tables"] = {table["actions"][0]: table["name"]}


def _set(*path: str | int, to: object) -> Change:
    def change(root: Json) -> None:
        at = root
        for step in path[:-1]:
            at = at[step]  # type: ignore[index]
        at[path[-1]] = to  # type: ignore[index]

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("__meta__", "version", to=[1, 9]), "version 1.9: only 2.x"),
        (_set("__meta__", to={}), "__meta__.version"),
        (_set("parsers", to=[]), "no parser"),
        (_set("pipelines", to=[]), "no pipeline 'ingress'"),
        (_set("headers", to=5), "a list is expected, not int"),
        (_set("header_types", 0, "fields", to=[["m", -1]]), "-1 is not between"),
        (_set("header_types", 0, "fields", to=[["m", 1 << 40]]), "is not between"),
        (_set("actions", 0, "primitives", 0, "parameters", to=[]), "2 parameters are expected"),
        (
            _set("actions", 0, "primitives", 0, "parameters", 1, "value", to="0xzz"),
            "not a hexadecimal number",
        ),
        (
            _set("actions", 0, "primitives", 0, "parameters", 0, "value", to=["h", "nope"]),
            "has no field 'nope'",
        ),
        (_set("pipelines", 0, "init_table", to="nope"), "no node 'nope'"),
        (_cycle, "cycle"),
        (_set("deparsers", 0, "order", to=["meta"]), "metadata cannot be emitted"),
    ],
)
def test_malformed_programs(change: Change, message: str) -> None:
    root = base().root()
    change(root)
    with pytest.raises(BadProgram, match=message):
        generate(loader.load(json.dumps(root).encode()))


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100000, b"nul"])
def test_not_a_program(data: bytes) -> None:
    with pytest.raises(BadProgram):
        loader.load(data)


def test_an_endless_loop_of_an_action_is_left_and_logged(run: Runner) -> None:
    builder = base()
    builder.statements(assign(field("h", "a"), op("+", field("h", "a"), const(1))))
    builder.statements(call("_jump", const(0)))
    plane = run(builder)
    plane.inject(0, b"\x05\x00")
    assert sent(plane, 1) == [b"\x06\x00"]
    assert plane.read_log(0) == [
        "action tbl_ingress_2_act: left after 65536 rounds of its loops",
    ]


def test_random_damage_never_gets_past_the_loader() -> None:
    """Whatever is changed in the JSON, the outcome is C text or a ProgramError."""
    rng = random.Random(7)
    data = base().json()
    pieces = [b"null", b"-1", b'"x"', b"[]", b"{}", b"0", b"1e9", b"true", b'"0x5"']
    tokens = [i for i in range(len(data)) if data[i : i + 1] in b'"[{0123456789']
    for _ in range(1500):
        at = rng.choice(tokens)
        end = at + rng.randrange(1, 12)
        damaged = data[:at] + rng.choice(pieces) + data[end:]
        try:
            generate(loader.load(damaged))
        except ProgramError:
            continue


@pytest.mark.parametrize("name", sorted(p.stem for p in COMPILED.glob("*.json")))
def test_damage_to_whole_programs_never_gets_past_the_loader(name: str) -> None:
    """One value of p4c's JSON at a time becomes another value of it, or of a wrong type."""
    rng = random.Random(name)
    data = (COMPILED / f"{name}.json").read_bytes()
    values = [m.span() for m in re.finditer(rb'"[^"]*"|-?\d+|null|true|false', data)]
    others = [b"null", b"-1", b'"x"', b"[]", b"{}", b"0", b"true", b"99999999", b'["a", "b"]']
    others += [data[slice(*rng.choice(values))] for _ in range(20)]
    refused = 0
    for _ in range(25):
        first, last = rng.choice(values)
        try:
            generate(loader.load(data[:first] + rng.choice(others) + data[last:]))
        except ProgramError:
            refused += 1
    assert refused


def test_no_name_of_the_json_reaches_the_compiler() -> None:
    evil = 'x"; system("id"); /* */ #include <evil.h>\n int \\'
    builder = Builder({evil: [(evil, 8)]}, [(evil + "m", 8)])
    act = builder.action(evil, [assign(field(evil, evil), const(1))], [(evil, 8)])
    builder.table(evil, [(evil, evil, "exact")], [act], default=(act, [1]))
    builder.statements(
        call(
            "log_msg",
            {"type": "string", "value": evil},
            {"type": "parameters_vector", "value": []},
        ),
        call("assert", whole(op("==", const(1), const(2)))),
    )
    builder.actions[-1]["primitives"][1]["source_info"] = {"filename": evil, "line": 1}
    text = generate(loader.load(builder.json()))
    inside = [line for line in text.splitlines() if "system" in line]
    assert len(inside) == 2
    for line in inside:  # only within one string literal, its quotes and newlines escaped
        literal = line[line.index('"') : line.rindex('"') + 1]
        assert "system" in literal
        assert '"' not in literal[1:-1]
    compiler_sees = text.replace("\\", "")
    assert "#include <evil.h>" not in [line.strip() for line in compiler_sees.splitlines()]


def test_hostile_program_compiles(load: Callable[[Builder], Program]) -> None:
    evil = '??/"; \\" %n%s \x00\x1b'
    builder = base()
    builder.statements(
        call(
            "log_msg",
            {"type": "string", "value": evil},
            {"type": "parameters_vector", "value": []},
        )
    )
    assert load(builder).path.exists()


def test_introspection(load: Callable[[Builder], Program]) -> None:
    builder = base()
    act = builder.action("act", [], [("p", 9), ("q", 48)])
    builder.table(
        "t",
        [("h", "a", "lpm"), ("h", "b", "exact")],
        [act],
        default=(act, [1, 2]),
        const=True,
        max_size=77,
        with_counters=True,
        support_timeout=True,
    )
    builder.extra["counter_arrays"] = [
        {"name": "c", "id": 0, "is_direct": False, "size": 5},
        {"name": "d", "id": 1, "is_direct": True, "binding": "t"},
    ]
    builder.extra["register_arrays"] = [{"name": "r", "id": 0, "size": 3, "bitwidth": 20}]
    program = load(builder)
    table = program.tables["t"]
    assert [(k.name, k.width, k.kind) for k in table.keys] == [("a", 8, "lpm"), ("b", 8, "exact")]
    assert table.actions["act"].params == (("p", 9), ("q", 48))
    assert (table.max_size, table.with_counters, table.support_timeout) == (77, True, True)
    assert not table.needs_priority
    assert table.default_action is not None
    assert (table.default_action.params, table.const_default_action) == ((1, 2), True)
    assert program.tables["tbl_ingress_0"].keys == ()
    assert (program.counters["c"].size, program.counters["d"].table) == (5, "t")
    assert (program.registers["r"].size, program.registers["r"].width) == (3, 20)


def test_the_cache_is_used_and_private(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    first = Program.load(base().json(), cache_dir=folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    stamp = first.path.stat().st_mtime_ns
    assert Program.load(base().json(), cache_dir=folder).path == first.path
    assert first.path.stat().st_mtime_ns == stamp
    other = base()
    other.statements(assign(field("h", "a"), const(3)))
    assert Program.load(other.json(), cache_dir=folder).path != first.path
    assert sorted(p.suffix for p in folder.iterdir()) == [".so", ".so"]
    folder.chmod(0o777)
    with pytest.raises(SoftswitchError, match="can be written by others"):
        Program.load(base().json(), cache_dir=folder)


def test_no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(NoCompiler, match="apt-get install gcc"):
        Program.load(base().json(), cache_dir=tmp_path / "cache")


def test_a_compiler_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "cc"
    fake.write_text("#!/bin/sh\necho 'no space left' >&2\nexit 3\n")
    fake.chmod(0o755)
    monkeypatch.setenv("CC", str(fake))
    with pytest.raises(CompilerFailed, match=r"status 3:\nno space left"):
        Program.load(base().json(), cache_dir=tmp_path / "cache")
    assert os.listdir(tmp_path / "cache") == []


def test_the_generated_code_and_the_runtime_have_no_warnings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiler, "FLAGS", (*compiler.FLAGS, "-Werror"))
    compiler.build_runtime(tmp_path / "cache")
    Program.load(base().json(), cache_dir=tmp_path / "cache")
