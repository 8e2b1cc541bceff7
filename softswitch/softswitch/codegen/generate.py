# SPDX-License-Identifier: Apache-2.0
"""The whole C file of a program."""

from __future__ import annotations

from softswitch.bmv2 import ir
from softswitch.codegen import big, checksums, control, lifecycle, parser, phv, superpackets
from softswitch.codegen.actions import ActionWriter
from softswitch.codegen.trace import Trace


def generate(program: ir.Program, *, trace: bool = False) -> str:
    """`trace`: say in the log what happens to each packet.

    Returns C text that exports `const struct ss_program ss_program` (see runtime/ss.h)."""
    tracing = Trace(trace)
    actions = ActionWriter(program, tracing)
    hash_bytes = max([64, *(checksums.input_bytes(c) for c in program.calculations)])
    out = [
        '#include "ss.h"',
        '#include "ss_hash.h"',
        f"#define SS_BIG_WORDS {big.words(program)}",
        '#include "ss_big.h"',
        "#include <stdio.h>",
        *tracing.include(),
        *phv.declare(program),
        f"#define HASH_BYTES {hash_bytes}",
        *lifecycle.TYPES.splitlines(),
        *control.describe(program),
        *_externs(program),
    ]
    for calculation in program.calculations:
        out += checksums.function(calculation)
    for action in program.actions:
        out += actions.function(action)
    out += parser.function(program, actions, tracing)
    out += checksums.verify_function(program)
    out += checksums.update_function(program)
    for pipeline in (program.ingress, program.egress):
        out += control.ControlWriter(program, pipeline, tracing).function()
    out += lifecycle.LifecycleWriter(program, tracing).text()
    out += [
        '__attribute__((visibility("default"))) extern const struct ss_program ss_program;',
        "const struct ss_program ss_program = {",
        "    .abi = SS_ABI,",
        f"    .n_tables = {len(program.tables)},",
        f"    .n_counters = {len(program.counters)},",
        f"    .n_meters = {len(program.meters)},",
        f"    .n_registers = {len(program.registers)},",
        f"    .n_profiles = {len(program.profiles)},",
        "    .tables = tables,",
        "    .counters = counters,",
        "    .meters = meters,",
        "    .registers = registers,",
        "    .profiles = profiles,",
        "    .scratch_size = sizeof(struct scratch),",
        f"    .superpackets = {'true' if superpackets.why_not(program) is None else 'false'},",
        "    .process = process,",
        "};",
    ]
    return "\n".join(out) + "\n"


def _externs(program: ir.Program) -> list[str]:
    """Direct counters and meters live in their table, so their arrays are empty here."""
    counters = [str(c.size if c.table is None else 0) for c in program.counters]
    meters = [
        f"{{{m.size if m.table is None else 0}, {int(m.unit == 'bytes')}}}" for m in program.meters
    ]
    cells = [f"{{{r.size}, {1 if r.width <= 64 else 2}}}" for r in program.registers]
    registers = ", ".join(cells) or "{0, 0}"
    profiles = [str(control.member_words(program, p)) for p in program.profiles]
    return [
        f"static const uint32_t counters[] = {{{', '.join(counters) or '0'}}};",
        f"static const struct ss_meter_desc meters[] = {{{', '.join(meters) or '{0, 0}'}}};",
        f"static const struct ss_register_desc registers[] = {{{registers}}};",
        f"static const uint32_t profiles[] = {{{', '.join(profiles) or '0'}}};",
    ]
