# SPDX-License-Identifier: Apache-2.0
"""The data plane: ports, the loaded program, and its life. See `api.DataplaneApi`."""

from __future__ import annotations

import ctypes
import struct
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from softswitch import native
from softswitch.api import (
    Digest,
    Entry,
    PortStats,
    ProgramInfo,
    ServiceFrame,
    Stats,
    TapCallback,
)
from softswitch.codegen import digests
from softswitch.dataplane_objects import Objects
from softswitch.errors import NoProgram, OutOfMemory, PortError, SoftswitchError
from softswitch.link_watch import LinkWatch, has_link
from softswitch.program import Program

MAX_PORTS = 1024
MAX_FRAME = 65535
SWEEP_S = 1.0
BUFFER = 1 << 18
TAP_OUT = 1 << 31


class Dataplane(Objects):
    """A switch in this process.

    `cpu_port`: frames that leave on it come out of `wait_packet_ins`. `drop_port`: the value of
    egress_spec that drops. `sanitize`, `cache_dir`: as in `Program.load`. Raises NoCompiler or
    CompilerFailed if the runtime cannot be built, SoftswitchError for an impossible port number.
    """

    def __init__(
        self,
        *,
        cpu_port: int | None = None,
        drop_port: int = 511,
        cache_dir: Path | None = None,
        sanitize: bool = False,
    ) -> None:
        if cpu_port is not None and not 0 <= cpu_port < MAX_PORTS:
            raise PortError(f"CPU port {cpu_port}: port numbers are 0 to {MAX_PORTS - 1}")
        lib = native.open_runtime(cache_dir, sanitize)
        cpu = native.NONE if cpu_port is None else cpu_port
        handle = lib.ss_new(cpu, drop_port)
        if not handle:
            raise OutOfMemory("no memory for the data plane")
        super().__init__(lib, handle)
        self.cpu_port = cpu_port
        self.drop_port = drop_port
        self._sanitize = sanitize
        self._ports: dict[int, str | None] = {}
        self._ports_lock = threading.RLock()
        self._down: set[int] = set()
        self._links: LinkWatch | None = None
        self._load_lock = threading.Lock()
        self._packet_in_lock = threading.Lock()
        self._libraries: list[ctypes.CDLL] = []
        self._stopped = threading.Event()
        self._next_sweep = time.monotonic() + SWEEP_S
        self._tap_thread: threading.Thread | None = None
        self._tap: TapCallback | None = None
        self._serving = False

    def __del__(self) -> None:
        handle, self._handle = getattr(self, "_handle", None), None
        if handle:
            self._lib.ss_free(handle)

    # Ports

    def add_port(self, port: int, ifname: str) -> None:
        self._add(port, ifname)

    def add_memory_port(self, port: int) -> None:
        self._add(port, None)

    def _add(self, port: int, ifname: str | None) -> None:
        what = f"port {port}" + (f" (interface {ifname})" if ifname else "")
        if not 0 <= port < MAX_PORTS:
            raise PortError(f"{what}: port numbers are 0 to {MAX_PORTS - 1}")
        if port == self.cpu_port:
            raise PortError(f"{what}: this is the CPU port")
        if ifname is not None and not 0 < len(ifname.encode()) < 16:
            raise PortError(f"{what}: an interface name has 1 to 15 bytes")
        error = ctypes.create_string_buffer(256)
        with self._ports_lock:
            if port in self._ports:
                raise PortError(f"{what}: the port number is in use")
            name = None if ifname is None else ifname.encode()
            rc = self._lib.ss_port_add(self._handle, port, name, error, len(error))
            if rc == native.E_PORT:
                raise PortError(f"{what}: {error.value.decode(errors='replace')}")
            if rc != native.OK:
                raise OutOfMemory(f"{what}: no memory")
            self._ports[port] = ifname

    def remove_port(self, port: int) -> None:
        with self._ports_lock:
            if self._ports.pop(port, self) is self:
                raise PortError(f"port {port}: there is no such port")
            self._down.discard(port)
            self._lib.ss_port_remove(self._handle, port)

    def ports(self) -> Mapping[int, str | None]:
        with self._ports_lock:
            return dict(self._ports)

    def set_port_up(self, port: int, up: bool) -> None:
        with self._ports_lock:
            served = self._serving and 0 <= port < MAX_PORTS
            if port not in self._ports and not served:
                raise PortError(f"port {port}: there is no such port")
            self._down.discard(port)
            if not up:
                self._down.add(port)
            name = self._ports.get(port)
            link = name is None or self._links is None or has_link(name)
            self._lib.ss_port_set_up(self._handle, port, int(up and link))
            if self._links is not None:
                self._links.ask_again()

    def links_matter(self) -> None:
        with self._ports_lock:
            if self._links is None:
                self._links = LinkWatch(self.ports, self._link_changed, self._stopped)
                self._links.look()
                self._links.start()

    def _link_changed(self, port: int, link: bool) -> None:
        with self._ports_lock:
            up = link and port not in self._down
            self._lib.ss_port_set_up(self._handle, port, int(up))

    # Life

    @property
    def program(self) -> ProgramInfo | None:
        return self._program

    def start(self) -> None:
        if self._stopped.is_set():
            raise SoftswitchError("the data plane was stopped; make a new one")
        rc = self._lib.ss_start(self._handle)
        if rc != native.OK:
            raise SoftswitchError(f"the forwarding thread cannot be started (error {-rc})")

    def stop(self) -> None:
        self._stopped.set()
        self._lib.ss_stop(self._handle)
        self._lib.ss_close_queues(self._handle)
        with self._ports_lock:
            for port in list(self._ports):
                self.remove_port(port)
        if self._links is not None:
            self._links.join()
        if self._tap_thread is not None and self._tap_thread is not threading.current_thread():
            self._tap_thread.join()

    def load(self, program: ProgramInfo) -> None:
        if not isinstance(program, Program):
            raise TypeError("load() takes what Program.load() returned")
        if program.sanitize != self._sanitize:
            raise SoftswitchError("program and data plane must both be sanitized, or neither")
        with self._load_lock:
            library, pointer = native.program_pointer(program.path)
            self._libraries.append(library)
            generation = self._lib.ss_prepare(self._handle, pointer)
            if generation == 0:
                raise OutOfMemory("no memory for the program's tables and arrays")
            objects = self.prepare(program, generation)
            if self._lib.ss_commit(self._handle, generation) != native.OK:
                raise SoftswitchError("the program was replaced while it was being loaded")
            self.activate(program, objects)
            del self._libraries[:-1]

    # Frames

    def inject(self, port: int, frame: bytes) -> None:
        if not 0 <= port < MAX_PORTS:
            raise PortError(f"port {port}: port numbers are 0 to {MAX_PORTS - 1}")
        if len(frame) > MAX_FRAME:
            raise PortError(f"port {port}: a frame of {len(frame)} bytes (at most {MAX_FRAME})")
        if self._program is None:
            raise NoProgram("a frame cannot be processed: no program has been loaded")
        self._lib.ss_inject(self._handle, port, bytes(frame), len(frame))

    def packet_out(self, frame: bytes) -> None:
        if self.cpu_port is None:
            raise PortError("packet-out: there is no CPU port (start with --cpu-port)")
        self.inject(self.cpu_port, frame)

    def read_memory_port(self, port: int, timeout_s: float = 1.0) -> bytes | None:
        with self._ports_lock:
            if port not in self._ports or self._ports[port] is not None:
                raise PortError(f"port {port}: this is not a memory port")
            buffer = ctypes.create_string_buffer(MAX_FRAME + 64)
            n = self._lib.ss_read_memory_port(
                self._handle, port, buffer, len(buffer), int(timeout_s * 1e9)
            )
        records = _records(buffer, n)
        return records[0][2] if records else None

    def wait_packet_ins(self, timeout_s: float) -> list[bytes]:
        with self._packet_in_lock:
            buffer = ctypes.create_string_buffer(BUFFER)
            n = self._lib.ss_read_packet_in(
                self._handle, buffer, BUFFER, int(max(timeout_s, 0) * 1e9)
            )
            return [frame for _, _, frame in _records(buffer, n)]

    def read_log(self, timeout_s: float) -> list[str]:
        return [text for _, text in self.read_trace(timeout_s)]

    def read_trace(self, timeout_s: float) -> list[tuple[str, str]]:
        buffer = ctypes.create_string_buffer(BUFFER)
        n = self._lib.ss_read_log(self._handle, buffer, BUFFER, int(max(timeout_s, 0) * 1e9))
        return [
            (chr(level) if level else "", text.decode("utf-8", "replace"))
            for level, _, text in _records(buffer, n)
        ]

    def log_dropped(self) -> int:
        return int(self._lib.ss_log_dropped(self._handle))

    def wait_digests(self, timeout_s: float) -> list[Digest]:
        buffer = ctypes.create_string_buffer(BUFFER)
        n = self._lib.ss_read_digests(self._handle, buffer, BUFFER, int(max(timeout_s, 0) * 1e9))
        loaded = self._loaded
        out: list[Digest] = []
        for tag, time_ns, data in _records(buffer, n):
            # What an earlier program reported has lost its meaning.
            if loaded is not None and tag >> 16 == loaded.generation & 0xFFFF:
                digest = loaded.program.ir.digests[tag & 0xFFFF]
                out.append(Digest(digest.name, digests.decode(digest, data), time_ns))
        return out

    # The packet service

    def service_open(self) -> None:
        with self._ports_lock:
            self._serving = True
            for port in range(MAX_PORTS):
                if port not in self._ports:
                    self._lib.ss_port_set_up(self._handle, port, 1)

    def service_connect(self) -> None:
        if self._lib.ss_service_connect(self._handle) != native.OK:
            raise OutOfMemory("no memory for the packet service")

    def service_disconnect(self) -> None:
        self._lib.ss_service_disconnect(self._handle)

    def service_inject(self, port: int, frame: bytes, cause: int) -> bool:
        if len(frame) > MAX_FRAME:
            raise PortError(f"port {port}: a frame of {len(frame)} bytes (at most {MAX_FRAME})")
        rc = self._lib.ss_service_inject(self._handle, port, frame, len(frame), cause)
        return rc == native.OK

    def service_end(self) -> bool:
        return self._lib.ss_service_end(self._handle) == native.OK

    def service_read(self, timeout_s: float) -> list[ServiceFrame] | None:
        buffer = ctypes.create_string_buffer(BUFFER)
        n = self._lib.ss_service_read(self._handle, buffer, BUFFER, int(max(timeout_s, 0) * 1e9))
        if n == native.E_STOPPED:
            return None
        return [
            ServiceFrame(None if port == native.NONE else port, frame, cause)
            for port, cause, frame in _records(buffer, n)
        ]

    # Idle timeouts

    def wait_idle(self, timeout_s: float) -> list[tuple[str, Entry]]:
        end = time.monotonic() + timeout_s
        while not self._stopped.is_set():
            now = time.monotonic()
            if now >= self._next_sweep:
                self._next_sweep = now + SWEEP_S
                idle = self.idle_entries(None)
                if idle:
                    return idle
            if now >= end:
                break
            self._stopped.wait(max(min(self._next_sweep, end) - now, 0))
        return []

    # Observation

    def set_clock_ns(self, now_ns: int | None) -> None:
        self._lib.ss_set_clock(self._handle, now_ns or 0)

    def set_tap(self, callback: TapCallback | None) -> None:
        self._tap = callback
        self._lib.ss_set_tap(self._handle, int(callback is not None))
        if callback is not None and self._tap_thread is None:
            self._tap_thread = threading.Thread(target=self._run_tap, name="tap", daemon=True)
            self._tap_thread.start()

    def _run_tap(self) -> None:
        buffer = ctypes.create_string_buffer(BUFFER)
        n = 0
        while n != native.E_STOPPED:  # closed and read to its end
            n = self._lib.ss_read_tap(self._handle, buffer, BUFFER, 1_000_000_000)
            for tag, time_ns, frame in _records(buffer, n):
                callback = self._tap
                if callback is not None:
                    direction = "out" if tag & TAP_OUT else "in"
                    callback(direction, tag & ~TAP_OUT, frame, time_ns)

    def stats(self) -> Stats:
        ports: dict[int, PortStats] = {}
        for port, ifname in self.ports().items():
            out = native.PortStatsOut()
            if self._lib.ss_port_stats(self._handle, port, ctypes.byref(out)) == native.OK:
                values = {name: int(getattr(out, name)) for name in native.PORT_STATS}
                up = bool(values.pop("up"))
                ports[port] = PortStats(port=port, ifname=ifname, up=up, **values)
        totals = (ctypes.c_uint64 * 5)()
        self._lib.ss_switch_stats(self._handle, totals)
        return Stats(
            ports=ports,
            packet_in_dropped=totals[0],
            no_such_port_dropped=totals[1],
            pass_limit_dropped=totals[2],
            tap_dropped=totals[3],
            digest_dropped=totals[4],
        )

    # Replication

    def mc_group_set(self, group: int, replicas: Sequence[tuple[int, int]] | None) -> None:
        self.replicas_set(0, group, replicas, 0)

    def clone_session_set(
        self, session: int, replicas: Sequence[tuple[int, int]] | None, truncate_length: int = 0
    ) -> None:
        self.replicas_set(1, session, replicas, truncate_length)


def _records(buffer: ctypes.Array[ctypes.c_char], n: int) -> list[tuple[int, int, bytes]]:
    """(tag, time_ns, bytes) of each record in the first n bytes; none if n is an error."""
    out: list[tuple[int, int, bytes]] = []
    view = memoryview(buffer).cast("B")
    head, at = struct.calcsize(native.RECORD), 0
    while at < n:
        length, tag, time_ns = struct.unpack_from(native.RECORD, view, at)
        out.append((tag, time_ns, bytes(view[at + head : at + head + length])))
        at += head + (length + 7) // 8 * 8
    return out
