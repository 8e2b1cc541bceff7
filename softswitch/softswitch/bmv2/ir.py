# SPDX-License-Identifier: Apache-2.0
"""The typed form of a program: what the loader makes and the code generator reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from softswitch.api import MatchKind, MeterUnit
from softswitch.bmv2.ir_values import (
    BoolConst as BoolConst,
)
from softswitch.bmv2.ir_values import (
    Const as Const,
)
from softswitch.bmv2.ir_values import (
    Expr as Expr,
)
from softswitch.bmv2.ir_values import (
    Field as Field,
)
from softswitch.bmv2.ir_values import (
    FieldRef as FieldRef,
)
from softswitch.bmv2.ir_values import (
    Header as Header,
)
from softswitch.bmv2.ir_values import (
    HeaderEqual as HeaderEqual,
)
from softswitch.bmv2.ir_values import (
    KeyPart as KeyPart,
)
from softswitch.bmv2.ir_values import (
    Lookahead as Lookahead,
)
from softswitch.bmv2.ir_values import (
    Op as Op,
)
from softswitch.bmv2.ir_values import (
    Param as Param,
)
from softswitch.bmv2.ir_values import (
    Stack as Stack,
)
from softswitch.bmv2.ir_values import (
    StackLast as StackLast,
)
from softswitch.bmv2.ir_values import (
    StackNext as StackNext,
)
from softswitch.bmv2.ir_values import (
    Valid as Valid,
)
from softswitch.bmv2.ir_values import (
    VarbitEqual as VarbitEqual,
)

Location = str


@dataclass(frozen=True, slots=True)
class Element:
    """stack[index], chosen at run time; out of range: nothing is written, element 0 is read."""

    stack: Stack
    index: Expr


@dataclass(frozen=True, slots=True)
class Primitive:
    """One primitive call. Which of the operands are set depends on `op` (see loader).

    `element`: the assignment goes to that element instead of the target's header."""

    op: str
    location: Location
    target: FieldRef | None = None
    element: Element | None = None
    headers: tuple[Header | Element, ...] = ()
    stacks: tuple[Stack, ...] = ()
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
    """`length`: bits of its varbit field."""

    header: Header
    length: Expr | None = None


@dataclass(frozen=True, slots=True)
class ExtractNext:
    """Extract into the next element of a stack."""

    stack: Stack
    length: Expr | None = None


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


ParserOp = Extract | ExtractNext | Set | Verify | Advance | ParserPrimitive


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
    key: tuple[KeyPart, ...]
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
    stacks: tuple[Stack, ...]
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
