# SPDX-License-Identifier: Apache-2.0
"""What all objects of a loaded program share: names, the runtime's handle, its errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from softswitch import native
from softswitch.entry_codec import EntryCodec
from softswitch.errors import (
    DataplaneError,
    EntryExists,
    EntryNotFound,
    NoProgram,
    OutOfMemory,
    TableFull,
    UnknownObject,
)
from softswitch.profile_state import ProfileState
from softswitch.program import Program

U64 = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Loaded:
    """Names of the program that runs, and the generation that the runtime knows it by."""

    program: Program
    generation: int
    tables: dict[str, EntryCodec]
    profiles: dict[str, ProfileState]


class LoadedObjects:
    """Base of the groups of calls that need a program."""

    def __init__(self, lib: Any, handle: int) -> None:
        self._lib = lib
        self._handle: int | None = handle
        self._loaded: Loaded | None = None

    @property
    def _program(self) -> Program | None:
        return None if self._loaded is None else self._loaded.program

    def links_matter(self) -> None:
        """A group watches a port: from now on the runtime has to know of links that go down."""

    def _now(self) -> Loaded:
        if self._loaded is None:
            raise NoProgram("no program has been loaded")
        return self._loaded

    def _table(self, name: str) -> tuple[Loaded, EntryCodec]:
        loaded = self._now()
        if name not in loaded.tables:
            raise UnknownObject(f"there is no table {name!r}")
        return loaded, loaded.tables[name]

    @staticmethod
    def _check(rc: int, what: str) -> None:
        """Raises what an error of the runtime means."""
        if rc >= 0:
            return
        known: dict[int, type[DataplaneError]] = {
            native.E_FULL: TableFull,
            native.E_EXISTS: EntryExists,
            native.E_NOT_FOUND: EntryNotFound,
            native.E_MEMORY: OutOfMemory,
            native.E_STALE: NoProgram,
            native.E_INDEX: UnknownObject,
        }
        texts: dict[int, str] = {
            native.E_FULL: "it is full: it holds as many entries as the program declares",
            native.E_EXISTS: "there is already an entry with this key and priority",
            native.E_NOT_FOUND: "there is no entry with this key and priority",
            native.E_MEMORY: "no memory",
            native.E_STALE: "the program was replaced meanwhile",
            native.E_INDEX: "the index is out of range",
        }
        raise known.get(rc, DataplaneError)(f"{what}: {texts.get(rc, f'error {rc}')}")
