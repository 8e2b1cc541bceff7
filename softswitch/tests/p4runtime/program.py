# SPDX-License-Identifier: Apache-2.0
"""A made-up program with every kind of table, as P4Info and as the data plane describes it."""

from __future__ import annotations

from dataclasses import dataclass, field

from google.protobuf import text_format
from p4rt_stubs.p4.config.v1 import p4info_pb2 as p4info
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

EXACT, TERNARY, LPM, CONST, KEYLESS, CONST_DEFAULT = 1, 2, 3, 4, 5, 6
FWD, DROP, NOP, ONLY_TABLE, OTHER = 11, 12, 13, 14, 15
COUNTER, COUNTER_PACKETS, METER, REGISTER = 21, 22, 23, 24
DIRECT_COUNTER, DIRECT_METER = 31, 32

P4INFO = """
pkg_info { name: "test" arch: "v1model" }
tables {
  preamble { id: 1 name: "In.exact" alias: "exact" }
  match_fields { id: 1 name: "port" bitwidth: 9 match_type: EXACT }
  match_fields { id: 2 name: "addr" bitwidth: 32 match_type: EXACT }
  action_refs { id: 11 } action_refs { id: 12 } action_refs { id: 13 scope: DEFAULT_ONLY }
  action_refs { id: 14 scope: TABLE_ONLY }
  direct_resource_ids: 31 size: 4 idle_timeout_behavior: NOTIFY_CONTROL
}
tables {
  preamble { id: 2 name: "In.ternary" alias: "ternary" }
  match_fields { id: 1 name: "a" bitwidth: 16 match_type: TERNARY }
  match_fields { id: 2 name: "b" bitwidth: 8 match_type: OPTIONAL }
  match_fields { id: 3 name: "c" bitwidth: 20 match_type: RANGE }
  match_fields { id: 4 name: "d" bitwidth: 9 match_type: EXACT }
  action_refs { id: 11 } action_refs { id: 12 }
  direct_resource_ids: 32 size: 2000
}
tables {
  preamble { id: 3 name: "In.lpm" alias: "lpm" }
  match_fields { id: 1 name: "dst" bitwidth: 20 match_type: LPM }
  action_refs { id: 11 } action_refs { id: 12 }
  size: 1024
}
tables {
  preamble { id: 4 name: "In.const" alias: "const" }
  match_fields { id: 1 name: "port" bitwidth: 9 match_type: EXACT }
  action_refs { id: 12 } size: 4 is_const_table: true
}
tables {
  preamble { id: 5 name: "In.keyless" alias: "keyless" }
  action_refs { id: 11 } action_refs { id: 12 } size: 1024
}
tables {
  preamble { id: 6 name: "In.const_default" alias: "const_default" }
  match_fields { id: 1 name: "port" bitwidth: 9 match_type: EXACT }
  action_refs { id: 12 } const_default_action_id: 12 size: 4
}
actions {
  preamble { id: 11 name: "In.fwd" alias: "fwd" }
  params { id: 1 name: "port" bitwidth: 9 } params { id: 2 name: "tag" bitwidth: 12 }
}
actions { preamble { id: 12 name: "In.drop" alias: "drop" } }
actions { preamble { id: 13 name: "NoAction" alias: "NoAction" } }
actions { preamble { id: 14 name: "In.only_table" alias: "only_table" } }
actions { preamble { id: 15 name: "In.other" alias: "other" } }
counters { preamble { id: 21 name: "In.counter" alias: "counter" } spec { unit: BOTH } size: 4 }
counters {
  preamble { id: 22 name: "In.packets" alias: "packets" } spec { unit: PACKETS } size: 1200
}
direct_counters {
  preamble { id: 31 name: "In.direct" alias: "direct" } spec { unit: BOTH } direct_table_id: 1
}
direct_meters {
  preamble { id: 32 name: "In.direct_meter" alias: "direct_meter" }
  spec { unit: PACKETS } direct_table_id: 2
}
meters { preamble { id: 23 name: "In.meter" alias: "meter" } spec { unit: PACKETS } size: 4 }
registers {
  preamble { id: 24 name: "In.register" alias: "register" }
  type_spec { bitstring { bit { bitwidth: 12 } } } size: 4
}
controller_packet_metadata {
  preamble { id: 41 name: "packet_in" alias: "packet_in" }
  metadata { id: 1 name: "ingress_port" bitwidth: 9 }
  metadata { id: 2 name: "reason" bitwidth: 7 }
  metadata { id: 300 name: "index" bitwidth: 24 }
}
controller_packet_metadata {
  preamble { id: 42 name: "packet_out" alias: "packet_out" }
  metadata { id: 1 name: "op" bitwidth: 8 }
  metadata { id: 2 name: "port" bitwidth: 9 }
}
"""

_FWD = ActionInfo("In.fwd", (("port", 9), ("tag", 12)))
_DROP = ActionInfo("In.drop", ())
_NOP = ActionInfo("NoAction", ())
_ONLY_TABLE = ActionInfo("In.only_table", ())


def _table(name: str, keys: tuple[KeyInfo, ...], *actions: ActionInfo, **more: object) -> TableInfo:
    values: dict[str, object] = {
        "max_size": 1024,
        "with_counters": False,
        "direct_meter": None,
        "support_timeout": False,
        "default_action": DefaultAction("In.drop"),
        "const_default_action": False,
        "const_entries": (),
        "is_const_table": False,
    }
    return TableInfo(
        name=name, keys=keys, actions={a.name: a for a in actions}, **{**values, **more}
    )


def _tables() -> dict[str, TableInfo]:
    port = KeyInfo("port", 9, "exact")
    const_entry = Entry(((7, 511),), "In.drop", is_const=True)
    tables = (
        _table(
            "In.exact",
            (port, KeyInfo("addr", 32, "exact")),
            _FWD,
            _DROP,
            _NOP,
            _ONLY_TABLE,
            max_size=4,
            with_counters=True,
            support_timeout=True,
            default_action=DefaultAction("NoAction"),
        ),
        _table(
            "In.ternary",
            (
                KeyInfo("a", 16, "ternary"),
                KeyInfo("b", 8, "ternary"),
                KeyInfo("c", 20, "range"),
                KeyInfo("d", 9, "exact"),
            ),
            _FWD,
            _DROP,
            max_size=2000,
            direct_meter="In.direct_meter",
        ),
        _table("In.lpm", (KeyInfo("dst", 20, "lpm"),), _FWD, _DROP),
        _table(
            "In.const", (port,), _DROP, max_size=4, const_entries=(const_entry,),
            is_const_table=True,
        ),
        _table("In.keyless", (), _FWD, _DROP),
        _table("In.const_default", (port,), _DROP, max_size=4, const_default_action=True),
        _table("tbl_hidden", (), _DROP),
    )  # fmt: skip
    return {table.name: table for table in tables}


@dataclass
class FakeProgram:
    """What `ProgramInfo` promises."""

    tables: dict[str, TableInfo] = field(default_factory=_tables)
    counters: dict[str, CounterInfo] = field(
        default_factory=lambda: {
            "In.counter": CounterInfo("In.counter", 4, False, None),
            "In.packets": CounterInfo("In.packets", 1200, False, None),
            "In.direct": CounterInfo("In.direct", 4, True, "In.exact"),
        }
    )
    meters: dict[str, MeterInfo] = field(
        default_factory=lambda: {
            "In.meter": MeterInfo("In.meter", 4, "packets", False),
            "In.direct_meter": MeterInfo("In.direct_meter", 2000, "packets", True),
        }
    )
    registers: dict[str, RegisterInfo] = field(
        default_factory=lambda: {"In.register": RegisterInfo("In.register", 4, 12)}
    )
    profiles: dict[str, ProfileInfo] = field(default_factory=dict)
    digests: dict[str, DigestInfo] = field(default_factory=dict)


def p4info_message() -> p4info.P4Info:
    """P4INFO, parsed."""
    return text_format.Parse(P4INFO, p4info.P4Info())
