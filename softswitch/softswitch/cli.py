# SPDX-License-Identifier: Apache-2.0
"""The `softswitch` command: start the data plane, serve P4Runtime, stop cleanly on a signal."""

from __future__ import annotations

import functools
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from softswitch import logs
from softswitch.errors import PortError, SoftswitchError
from softswitch.options import Options, UsageError, parse
from softswitch.taps import PacketLog, PcapFiles, combine

if TYPE_CHECKING:
    import grpc

    from softswitch.api import DataplaneApi, TapCallback
    from softswitch.program import Program

log = logging.getLogger("softswitch")


class _Stopped(BaseException):
    """A signal asked the switch to stop."""


class _Failed(Exception):
    """The switch cannot start; the message says why and what to do."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run until SIGTERM or SIGINT, and exit by that signal (143, 130); exit 1 on an error."""
    try:
        options = parse(sys.argv[1:] if arguments is None else arguments)
    except UsageError as error:
        print(f"softswitch: {error}\nTry 'softswitch --help'.", file=sys.stderr)
        sys.exit(1)
    received: list[int] = []

    def on_signal(number: int, _: FrameType | None) -> None:
        # Only the first one interrupts: a second must not break the clean stop.
        if not received:
            received.append(number)
            raise _Stopped

    # gRPC's own messages repeat, less clearly, what is reported here.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    try:
        _run(options)
    except _Stopped:
        pass
    except (_Failed, SoftswitchError) as error:
        print(f"softswitch: {error}", file=sys.stderr, flush=True)
        sys.exit(1)
    number = received[0]
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    sys.exit(128 + number)


def _say(text: str) -> None:
    print(text, flush=True)


def _run(options: Options) -> NoReturn:
    """Start everything, wait for a signal, stop everything."""
    try:
        logs.configure(console=options.log_console, file=options.log_file, level=options.log_level)
    except OSError as error:
        raise _Failed(f"--log-file: {error.filename}: {error.strerror}") from error
    for warning in options.warnings:
        print(f"softswitch: warning: {warning}", file=sys.stderr, flush=True)
    program_json = _read_program(options.json_path)
    # Imported only now: a wrong command line is reported without waiting for them.
    from softswitch.address import AddressError
    from softswitch.dataplane import Dataplane
    from softswitch.p4runtime.pipeline import PipelineManager
    from softswitch.p4runtime.server import P4RuntimeServer
    from softswitch.p4runtime.service import Service
    from softswitch.packet_service.server import PacketServer
    from softswitch.program import Program

    credentials = _credentials(options)
    _say("Calling target program-options parser")
    load_program = functools.partial(Program.load, trace=options.trace_packets)
    preloaded = None
    if program_json is not None:
        preloaded = _load(load_program, program_json, options.json_path)
    stops: list[Callable[[], None]] = []
    try:
        dataplane = Dataplane(cpu_port=options.cpu_port, drop_port=options.drop_port)
        stops.append(dataplane.stop)
        _add_ports(dataplane, options)
        stops.append(_add_taps(dataplane, options))
        if preloaded is not None:
            dataplane.load(preloaded)
        pipelines = PipelineManager(
            dataplane, load_program, preloaded=preloaded, max_groups=options.max_groups
        )
        service = Service(options.device_id, dataplane, pipelines)
        packets = None
        try:
            server = P4RuntimeServer(service, dataplane, options.address, credentials)
            stops.append(server.stop)
            if options.packet_address is not None:
                packets = PacketServer(dataplane, options.device_id, options.packet_address)
                stops.append(packets.stop)
        except AddressError as error:
            raise _Failed(str(error)) from error
        stopping = threading.Event()
        stops.insert(0, stopping.set)
        pump = threading.Thread(target=_pump_log, args=(dataplane, stopping), name="log")
        pump.start()
        stops.append(pump.join)
        dataplane.start()
        if packets is not None:
            packets.start()
        server.start()
        _say(f"Server listening on {_with_port(options.address, server.port)}")
        while True:
            signal.pause()
    finally:
        for stop in stops:
            stop()


def _read_program(path: str | None) -> bytes | None:
    if path is None:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise _Failed(f"JSON input file {path} cannot be opened: {error.strerror}") from error


def _load(load: Callable[[bytes], Program], program: bytes, path: str | None) -> Program:
    try:
        return load(program)
    except SoftswitchError as error:
        raise _Failed(f"{path}: {error}") from error


def _add_ports(dataplane: DataplaneApi, options: Options) -> None:
    """Attach the interfaces. One that is missing is an error line, as in BMv2; without the
    permission to open any, there is no point in going on."""
    for number, name in options.interfaces:
        _say(f"Adding interface {name} as port {number}")
        if options.packet_address is not None:
            continue  # as in BMv2: the packet service stands for it
        try:
            dataplane.add_port(number, name)
        except PortError as error:
            if not _may_open_packet_sockets():
                raise _Failed(
                    f"interface {name}, port {number}: no permission to open a packet socket."
                    " CAP_NET_RAW is needed: run as root, grant it with setcap, or use a user"
                    " namespace (unshare --user --map-root-user --net)"
                ) from error
            log.error("Add port operation failed: %s", error)


def _add_taps(dataplane: DataplaneApi, options: Options) -> Callable[[], None]:
    """Begin what --pcap and --dump-packet-data ask for; returns what ends it."""
    taps: list[TapCallback] = []
    files = None
    if options.pcap_folder is not None:
        names = {port: name for port, name in dataplane.ports().items() if name is not None}
        try:
            files = PcapFiles(Path(options.pcap_folder), names)
        except OSError as error:
            raise _Failed(f"--pcap: {error.filename}: {error.strerror}") from error
        taps.append(files)
    if options.dump_bytes:
        taps.append(PacketLog(options.dump_bytes, options.cpu_port))
    tap = combine(taps)
    if tap is not None:
        dataplane.set_tap(tap)

    def end() -> None:
        if lost := dataplane.stats().tap_dropped:
            log.warning("%d frames are missing in pcap files and log: there were too many", lost)
        if files is not None:
            files.close()

    return end


def _may_open_packet_sockets() -> bool:
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    except PermissionError:
        return False
    except OSError:
        return True  # something else is wrong, and has been reported
    return True


def _pump_log(dataplane: DataplaneApi, stopping: threading.Event) -> None:
    """Log what the program says with log_msg, and the trace of each packet."""
    lost = 0
    while True:
        lines = dataplane.read_trace(1.0)
        if not lines and stopping.is_set():
            return
        for letter, line in lines:
            log.log(logs.LETTERS.get(letter, logging.INFO), "%s", line)
        now_lost = dataplane.log_dropped()
        if now_lost != lost:
            log.warning(
                "%d lines about packets were lost: more than can be written", now_lost - lost
            )
            lost = now_lost


def _credentials(options: Options) -> grpc.ServerCredentials | None:
    if options.tls is None:
        return None
    from softswitch.tls import TlsError, server_credentials

    try:
        return server_credentials(*options.tls)
    except TlsError as error:
        raise _Failed(str(error)) from error


def _with_port(address: str, port: int) -> str:
    """The address with the port that the kernel chose, if it was left to it."""
    host, _, wanted = address.rpartition(":")
    return f"{host}:{port}" if wanted == "0" else address


if __name__ == "__main__":
    main()
