# SPDX-License-Identifier: Apache-2.0
"""docs/configuration.md against the sections: every key with its default, and nothing else."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, cast, get_args, get_origin

import msgspec
from p4ct.conntrack import Timeouts
from p4ct.conntrack.limits import LIMITS
from p4ct.conntrack.timeouts import TIMEOUTS
from p4ct.daemon.check import LAST_PORT, load
from p4ct.daemon.config import DEFAULT_POLICER, File
from p4ct.pipeline.parser import parse_flows
from p4ct.pipeline.ports import Vport, Vxlan

from .bench import ROOT

TEXT = (ROOT / "docs/configuration.md").read_text()
KEYS_PART, _, _ = TEXT.partition("\n## Policy\n")


def keys(struct: Any, prefix: str) -> Iterator[tuple[str, str]]:
    """Every key with its default as the page writes it."""
    for field in msgspec.structs.fields(struct):
        name = f"{prefix}{field.name}"
        kind = cast("Any", field.type)
        if name == "vport":
            yield from keys(Vport, "vport.")
        elif kind == Vxlan | None:
            yield name, "none"
            yield from keys(Vxlan, f"{name}.")
        elif isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            yield from keys(kind, f"{name}.")
        elif name == "policer":
            for punt_class, policer in DEFAULT_POLICER.items():
                for key in ("rate", "burst"):
                    yield f"{name}.{punt_class.name.lower()}.{key}", str(getattr(policer, key))
        elif get_origin(kind) is dict:
            yield name, "Linux's" if name == "conntrack.timeouts" else "none"
        else:
            yield name, default_of(field)


def default_of(field: Any) -> str:
    if field.required:
        return "required"
    value = field.default
    if value is None:
        return "none"
    if isinstance(value, str):
        return f'"{value}"'
    return str(value).lower() if isinstance(value, bool) else str(value)


KEYS = dict(keys(File, ""))


def rows() -> dict[str, str]:
    """Key and default of each row of the page's tables of keys."""
    found: dict[str, str] = {}
    for names, defaults in re.findall(r"^\| (`[^|]+) \| ([^|]+) \|", KEYS_PART, re.MULTILINE):
        split = [defaults]
        if names.count("`") > 2:
            split = defaults.split(", ")
        for name, default in zip(re.findall(r"`([^`]+)`", names), split, strict=True):
            found[name] = default.strip().strip("`")
    return found


def test_every_key_has_a_row_with_its_default_and_every_row_is_a_key() -> None:
    documented = {name: default for name, default in rows().items() if "." in name}
    assert documented == KEYS


def test_every_timeout_has_a_row_with_its_default() -> None:
    documented = {
        name: default for name, default in rows().items() if "." not in name and name not in LIMITS
    }
    assert documented == {name: f"{getattr(Timeouts(), name)}" for name in TIMEOUTS}


def test_every_limit_has_a_row() -> None:
    assert set(LIMITS) <= rows().keys()


def test_values_of_choices_are_named() -> None:
    for section, struct in (("log", "log"), ("offload", "offload"), ("vport", "vport")):
        kind = Vport if struct == "vport" else type(getattr(_defaults(), struct))
        for field in msgspec.structs.fields(kind):
            if get_origin(field.type) is Literal:
                row = re.search(rf"^\| `{section}\.{field.name}` .*$", TEXT, re.MULTILINE)
                assert row
                for value in get_args(field.type):
                    assert f'`"{value}"`' in row.group(0)


def _defaults() -> File:
    by_name = {field.name: field for field in msgspec.structs.fields(File)}
    return File(
        program=cast("Any", None),
        pipeline=cast("Any", None),
        vport=[],
        **{name: by_name[name].default for name in ("log", "offload")},
    )


def test_the_last_port_is_right() -> None:
    assert f"dataplane port, 0 to {LAST_PORT}" in TEXT


def test_the_example_is_a_configuration(tmp_path: Path) -> None:
    blocks = re.findall(r"^```toml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    (tmp_path / "p4src").symlink_to(ROOT / "p4src")
    (tmp_path / "policy.flows").write_text("")
    path = tmp_path / "p4ct.toml"
    path.write_text("\n".join(blocks))
    assert len(blocks) == 2
    assert tomllib.loads(path.read_text())["conntrack"]["zone"]["5"] == {
        "udp": 10,
        "connections": 50000,
    }
    assert load(path).ports.numbers == {"vm1": 1, "ext": 3}


def test_the_error_example_is_true(tmp_path: Path) -> None:
    assert "unknown key; did you mean 'max_connections'?" in TEXT
    assert "the string 'fast' is not valid; one of: assured, established" in TEXT


def test_the_policy_of_the_topology_is_one() -> None:
    text = (ROOT / "topo/policy.flows").read_text()
    assert parse_flows(text, ports={"vm1": 1, "vm2": 2, "ext": 3})
