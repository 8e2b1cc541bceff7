# SPDX-License-Identifier: Apache-2.0
"""Typed access to untrusted JSON: a wrong type or a missing key is a BadProgram with its place."""

from __future__ import annotations

import json
from typing import cast

from softswitch.errors import BadProgram

Json = dict[str, object]
MAX_BITS = 16384
"""Longest number in the JSON; fields are far shorter, and Python's integers have no limit."""


def parse(data: bytes) -> Json:
    try:
        root: object = json.loads(data)
    except RecursionError:
        raise BadProgram("the JSON is nested too deeply") from None
    except ValueError as error:
        raise BadProgram(f"the program is not JSON: {error}") from None
    return as_dict(root, "the program")


def as_dict(value: object, where: str) -> Json:
    if not isinstance(value, dict):
        raise BadProgram(f"{where}: an object is expected, not {_kind(value)}")
    return cast(Json, value)


def as_list(value: object, where: str) -> list[object]:
    if not isinstance(value, list):
        raise BadProgram(f"{where}: a list is expected, not {_kind(value)}")
    return cast("list[object]", value)


def as_str(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise BadProgram(f"{where}: a string is expected, not {_kind(value)}")
    return value


def as_int(value: object, where: str, low: int = 0, high: int = 2**31 - 1) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise BadProgram(f"{where}: a number is expected, not {_kind(value)}")
    if not low <= value <= high:
        raise BadProgram(f"{where}: {value} is not between {low} and {high}")
    return value


def as_hex(value: object, where: str) -> int:
    """A hexstr: `0x…`, perhaps with a sign; digits without the prefix are hexadecimal too."""
    text = as_str(value, where)
    if len(text) > MAX_BITS // 4:
        raise BadProgram(f"{where}: a number of more than {MAX_BITS} bits")
    try:
        return int(text, 16)
    except ValueError:
        raise BadProgram(f"{where}: {text[:40]!r} is not a hexadecimal number") from None


def get(obj: Json, key: str, where: str) -> object:
    if key not in obj:
        raise BadProgram(f"{where}: {key!r} is missing")
    return obj[key]


def get_list(obj: Json, key: str, where: str) -> list[object]:
    return as_list(get(obj, key, where), f"{where}.{key}")


def get_dicts(obj: Json, key: str, where: str) -> list[Json]:
    """A list of objects; an absent or null key is an empty list."""
    items = as_list(obj.get(key) or [], f"{where}.{key}")
    return [as_dict(item, f"{where}.{key}[{i}]") for i, item in enumerate(items)]


def get_str(obj: Json, key: str, where: str) -> str:
    return as_str(get(obj, key, where), f"{where}.{key}")


def get_int(obj: Json, key: str, where: str, low: int = 0, high: int = 2**31 - 1) -> int:
    return as_int(get(obj, key, where), f"{where}.{key}", low, high)


def get_bool(obj: Json, key: str, where: str, default: bool = False) -> bool:
    value = obj.get(key, default)
    if not isinstance(value, bool):
        raise BadProgram(f"{where}.{key}: true or false is expected, not {_kind(value)}")
    return value


def location(obj: object) -> str:
    """`file:line` of an object's source_info, or ""."""
    if not isinstance(obj, dict):
        return ""
    info: object = cast(Json, obj).get("source_info")
    if not isinstance(info, dict):
        return ""
    source = cast(Json, info)
    name, line = source.get("filename"), source.get("line")
    return f"{name}:{line}" if isinstance(name, str) and isinstance(line, int) else ""


def fragment(obj: Json) -> str:
    """The P4 text of an object's source_info, or ""."""
    info: object = obj.get("source_info")
    text = cast(Json, info).get("source_fragment") if isinstance(info, dict) else ""
    return text if isinstance(text, str) else ""


def _kind(value: object) -> str:
    return "null" if value is None else type(value).__name__
