# SPDX-License-Identifier: Apache-2.0
"""Small BMv2 JSON programs for tests, built in Python: no compiler and no foreign files needed."""

from __future__ import annotations

import json
from typing import Any

Json = dict[str, Any]

STANDARD = [
    ("ingress_port", 9),
    ("egress_spec", 9),
    ("egress_port", 9),
    ("instance_type", 32),
    ("packet_length", 32),
    ("enq_timestamp", 32),
    ("enq_qdepth", 19),
    ("deq_timedelta", 32),
    ("deq_qdepth", 19),
    ("ingress_global_timestamp", 48),
    ("egress_global_timestamp", 48),
    ("mcast_grp", 16),
    ("egress_rid", 16),
    ("checksum_error", 1),
    ("parser_error", 32),
    ("priority", 3),
    ("_padding", 3),
]
ALIASES = {
    "queueing_metadata": ["enq_timestamp", "enq_qdepth", "deq_timedelta", "deq_qdepth"],
    "intrinsic_metadata": [
        "ingress_global_timestamp",
        "egress_global_timestamp",
        "mcast_grp",
        "egress_rid",
        "priority",
    ],
}
ERRORS = [
    "NoError",
    "PacketTooShort",
    "NoMatch",
    "StackOutOfBounds",
    "HeaderTooShort",
    "ParserTimeout",
    "ParserInvalidArgument",
]


def field(header: str, name: str) -> Json:
    return {"type": "field", "value": [header, name]}


def std(name: str) -> Json:
    return field("standard_metadata", name)


def const(value: int) -> Json:
    return {"type": "hexstr", "value": hex(value)}


def param(index: int) -> Json:
    return {"type": "runtime_data", "value": index}


def op(name: str, left: Json | None, right: Json, cond: Json | None = None) -> Json:
    value: Json = {"op": name, "left": left, "right": right}
    if cond is not None:
        value["cond"] = cond
    return {"type": "expression", "value": value}


def whole(expr: Json) -> Json:
    """p4c wraps the outermost expression once more."""
    return {"type": "expression", "value": expr}


def header(name: str) -> Json:
    return {"type": "header", "value": name}


def named(kind: str, name: str) -> Json:
    return {"type": kind, "value": name}


def assign(target: Json, value: Json) -> Json:
    return call("assign", target, value)


def call(name: str, *parameters: Json, line: int = 0) -> Json:
    out: Json = {"op": name, "parameters": list(parameters)}
    if line:
        out["source_info"] = {"filename": "test.p4", "line": line, "column": 0}
    return out


DROP = call("mark_to_drop", header("standard_metadata"))


class Builder:
    """Collects the parts of a program; `json()` gives the bytes.

    The parser extracts `parse` in order unless `states` are given; the deparser emits every
    header. Ingress and egress are lists of nodes that run one after the other.
    """

    def __init__(
        self,
        headers: dict[str, list[tuple[Any, ...]]] | None = None,
        meta: list[tuple[Any, ...]] | None = None,
        parse: list[str] | None = None,
    ) -> None:
        self.headers = headers or {}
        self.meta = meta or []
        self.parse = list(self.headers) if parse is None else parse
        self.states: list[Json] | None = None
        self.actions: list[Json] = []
        self.nodes: dict[str, list[Json]] = {"ingress": [], "egress": []}
        self.extra: Json = {}
        self.version = [2, 23]

    def action(
        self, name: str, primitives: list[Json], params: list[tuple[str, int]] | None = None
    ) -> int:
        data = [{"name": n, "bitwidth": w} for n, w in params or []]
        self.actions.append(
            {
                "name": name,
                "id": len(self.actions),
                "runtime_data": data,
                "primitives": primitives,
            }
        )
        return len(self.actions) - 1

    def statements(self, *primitives: Json, pipeline: str = "ingress") -> None:
        """A keyless table with a const default action, as p4c makes of statements."""
        name = f"tbl_{pipeline}_{len(self.nodes[pipeline])}"
        action = self.action(name + "_act", list(primitives))
        self.table(name, [], [action], default=(action, []), const=True, pipeline=pipeline)

    def table(
        self,
        name: str,
        key: list[tuple[str, str, str]],
        actions: list[int],
        default: tuple[int, list[int]] | None = None,
        const: bool = False,
        pipeline: str = "ingress",
        **options: Any,
    ) -> Json:
        """`key`: (header, field, match kind). Options go into the JSON as they are."""
        table: Json = {
            "name": name,
            "id": 0,
            "key": [
                {"match_type": kind, "name": f, "target": [h, f], "mask": None}
                for h, f, kind in key
            ],
            "match_type": "exact",
            "type": "simple",
            "max_size": 64,
            "with_counters": False,
            "support_timeout": False,
            "direct_meters": None,
            "action_ids": actions,
            "actions": [self.actions[a]["name"] for a in actions],
            "base_default_next": None,
            "next_tables": {},
        }
        if default is not None:
            table["default_entry"] = {
                "action_id": default[0],
                "action_const": const,
                "action_data": [hex(v) for v in default[1]],
                "action_entry_const": const,
            }
        table.update(options)
        self.nodes[pipeline].append(table)
        return table

    def _pipeline(self, name: str) -> Json:
        nodes = self.nodes[name]
        for node, following in zip(nodes, [*nodes, None][1:], strict=True):
            after = following["name"] if following else None
            if not node["next_tables"] and "keep_next" not in node:
                node["base_default_next"] = after
                node["next_tables"] = dict.fromkeys(node["actions"], after)
        return {
            "name": name,
            "id": 0,
            "init_table": nodes[0]["name"] if nodes else None,
            "tables": nodes,
            "action_profiles": [],
            "conditionals": self.extra.get(f"{name}_conditionals", []),
        }

    def root(self) -> Json:
        types = [{"name": "meta_t", "id": 0, "fields": [list(f) for f in self.meta]}]
        types.append({"name": "std_t", "id": 1, "fields": [[n, w, False] for n, w in STANDARD]})
        headers = [
            {"name": "meta", "id": 0, "header_type": "meta_t", "metadata": True},
            {"name": "standard_metadata", "id": 1, "header_type": "std_t", "metadata": True},
        ]
        for i, (name, fields) in enumerate(self.headers.items(), 2):
            kind = f"{name}_t"
            types.append({"name": kind, "id": i, "fields": [list(f) for f in fields]})
            headers.append({"name": name, "id": i, "header_type": kind, "metadata": False})
        states = self.states or [
            state("start", [extract(name) for name in self.parse]),
        ]
        root: Json = {
            "program": "test.p4",
            "__meta__": {"version": self.version, "compiler": "tests"},
            "header_types": types,
            "headers": headers,
            "errors": [[name, i] for i, name in enumerate(ERRORS)],
            "parsers": [{"name": "parser", "id": 0, "init_state": "start", "parse_states": states}],
            "deparsers": [{"name": "deparser", "id": 0, "order": list(self.headers)}],
            "actions": self.actions,
            "pipelines": [self._pipeline("ingress"), self._pipeline("egress")],
            "field_aliases": [
                [f"{group}.{name}", ["standard_metadata", name]]
                for group, names in ALIASES.items()
                for name in names
            ],
        }
        root.update({k: v for k, v in self.extra.items() if not k.endswith("_conditionals")})
        return root

    def json(self) -> bytes:
        return json.dumps(self.root()).encode()


def extract(name: str) -> Json:
    return {"op": "extract", "parameters": [{"type": "regular", "value": name}]}


def parser_op(name: str, *parameters: Json) -> Json:
    return {"op": name, "parameters": list(parameters)}


def state(
    name: str,
    ops: list[Json],
    key: list[Json] | None = None,
    transitions: list[tuple[str | None, str | None, str | None]] | None = None,
) -> Json:
    """Transitions are (value, mask, next state); value None is the default."""
    out = [
        {"type": "default", "value": None, "mask": None, "next_state": target}
        if value is None
        else {"type": "hexstr", "value": value, "mask": mask, "next_state": target}
        for value, mask, target in transitions or [(None, None, None)]
    ]
    return {
        "name": name,
        "id": 0,
        "parser_ops": ops,
        "transition_key": key or [],
        "transitions": out,
    }
