# SPDX-License-Identifier: Apache-2.0
"""The JSON of lists: its keys are what scripts build on, so every one is named here."""

from __future__ import annotations

from typing import Any

from p4ct.daemon import views
from p4ct.pipeline.execute import FlowChange

from ..offload.model import ACK, Tcp, World, learn


def shape(value: Any) -> Any:
    """The keys and types of a JSON value."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def offloaded() -> tuple[World, Tcp]:
    world = World()
    learn(world)
    tcp = Tcp(world).offload()
    tcp.send("vm1", ACK, b"in hardware")
    world.refresh()
    return world, tcp


TUPLE = {
    "src": "str",
    "dst": "str",
    "sport": "int",
    "dport": "int",
    "packets": "int",
    "bytes": "int",
}


def test_connection() -> None:
    world, tcp = offloaded()
    (connection,) = world.connections()
    seen = views.connection(connection, world.now)
    counts = {"packets": "int", "bytes": "int"}
    assert shape(seen) == {
        "id": "int",
        "zone": "int",
        "proto": "str",
        "state": "str",
        "timeout": "float",
        "assured": "bool",
        "seen_reply": "bool",
        "mark": "int",
        "label": "str",
        "original": TUPLE,
        "reply": TUPLE,
        "hw": {"original": counts, "reply": counts},
        "window": "NoneType",
        "offloaded": "bool",
        "offload_reason": "str",
        "helper": "str",
        "timeout_policy": "str",
        "line": "str",
    }
    assert seen["original"]["src"] == "10.0.0.1"
    assert seen["original"]["packets"] == tcp.sent["vm1"][0]
    assert seen["original"]["bytes"] == tcp.sent["vm1"][1]
    assert seen["reply"]["packets"] == tcp.sent["ext"][0]
    assert 0 < seen["hw"]["original"]["packets"] < tcp.sent["vm1"][0]
    assert seen["offloaded"]
    assert seen["offload_reason"] == ""


def test_a_connection_in_software_has_a_reason() -> None:
    world = World()
    learn(world)
    Tcp(world).send("vm1", 2)
    (connection,) = world.connections()
    seen = views.connection(connection, world.now + 1000)
    assert not seen["offloaded"]
    assert seen["offload_reason"]
    assert seen["timeout"] == 0.0, "never negative"


def test_record() -> None:
    world, _ = offloaded()
    (record,) = world.manager.records.values()
    seen = views.record(record, world.ports, world.now + 2)
    assert shape(seen) == {
        "index": "int",
        "generation": "int",
        "state": "str",
        "proto": "str",
        "version": "int",
        "zones": ["int"],
        "connections": ["int"],
        "age": "float",
        "used": "float",
        "idle_timeout": "float",
        "checks_window": "bool",
        "cause": "str",
        "entries": [
            {
                "direction": "str",
                "in_port": "str",
                "eth_src": "str",
                "eth_dst": "str",
                "src": "str",
                "dst": "str",
                "sport": "int",
                "dport": "int",
                "output": "str",
                "push_vlan": "NoneType",
                "path": "int",
                "flows": ["int"],
                "packets": "int",
                "bytes": "int",
            }
        ],
    }
    original, reply = seen["entries"]
    assert (original["in_port"], original["output"]) == ("vm1", "ext")
    assert (reply["in_port"], reply["output"]) == ("ext", "vm1")
    assert (original["src"], original["sport"]) == (reply["dst"], reply["dport"])
    assert (seen["age"], seen["used"]) == (2.0, 2.0)


def test_flow_counts_are_the_sum_of_both_shares() -> None:
    world, tcp = offloaded()
    last = next(flow for flow in world.pipeline.flows if flow.table == 2)
    seen = views.flow(last)
    assert shape(seen) == dict.fromkeys(
        (
            "id",
            "table",
            "priority",
            "cookie",
            "n_packets",
            "n_bytes",
            "hw_packets",
            "hw_bytes",
        ),
        "int",
    )
    assert seen["n_packets"] == tcp.sent["vm1"][0] + tcp.sent["ext"][0]
    assert 0 < seen["hw_packets"] < seen["n_packets"]


def test_change() -> None:
    world = World()
    flows = tuple(world.pipeline.flows)
    assert views.change(FlowChange(flows, flows[:1])) == {"added": len(flows), "removed": 1}
