# SPDX-License-Identifier: Apache-2.0
"""The typed form of a program: what the loader makes and the code generator reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from softswitch.api import MatchKind, MeterUnit


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a header or of a metadata struct; `offset` in bits from the header's start."""

    name: str
    width: int
    signed: bool
    offset: int


@dataclass(frozen=True, slots=True)
class Header:
    """A header or metadata instance; `index` numbers the instances and names it in C."""

    name: str
    index: int
    type_name: str
    fields: tuple[Field, ...]
    is_metadata: bool

    @property
    def width(self) -> int:
        return sum(f.width for f in self.fields)

    def find(self, name: str) -> int | None:
        return next((i for i, f in enumerate(self.fields) if f.name == name), None)


@dataclass(frozen=True, slots=True)
class FieldRef:
    header: Header
    index: int

    @property
    def field(self) -> Field:
        return self.header.fields[self.index]


# Expressions. Arithmetic has infinite precision; storing truncates (JSON_format.md of BMv2).


@dataclass(frozen=True, slots=True)
class Const:
    value: int


@dataclass(frozen=True, slots=True)
class BoolConst:
    value: bool


@dataclass(frozen=True, slots=True)
class Valid:
    """Validity of a header, as a boolean."""

    header: Header


@dataclass(frozen=True, slots=True)
class Param:
    """Run-time parameter of the enclosing action."""

    index: int
    width: int


@dataclass(frozen=True, slots=True)
class Lookahead:
    """Bits of the packet, `offset` bits after the parser's cursor."""

    offset: int
    width: int


@dataclass(frozen=True, slots=True)
class Op:
    """`name` as in the JSON; operands in the order (cond,) left, right, absent ones left out."""

    name: str
    args: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class HeaderEqual:
    """Both invalid, or both valid with equal fields."""

    left: Header
    right: Header


Expr = Const | BoolConst | FieldRef | Valid | Param | Lookahead | Op | HeaderEqual
Location = str


@dataclass(frozen=True, slots=True)
class Primitive:
    """One primitive call. Which of the operands are set depends on `op` (see loader)."""

    op: str
    location: Location
    target: FieldRef | None = None
    headers: tuple[Header, ...] = ()
    exprs: tuple[Expr, ...] = ()
    index: int = 0
    """Number of a counter, meter, register, calculation, field list or jump target."""
    text: str = ""
    source: str = ""
    """The P4 text, for traces."""


@dataclass(frozen=True, slots=True)
class Action:
    name: str
    index: int
    params: tuple[tuple[str, int], ...]
    primitives: tuple[Primitive, ...]


@dataclass(frozen=True, slots=True)
class Extract:
    header: Header


@dataclass(frozen=True, slots=True)
class Set:
    target: FieldRef
    value: Expr


@dataclass(frozen=True, slots=True)
class Verify:
    condition: Expr
    error: Expr


@dataclass(frozen=True, slots=True)
class Advance:
    """Skip this many bits."""

    bits: Expr


@dataclass(frozen=True, slots=True)
class ParserPrimitive:
    primitive: Primitive


ParserOp = Extract | Set | Verify | Advance | ParserPrimitive


@dataclass(frozen=True, slots=True)
class Transition:
    """`value`/`mask` over the concatenated key (each element padded to bytes); None: default."""

    value: int | None
    mask: int
    next_state: int | None


@dataclass(frozen=True, slots=True)
class ParseState:
    name: str
    ops: tuple[ParserOp, ...]
    key: tuple[FieldRef | Valid | Lookahead, ...]
    transitions: tuple[Transition, ...]


@dataclass(frozen=True, slots=True)
class Parser:
    states: tuple[ParseState, ...]
    init: int


@dataclass(frozen=True, slots=True)
class TableKey:
    """`mask`: static mask, all ones if the JSON has none. `target`: a field or a validity bit."""

    name: str
    kind: MatchKind
    target: FieldRef | Valid
    width: int
    mask: int


@dataclass(frozen=True, slots=True)
class ConstEntry:
    """`key`: (value, mask) or (low, high) for each key; `priority` in BMv2's sense, low wins."""

    key: tuple[tuple[int, int], ...]
    priority: int
    action: int
    params: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DigestList:
    """A learn list: what generate_digest reports."""

    name: str
    index: int
    fields: tuple[FieldRef, ...]


@dataclass(frozen=True, slots=True)
class Profile:
    """An action profile. `actions`: one for each name among the actions of its tables.

    p4c gives each table its own copy of an action; they are the same, so any copy stands for all.
    `selector`: index into Program.calculations, for profiles whose tables take groups.
    """

    name: str
    index: int
    size: int
    selector: int | None
    actions: tuple[int, ...]
    tables: tuple[str, ...]
    location: Location = ""


NodeRef = tuple[Literal["table", "conditional", "call"], int]


@dataclass(frozen=True, slots=True)
class Table:
    """`actions`: indices into Program.actions. `next_*`: None ends the pipeline."""

    name: str
    index: int
    match: MatchKind
    keys: tuple[TableKey, ...]
    actions: tuple[int, ...]
    max_size: int
    with_counters: bool
    direct_meter: int | None
    """Index into Program.meters."""
    support_timeout: bool
    default_action: int | None
    default_params: tuple[int, ...]
    default_const: bool
    entries: tuple[ConstEntry, ...]
    const_entries: bool
    next_by_action: dict[int, NodeRef | None] = field(default_factory=dict[int, NodeRef | None])
    next_hit: NodeRef | None = None
    next_miss: NodeRef | None = None
    by_hit: bool = False
    profile: int | None = None
    """Index into Program.profiles, for a table whose entries refer to members and groups."""


@dataclass(frozen=True, slots=True)
class Conditional:
    index: int
    condition: Expr
    true_next: NodeRef | None
    false_next: NodeRef | None
    name: str = ""
    location: Location = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class ActionCall:
    index: int
    action: int
    next_node: NodeRef | None


@dataclass(frozen=True, slots=True)
class Pipeline:
    name: str
    init: NodeRef | None
    tables: tuple[int, ...]
    conditionals: dict[int, Conditional]
    calls: dict[int, ActionCall]


@dataclass(frozen=True, slots=True)
class Counter:
    name: str
    index: int
    size: int
    table: str | None
    """The table it is bound to, for a direct counter."""


@dataclass(frozen=True, slots=True)
class Meter:
    name: str
    index: int
    size: int
    unit: MeterUnit
    table: str | None
    result: FieldRef | None


@dataclass(frozen=True, slots=True)
class Register:
    name: str
    index: int
    size: int
    width: int


@dataclass(frozen=True, slots=True)
class Payload:
    """The rest of the packet, as input of a calculation."""


@dataclass(frozen=True, slots=True)
class ConstBits:
    value: int
    width: int


@dataclass(frozen=True, slots=True)
class Calculation:
    name: str
    index: int
    algorithm: str
    inputs: tuple[FieldRef | ConstBits | Payload, ...]


@dataclass(frozen=True, slots=True)
class Checksum:
    target: FieldRef
    calculation: Calculation
    condition: Expr
    verify: bool
    update: bool


@dataclass(frozen=True, slots=True)
class Program:
    headers: tuple[Header, ...]
    errors: dict[str, int]
    parser: Parser
    actions: tuple[Action, ...]
    tables: tuple[Table, ...]
    ingress: Pipeline
    egress: Pipeline
    deparse_order: tuple[Header, ...]
    checksums: tuple[Checksum, ...]
    calculations: tuple[Calculation, ...]
    counters: tuple[Counter, ...]
    meters: tuple[Meter, ...]
    registers: tuple[Register, ...]
    profiles: tuple[Profile, ...]
    digests: tuple[DigestList, ...]
    field_lists: dict[int, tuple[FieldRef, ...]]
    intrinsic: dict[str, FieldRef]
    """Target metadata by BMv2's name, for example `intrinsic_metadata.mcast_grp`."""
