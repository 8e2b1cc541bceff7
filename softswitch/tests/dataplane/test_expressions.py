# SPDX-License-Identifier: Apache-2.0
"""Random expressions against a model with Python's unbounded integers."""

from __future__ import annotations

import random
from typing import Any

import pytest

from .builder import Builder, Json, assign, const, field, op, std, whole
from .conftest import Runner, sent

WIDTHS = [1, 3, 7, 8, 9, 16, 17, 32, 33, 48, 63, 64, 65, 100, 127, 128]
INPUTS = [(f"i{i}", w, i % 5 == 4 and w > 1) for i, w in enumerate(WIDTHS)]
OUTPUTS = 40


class Model:
    """Makes an expression and computes it; `env` holds the inputs."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def number(self, depth: int) -> Json:
        rng = self.rng
        if depth == 0 or rng.random() < 0.1:
            if rng.random() < 0.3:
                return const(rng.choice([0, 1, 2, 255, rng.getrandbits(rng.choice(WIDTHS))]))
            name, _, _ = rng.choice(INPUTS)
            return field("in", name)
        width = rng.choice(WIDTHS)
        kind = rng.choice(["ring", "ring", "ring", "shift", "cmp", "cond", "cast", "div"])
        if kind == "ring":
            name = rng.choice(["+", "-", "*", "&", "|", "^"])
            inner = op(name, self.number(depth - 1), self.number(depth - 1))
            return op("&", inner, const((1 << width) - 1))
        if kind == "shift":
            amount = rng.choice([const(rng.randrange(0, 130)), field("in", "i2")])
            if rng.random() < 0.5:
                return op("&", op("<<", self.number(depth - 1), amount), const((1 << width) - 1))
            return op(">>", self.masked(depth), amount)
        if kind == "cmp":
            return op("b2d", None, self.boolean(depth - 1))
        if kind == "cond":
            return op("?", self.masked(depth), self.masked(depth), self.boolean(depth - 1))
        if kind == "cast":
            # Saturation looks at the whole value, so the operand has to fit a C type.
            name = rng.choice(["two_comp_mod", "sat_cast", "usat_cast"])
            operand = op(rng.choice("+-"), self.small(depth), self.small(depth))
            return op(name, operand, const(rng.choice([2, 8, 13, 32, 64])))
        return op(rng.choice("/%"), self.small(depth), const(rng.randrange(1, 1 << 20)))

    def masked(self, depth: int) -> Json:
        return op("&", self.number(depth - 1), const((1 << self.rng.choice(WIDTHS)) - 1))

    def small(self, depth: int) -> Json:
        return op("&", self.number(depth - 1), const((1 << 60) - 1))

    def boolean(self, depth: int) -> Json:
        rng = self.rng
        if depth > 0 and rng.random() < 0.4:
            if rng.random() < 0.3:
                return op("not", None, self.boolean(depth - 1))
            return op(rng.choice(["and", "or"]), self.boolean(depth - 1), self.boolean(depth - 1))
        if rng.random() < 0.2:
            return op("d2b", None, self.number(0))
        return op(rng.choice(["==", "!=", "<", "<=", ">", ">="]), self.masked(1), self.masked(1))


def value_of(expr: Json, env: dict[str, int]) -> Any:
    if expr["type"] == "hexstr":
        return int(expr["value"], 16)
    if expr["type"] == "field":
        return env[expr["value"][1]]
    e = expr["value"]
    if "op" not in e:
        return value_of(e, env)
    a = value_of(e["left"], env) if e["left"] is not None else None
    if e["op"] == "and":
        return a and value_of(e["right"], env)
    if e["op"] == "or":
        return a or value_of(e["right"], env)
    if e["op"] == "?":
        return a if value_of(e["cond"], env) else value_of(e["right"], env)
    b = value_of(e["right"], env)
    match e["op"]:
        case "two_comp_mod":
            half = 1 << (b - 1)
            return (a + half) % (1 << b) - half
        case "sat_cast":
            return max(-(1 << (b - 1)), min((1 << (b - 1)) - 1, a))
        case "usat_cast":
            return max(0, min((1 << b) - 1, a))
        case "not":
            return not b
        case "d2b":
            return b != 0
        case "b2d":
            return int(b)
        case "+":
            return a + b
        case "-":
            return a - b
        case "*":
            return a * b
        case "&":
            return a & b
        case "|":
            return a | b
        case "^":
            return a ^ b
        case "<<":
            return a << b
        case ">>":
            return a >> b
        case "/":
            return a // b
        case "%":
            return a % b
        case name:
            return {
                "==": a == b,
                "!=": a != b,
                "<": a < b,
                "<=": a <= b,
                ">": a > b,
                ">=": a >= b,
            }[name]


@pytest.mark.parametrize("seed", range(4))
def test_random_expressions(run: Runner, seed: int) -> None:
    rng = random.Random(seed)
    total = sum(w for _, w, _ in INPUTS)
    outputs = [(f"o{i}", WIDTHS[i % len(WIDTHS)]) for i in range(OUTPUTS)]
    out_bits = sum(w for _, w in outputs)
    builder = Builder(
        {
            "in": [*INPUTS, ("pad", -total % 8 or 8)],
            "out": [*((n, w, False) for n, w in outputs), ("pad", -out_bits % 8 or 8)],
        },
        parse=["in", "out"],
    )
    exprs = [Model(rng).number(4) for _ in outputs]
    builder.statements(
        *(assign(field("out", n), whole(e)) for (n, _), e in zip(outputs, exprs, strict=True)),
        assign(std("egress_spec"), const(1)),
    )
    plane = run(builder)
    in_len = (total + (-total % 8 or 8)) // 8
    out_len = (out_bits + (-out_bits % 8 or 8)) // 8
    for _ in range(60):
        env: dict[str, int] = {}
        packed = 0
        for name, width, signed in INPUTS:
            raw = rng.choice([0, 1, (1 << width) - 1, 1 << (width - 1), rng.getrandbits(width)])
            packed = packed << width | raw
            env[name] = raw - (1 << width) if signed and raw >> (width - 1) else raw
        frame = (packed << (-total % 8 or 8)).to_bytes(in_len, "big") + bytes(out_len)
        plane.inject(0, frame)
        (got,) = sent(plane, 1)
        assert got[:in_len] == frame[:in_len]
        bits = int.from_bytes(got[in_len:], "big") >> (-out_bits % 8 or 8)
        for (name, width), expr in reversed(list(zip(outputs, exprs, strict=True))):
            want = value_of(expr, env) & ((1 << width) - 1)
            assert bits & ((1 << width) - 1) == want, (name, expr, env)
            bits >>= width
