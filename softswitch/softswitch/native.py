# SPDX-License-Identifier: Apache-2.0
"""The runtime's C interface (runtime/control.c, runtime/entries.c) through ctypes.

ctypes releases the GIL for the time of each call, so a call that waits blocks no other thread.
"""

from __future__ import annotations

import ctypes
import functools
from ctypes import (
    POINTER,
    Structure,
    c_char_p,
    c_int,
    c_int32,
    c_int64,
    c_size_t,
    c_uint32,
    c_uint64,
    c_void_p,
)
from pathlib import Path
from typing import Any

from softswitch import compiler

OK = 0
E_FULL, E_EXISTS, E_NOT_FOUND, E_MEMORY = -1, -2, -3, -4
E_STALE, E_PORT, E_INDEX, E_STOPPED = -5, -6, -7, -8
NONE = 2**32 - 1


class EntryIn(Structure):
    """struct ss_entry_in"""

    _fields_ = (
        ("key", c_void_p),
        ("data", c_void_p),
        ("metadata", c_char_p),
        ("timeout_ns", c_uint64),
        ("controller_metadata", c_uint64),
        ("metadata_len", c_uint32),
        ("action", c_uint32),
        ("priority", c_int32),
        ("rank", c_int32),
        ("is_const", c_uint32),
        ("pad", c_uint32),
    )


ENTRY_OUT = "=IIIIiIQQQQQ"
"""struct ss_entry_out: bytes_used, slot, action, metadata_len, priority, is_const, timeout_ns,
controller_metadata, packets, bytes, idle_ns"""
RECORD = "=IIQ"
"""struct ss_record: length, tag, time_ns; then the bytes, padded to 8"""


PORT_STATS = (
    "rx_packets",
    "rx_bytes",
    "tx_packets",
    "tx_bytes",
    "rx_dropped",
    "rx_gso",
    "tx_dropped",
    "up",
)


class PortStatsOut(Structure):
    """struct ss_port_stats"""

    _fields_ = tuple((name, c_uint64) for name in PORT_STATS)


_SW, _U32, _U64, _P = c_void_p, c_uint32, c_uint64, c_void_p
_SIGNATURES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "ss_new": (c_void_p, (_U32, _U32)),
    "ss_free": (None, (_SW,)),
    "ss_start": (c_int, (_SW,)),
    "ss_stop": (None, (_SW,)),
    "ss_close_queues": (None, (_SW,)),
    "ss_port_add": (c_int, (_SW, _U32, c_char_p, c_char_p, c_size_t)),
    "ss_port_remove": (c_int, (_SW, _U32)),
    "ss_port_stats": (c_int, (_SW, _U32, POINTER(PortStatsOut))),
    "ss_switch_stats": (None, (_SW, POINTER(c_uint64))),
    "ss_inject": (c_int, (_SW, _U32, c_char_p, _U32)),
    "ss_read_packet_in": (c_int64, (_SW, _P, c_size_t, c_int64)),
    "ss_read_tap": (c_int64, (_SW, _P, c_size_t, c_int64)),
    "ss_read_log": (c_int64, (_SW, _P, c_size_t, c_int64)),
    "ss_write_wire": (c_int64, (_SW, _P, c_char_p, c_size_t, POINTER(c_uint64), c_int)),
    "ss_service_connect": (c_int, (_SW,)),
    "ss_service_disconnect": (None, (_SW,)),
    "ss_service_inject": (c_int, (_SW, _U32, c_char_p, _U32, _U64)),
    "ss_service_end": (c_int, (_SW,)),
    "ss_service_read": (c_int64, (_SW, _P, c_size_t, c_int64)),
    "ss_log_dropped": (_U64, (_SW,)),
    "ss_read_digests": (c_int64, (_SW, _P, c_size_t, c_int64)),
    "ss_read_memory_port": (c_int64, (_SW, _U32, _P, c_size_t, c_int64)),
    "ss_set_tap": (None, (_SW, c_int)),
    "ss_set_clock": (None, (_SW, _U64)),
    "ss_clock": (c_uint64, (_SW,)),
    "ss_prepare": (c_uint64, (_SW, _P)),
    "ss_commit": (c_int, (_SW, _U64)),
    "ss_insert": (c_int, (_SW, _U64, _U32, POINTER(EntryIn))),
    "ss_modify": (c_int, (_SW, _U64, _U32, POINTER(EntryIn))),
    "ss_delete": (c_int, (_SW, _U64, _U32, _P, c_int32)),
    "ss_entry_count": (c_int64, (_SW, _U64, _U32)),
    "ss_read_entry": (c_int64, (_SW, _U64, _U32, _P, c_int32, _P, c_size_t)),
    "ss_read_entries": (
        c_int64,
        (_SW, _U64, _U32, POINTER(c_uint32), _U32, _U64, _P, c_size_t),
    ),
    "ss_direct_counter_write": (c_int, (_SW, _U64, _U32, _P, c_int32, _U64, _U64)),
    "ss_default_set": (c_int, (_SW, _U64, _U32, _U32, _P)),
    "ss_default_get": (c_int, (_SW, _U64, _U32, POINTER(c_uint32), _P)),
    "ss_direct_meter": (c_int, (_SW, _U64, _U32, _P, c_int32, _P, c_int)),
    "ss_meter_access": (c_int, (_SW, _U64, _U32, _U32, _P, c_int)),
    "ss_counter_read": (c_int, (_SW, _U64, _U32, _U32, _U32, _P)),
    "ss_counter_write": (c_int, (_SW, _U64, _U32, _U32, _U64, _U64)),
    "ss_register_access": (c_int, (_SW, _U64, _U32, _U32, _P, c_int)),
    "ss_member_set": (c_int, (_SW, _U64, _U32, _U32, _U32, _P, _U32)),
    "ss_group_set": (c_int, (_SW, _U64, _U32, _U32, _P, _U32)),
    "ss_port_set_up": (c_int, (_SW, _U32, c_int)),
    "ss_replicas_set": (c_int, (_SW, _U64, c_int, _U32, _P, _U32, _U32)),
}


@functools.cache
def open_runtime(cache_dir: Path | None, sanitize: bool) -> Any:
    """The runtime's library, built if needed. ctypes functions have no static types."""
    library = ctypes.CDLL(str(compiler.build_runtime(cache_dir, sanitize=sanitize)))
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments
    return library


def program_pointer(path: Path) -> tuple[ctypes.CDLL, int]:
    """The program's library (keep it as long as the program runs) and its description."""
    library = ctypes.CDLL(str(path))
    return library, ctypes.addressof(ctypes.c_char.in_dll(library, "ss_program"))


def words(values: list[int]) -> Any:
    """A C array of 64-bit words, never empty."""
    return (c_uint64 * max(len(values), 1))(*values)
