# SPDX-License-Identifier: Apache-2.0
"""What the controller needs of the eswitch program, checked against the P4Info of a target.

Everything is resolved by name; ids are the program's business.  What a program may add without
breaking the controller (minor versions): tables, actions, keys that need no value, packet-in
fields, counters, enum members.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum

from p4ct.eswitch.enums import (
    CtHit,
    DropReason,
    PacketOutOp,
    PuntClass,
    PuntReason,
    Step,
    VlanOp,
    WindowVerdict,
)
from p4ct.p4runtime.p4info import Field, MatchKind, P4InfoIndex, Table

PROGRAM = "eswitch"
MAJOR_VERSION = 2

Key = tuple[str, int, MatchKind]
Params = Mapping[str, int]

_CT_DRAIN: Params = {"conn_index": 24, "generation": 8, "direction": 1}
_CT_FORWARD: Params = {**_CT_DRAIN, "path": 16, "next_hop": 24, "check_window": 1}
_OUTPUT: Params = {"port": 9, "mtu": 16, "vlan_op": 2, "vlan_id": 12}


def _ct_nat(address_width: int) -> Params:
    return {**_CT_FORWARD, "src": address_width, "dst": address_width, "sport": 16, "dport": 16}


def _nh_vxlan(address_width: int) -> Params:
    macs = ("eth_src", "eth_dst", "outer_eth_src", "outer_eth_dst")
    return {
        **_OUTPUT,
        "route": 1,
        **dict.fromkeys(macs, 48),
        "outer_src": address_width,
        "outer_dst": address_width,
        "vni": 24,
        "ttl": 8,
        "dscp": 6,
    }


ACTIONS: Mapping[str, Params] = {
    "terminate": {"tunnel_vport": 16},
    "set_vport": {"vport": 16},
    "set_l2_id": {"l2_id": 32},
    "ct_forward": _CT_FORWARD,
    "ct_nat_v4": _ct_nat(32),
    "ct_nat_v6": _ct_nat(128),
    "ct_drain": _CT_DRAIN,
    "punt": {"reason": 8, "class_": 3},
    "flow_forward": {"path": 16, "next_hop": 24},
    "nh_output": _OUTPUT,
    "nh_route": {**_OUTPUT, "eth_src": 48, "eth_dst": 48},
    "nh_vxlan_v4": _nh_vxlan(32),
    "nh_vxlan_v6": _nh_vxlan(128),
    "nh_drop": {},
}


def _ct_keys(address_width: int) -> tuple[Key, ...]:
    return (
        ("l2_id", 32, "exact"),
        ("src", address_width, "exact"),
        ("dst", address_width, "exact"),
        ("proto", 8, "exact"),
        ("sport", 16, "exact"),
        ("dport", 16, "exact"),
    )


TABLES: Mapping[str, tuple[tuple[Key, ...], tuple[str, ...]]] = {
    "tunnel_term_v4": ((("outer_dst", 32, "exact"), ("vni", 24, "exact")), ("terminate",)),
    "tunnel_term_v6": ((("outer_dst", 128, "exact"), ("vni", 24, "exact")), ("terminate",)),
    "vport": (
        (
            ("port", 9, "exact"),
            ("tunnel_vport", 16, "exact"),
            ("vlan_present", 1, "exact"),
            ("vlan_id", 12, "exact"),
        ),
        ("set_vport",),
    ),
    "l2_pair": (
        (("vport", 16, "exact"), ("eth_src", 48, "exact"), ("eth_dst", 48, "exact")),
        ("set_l2_id",),
    ),
    "ct_v4": (_ct_keys(32), ("ct_forward", "ct_nat_v4", "ct_drain")),
    "ct_v6": (_ct_keys(128), ("ct_forward", "ct_nat_v6", "ct_drain")),
    "trap": ((), ("punt",)),
    "flow": (
        (
            ("vport", 16, "exact"),
            ("eth_src", 48, "ternary"),
            ("eth_dst", 48, "ternary"),
            ("ether_type", 16, "ternary"),
            ("src", 128, "ternary"),
            ("dst", 128, "ternary"),
            ("proto", 8, "ternary"),
            ("sport", 16, "ternary"),
            ("dport", 16, "ternary"),
        ),
        ("flow_forward",),
    ),
    "next_hop": (
        (("next_hop", 24, "exact"),),
        ("nh_output", "nh_route", "nh_vxlan_v4", "nh_vxlan_v6", "nh_drop"),
    ),
}

COUNTERS = ("ct_counter", "path_counter", "punt_counter", "drop_counter")

HEADERS: Mapping[str, Params] = {
    "packet_in": {
        "ingress_port": 9,
        "vport": 16,
        "reason": 8,
        "step": 8,
        "ct_hit": 2,
        "direction": 1,
        "conn_index": 24,
        "generation": 8,
        "tunnel_id": 24,
        "outer_src": 128,
        "frame_length": 16,
        "window_original": 128,
        "window_reply": 128,
        "window_scales": 16,
        "window_verdict": 8,
    },
    "packet_out": {"op": 8, "port": 9, "next_hop": 24, "conn_index": 24},
}

WINDOW_REGISTERS = (
    "window_end",
    "window_max_end",
    "window_max_win",
    "window_max_ack",
    "window_scale",
)
"""Not needed: a program without them checks no windows. They are never read or written by name,
but by packet-outs, because BMv2 does not serve registers over P4Runtime."""

ENUMS: tuple[type[IntEnum], ...] = (
    PuntReason,
    Step,
    CtHit,
    PuntClass,
    PacketOutOp,
    VlanOp,
    WindowVerdict,
)
OPTIONAL_ENUMS: tuple[type[IntEnum], ...] = (DropReason,)
"""p4c lists an enum only if a key, a parameter or a header has its type; this one indexes a
counter and nothing else."""


class ContractError(Exception):
    """The program is not one that this controller can drive; `problems` has all reasons."""

    def __init__(self, program: str, problems: list[str]) -> None:
        self.problems = problems
        lines = "\n".join(f"  - {problem}" for problem in problems)
        super().__init__(
            f"the program {program} is not what this controller needs:\n{lines}\n"
            "Compile p4src/eswitch.p4 of this release (make p4) and load that, "
            "or use the controller that belongs to the program."
        )


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a program that fits offers. Sizes are rows; `max_connections` is the number of
    connection indices that have counters."""

    max_connections: int
    ct_v4_size: int
    ct_v6_size: int
    l2_pair_size: int
    vport_size: int
    tunnel_term_size: int
    flow_size: int
    next_hop_size: int
    path_size: int
    connection_idle_timeout: bool
    flow_idle_timeout: bool
    flow_counters: bool
    trap_counters: bool
    punt_meter: bool
    window_registers: bool


@dataclass(frozen=True, slots=True)
class Contract:
    """A program that was checked. `enum_names`: enum -> value -> name, the program's additions
    included."""

    program: str
    capabilities: Capabilities
    enum_names: Mapping[str, Mapping[int, str]]


def check(p4info: P4InfoIndex) -> Contract:
    """Raises ContractError with everything that is missing or different."""
    program = f"{p4info.name or '(no name)'} {p4info.version or '(no version)'}"
    problems = list(_problems(p4info))
    if problems:
        raise ContractError(program, problems)
    tables, counters = p4info.tables, p4info.counters
    ct = (tables.get("ct_v4"), tables.get("ct_v6"))
    capabilities = Capabilities(
        max_connections=counters.get("ct_counter").size // 2,
        ct_v4_size=ct[0].size,
        ct_v6_size=ct[1].size,
        l2_pair_size=tables.get("l2_pair").size,
        vport_size=tables.get("vport").size,
        tunnel_term_size=min(tables.get("tunnel_term_v4").size, tables.get("tunnel_term_v6").size),
        flow_size=tables.get("flow").size,
        next_hop_size=tables.get("next_hop").size,
        path_size=counters.get("path_counter").size,
        connection_idle_timeout=all(table.idle_timeout for table in ct),
        flow_idle_timeout=tables.get("flow").idle_timeout,
        flow_counters=tables.get("flow").counter is not None,
        trap_counters=tables.get("trap").counter is not None,
        punt_meter=p4info.meters.find("punt_meter") is not None,
        window_registers={register.preamble.name for register in p4info.message.registers}
        >= set(WINDOW_REGISTERS),
    )
    return Contract(program, capabilities, _enum_names(p4info))


def _enum_names(p4info: P4InfoIndex) -> dict[str, dict[int, str]]:
    names: dict[str, dict[int, str]] = {}
    for enum in (*ENUMS, *OPTIONAL_ENUMS):
        found = p4info.enums.get(enum.__name__)
        own = {member.value: member.name for member in enum}
        names[enum.__name__] = (
            {value: name for name, value in found.members.items()} if found else own
        )
    return names


def _problems(p4info: P4InfoIndex) -> Iterator[str]:
    if p4info.name != PROGRAM:
        yield f"its name is {p4info.name or 'not set'}, not {PROGRAM}"
    if p4info.version.split(".")[0] != str(MAJOR_VERSION):
        yield f"its version is {p4info.version or 'not set'}; known is {MAJOR_VERSION}.x"
    for name, (keys, actions) in TABLES.items():
        table = p4info.tables.find(name)
        if table is None:
            yield f"no table {name}{p4info.tables.hint(name)}"
            continue
        if keys:
            yield from _key_problems(table, keys)
        offered = {action.id for action in table.actions}
        for action_name in actions:
            action = p4info.actions.find(action_name)
            if action is not None and action.id not in offered:
                yield f"table {name} does not offer the action {action_name}"
    for name, params in ACTIONS.items():
        action = p4info.actions.find(name)
        if action is None:
            yield f"no action {name}{p4info.actions.hint(name)}"
        else:
            yield from _width_problems(f"action {name}", "parameter", action.params, params)
            for param in action.params:
                if param.name not in params:
                    yield f"action {name} has an unknown parameter {param.name}"
    for name in COUNTERS:
        counter = p4info.counters.find(name)
        if counter is None:
            yield f"no counter {name}{p4info.counters.hint(name)}"
        elif counter.unit != "both":
            yield f"counter {name} counts {counter.unit}, not packets and bytes"
    for name, fields in HEADERS.items():
        header = p4info.headers.find(name)
        if header is None:
            yield f"no controller header {name}{p4info.headers.hint(name)}"
        else:
            yield from _width_problems(f"header {name}", "field", header.fields, fields)
    for enum in (*ENUMS, *OPTIONAL_ENUMS):
        yield from _enum_problems(p4info, enum)


def _key_problems(table: Table, keys: tuple[Key, ...]) -> Iterator[str]:
    found = {key.name: key for key in table.keys}
    for name, width, kind in keys:
        key = found.pop(name, None)
        if key is None:
            yield f"table {table.name} has no key {name}"
        elif (key.kind, key.width) != (kind, width):
            yield (
                f"table {table.name}: key {name} is {key.kind} bit<{key.width}>, "
                f"not {kind} bit<{width}>"
            )
    # Any other kind of key may be left out of an entry, and then matches everything.
    for key in found.values():
        if key.kind == "exact":
            yield f"table {table.name} has an unknown exact key {key.name}"


def _width_problems(
    where: str, what: str, fields: tuple[Field, ...], needed: Mapping[str, int]
) -> Iterator[str]:
    widths = {field.name: field.width for field in fields}
    for name, width in needed.items():
        found = widths.get(name)
        if found is None:
            yield f"{where} has no {what} {name}"
        elif found != width:
            yield f"{where}: {what} {name} is bit<{found}>, not bit<{width}>"


def _enum_problems(p4info: P4InfoIndex, enum: type[IntEnum]) -> Iterator[str]:
    name = enum.__name__
    found = p4info.enums.get(name)
    if found is None:
        if enum not in OPTIONAL_ENUMS:
            yield f"no serializable enum {name}"
        return
    for member in enum:
        value = found.members.get(member.name)
        if value is None:
            yield f"enum {name} has no member {member.name}"
        elif value != member.value:
            yield f"enum {name}: {member.name} is {value}, not {member.value}"
