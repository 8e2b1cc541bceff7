# SPDX-License-Identifier: Apache-2.0
"""The typed form of headers, fields and expressions: the first half of `ir`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a header or of a metadata struct; `offset` in bits from the header's start.

    `varbit`: up to `width` bits, always whole bytes; the offsets of later fields do not count it.
    """

    name: str
    width: int
    signed: bool
    offset: int
    varbit: bool = False


@dataclass(frozen=True, slots=True)
class Header:
    """A header or metadata instance; `index` numbers the instances and names it in C."""

    name: str
    index: int
    type_name: str
    fields: tuple[Field, ...]
    is_metadata: bool
    siblings: tuple[int, ...] = ()
    """The other members of its header union: valid at most one at a time."""

    @property
    def width(self) -> int:
        """Bits without the varbit field."""
        return sum(f.width for f in self.fields if not f.varbit)

    @property
    def varbit(self) -> int | None:
        return next((i for i, f in enumerate(self.fields) if f.varbit), None)

    @property
    def max_bytes(self) -> int:
        return (sum(f.width for f in self.fields) + 7) // 8

    def find(self, name: str) -> int | None:
        return next((i for i, f in enumerate(self.fields) if f.name == name), None)


@dataclass(frozen=True, slots=True)
class Stack:
    """A header stack: its elements, first to last. `index` numbers the stacks."""

    name: str
    index: int
    headers: tuple[Header, ...]


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
class StackNext:
    """How many elements of a stack count as filled: the index of `next`."""

    stack: Stack


@dataclass(frozen=True, slots=True)
class StackLast:
    """A field of a stack's last filled element; `value` spells the choice out. An empty stack is
    an error in the parser (StackOutOfBounds) and element 0 elsewhere."""

    stack: Stack
    width: int
    value: Expr


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


@dataclass(frozen=True, slots=True)
class VarbitEqual:
    """Two varbit fields of the same length and bytes."""

    left: FieldRef
    right: FieldRef


Expr = (
    Const
    | BoolConst
    | FieldRef
    | Valid
    | Param
    | Lookahead
    | StackNext
    | StackLast
    | Op
    | HeaderEqual
    | VarbitEqual
)
KeyPart = FieldRef | Valid | Lookahead | StackLast
"""What a select expression may look at."""
