# SPDX-License-Identifier: Apache-2.0
"""A program that is ready to run: parsed, compiled, and described for the control plane."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from softswitch import compiler
from softswitch.api import (
    ActionInfo,
    CounterInfo,
    DefaultAction,
    DigestInfo,
    Entry,
    KeyInfo,
    MeterInfo,
    ProfileInfo,
    RegisterInfo,
    TableInfo,
)
from softswitch.bmv2 import ir, loader
from softswitch.codegen.generate import generate


@dataclass(frozen=True, slots=True)
class Program:
    """See `api.ProgramInfo`. `path` is the shared object; `sanitize` says how it was built."""

    tables: Mapping[str, TableInfo]
    counters: Mapping[str, CounterInfo]
    meters: Mapping[str, MeterInfo]
    registers: Mapping[str, RegisterInfo]
    profiles: Mapping[str, ProfileInfo]
    digests: Mapping[str, DigestInfo]
    ir: ir.Program
    path: Path
    sanitize: bool

    @classmethod
    def load(
        cls,
        json_bytes: bytes,
        *,
        cache_dir: Path | None = None,
        sanitize: bool = False,
        trace: bool = False,
    ) -> Program:
        """Parse BMv2 JSON 2.x and compile it (or take it from the cache).

        `cache_dir`: default `$XDG_CACHE_HOME/softswitch`. `sanitize`: build with the address and
        undefined-behaviour sanitizers; the process must have libasan preloaded.
        `trace`: the program says in the log what it does with each packet, which makes it slow.
        Raises BadProgram, UnsupportedConstruct (names the construct and its source line),
        NoCompiler, CompilerFailed.
        """
        parsed = loader.load(json_bytes)
        path = compiler.build_program(generate(parsed, trace=trace), cache_dir, sanitize=sanitize)
        return cls(
            tables={t.name: _table_info(parsed, t) for t in parsed.tables},
            counters={
                c.name: CounterInfo(c.name, c.size, c.table is not None, c.table)
                for c in parsed.counters
            },
            meters={
                m.name: MeterInfo(m.name, m.size, m.unit, m.table is not None)
                for m in parsed.meters
            },
            registers={r.name: RegisterInfo(r.name, r.size, r.width) for r in parsed.registers},
            profiles={p.name: _profile_info(parsed, p) for p in parsed.profiles},
            digests={
                d.name: DigestInfo(d.name, tuple((f.field.name, f.field.width) for f in d.fields))
                for d in parsed.digests
            },
            ir=parsed,
            path=path,
            sanitize=sanitize,
        )


def _table_info(program: ir.Program, table: ir.Table) -> TableInfo:
    actions = {
        program.actions[a].name: ActionInfo(program.actions[a].name, program.actions[a].params)
        for a in table.actions
    }
    default: DefaultAction | None = None
    if table.default_action is not None:
        name = program.actions[table.default_action].name
        default = DefaultAction(name, table.default_params, table.default_const)
    meter = table.direct_meter
    return TableInfo(
        name=table.name,
        keys=tuple(KeyInfo(k.name, k.width, k.kind) for k in table.keys),
        actions=actions,
        max_size=table.max_size,
        with_counters=table.with_counters,
        direct_meter=None if meter is None else program.meters[meter].name,
        support_timeout=table.support_timeout,
        default_action=default,
        const_default_action=table.default_const,
        const_entries=const_entries(program, table),
        is_const_table=table.const_entries,
        profile=None if table.profile is None else program.profiles[table.profile].name,
    )


def _profile_info(program: ir.Program, profile: ir.Profile) -> ProfileInfo:
    found = [program.actions[a] for a in profile.actions]
    return ProfileInfo(
        name=profile.name,
        size=profile.size,
        with_selector=profile.selector is not None,
        tables=profile.tables,
        actions={a.name: ActionInfo(a.name, a.params) for a in found},
    )


def const_entries(program: ir.Program, table: ir.Table) -> tuple[Entry, ...]:
    """Entries of the program. BMv2's priority is low-wins; here the last one gets 1, as p4c's
    own list of initial entries has it."""
    highest = max((e.priority for e in table.entries), default=0)
    ranked = any(k.kind in ("ternary", "range") for k in table.keys)
    return tuple(
        Entry(
            key=e.key,
            action=program.actions[e.action].name,
            params=e.params,
            priority=highest - e.priority + 1 if ranked else 0,
            is_const=True,
        )
        for e in table.entries
    )
