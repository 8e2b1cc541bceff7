# SPDX-License-Identifier: Apache-2.0
"""Errors of the data plane; each message says what happened, where, and what to do."""

from __future__ import annotations


class SoftswitchError(Exception):
    """Base of everything that the data plane raises on purpose."""


class ProgramError(SoftswitchError):
    """A pipeline program cannot be loaded."""


class BadProgram(ProgramError):
    """The BMv2 JSON is malformed: not JSON, a missing key, a dangling reference, a wrong type."""


class UnsupportedConstruct(ProgramError):
    """The program is well formed but uses something that softswitch does not implement.

    `construct` names it as the JSON or P4 does; `source_location` is `file:line` or "" if unknown.
    """

    def __init__(self, construct: str, source_location: str = "") -> None:
        self.construct = construct
        self.source_location = source_location
        where = f" at {source_location}" if source_location else ""
        super().__init__(f"unsupported construct: {construct}{where}")


class NoCompiler(ProgramError):
    """There is no C compiler; the message says what to install."""


class CompilerFailed(ProgramError):
    """The C compiler refused the generated code: a softswitch bug; the message holds its output."""


class DataplaneError(SoftswitchError):
    """A request to a running data plane failed."""


class PortError(DataplaneError):
    """A port cannot be added, removed or used; names the interface and the reason."""


class NoProgram(DataplaneError):
    """The request needs a program, and none has been loaded."""


class UnknownObject(DataplaneError):
    """There is no table, action, counter, meter or register of this name, or no such index."""


class TableFull(DataplaneError):
    """The table holds as many entries as the program declares (`max_size`)."""


class EntryExists(DataplaneError):
    """The table already has an entry with this key and priority."""


class EntryNotFound(DataplaneError):
    """The table has no entry with this key and priority."""


class BadEntry(DataplaneError):
    """Key, action, parameters or priority do not fit the table."""


class ObjectInUse(DataplaneError):
    """A member or group cannot be deleted while entries or groups refer to it."""


class ConstObject(DataplaneError):
    """The program declares this entry or default action const."""


class OutOfMemory(DataplaneError):
    """The C runtime could not get memory; nothing was changed."""
