# SPDX-License-Identifier: Apache-2.0
"""`p4ct run` and `p4ct check-config`: from files to a running controller, with plain messages."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import signal
import sys
from pathlib import Path

from p4ct.cli.client import BAD_INPUT, FAILED
from p4ct.daemon import log as logs
from p4ct.daemon.admin import AdminServer, SocketInUse
from p4ct.daemon.check import load
from p4ct.daemon.config import Config, ConfigError
from p4ct.daemon.controller import Controller
from p4ct.daemon.kernel_sync import KernelSyncError
from p4ct.daemon.metrics_server import MetricsServer
from p4ct.daemon.switch import ProgramFiles
from p4ct.eswitch.entries import EswitchError
from p4ct.p4runtime.errors import TargetError
from p4ct.p4runtime.p4info import P4InfoError
from p4ct.pipeline.errors import FlowSyntaxError
from p4ct.pipeline.flow import Flow
from p4ct.pipeline.parser import parse_flows

__all__ = ["check", "run_controller"]

log = logging.getLogger("p4ct")


class _Mistake(Exception):
    """A file that cannot be used; the text says everything."""


def _read(path: Path) -> tuple[Config, ProgramFiles, list[Flow]]:
    """Everything that a start needs, checked. Raises _Mistake with all mistakes of all files."""
    try:
        config = load(path)
    except ConfigError as error:
        raise _Mistake(_counted(error.problems, path)) from None
    mistakes: list[str] = []
    flows: list[Flow] = []
    try:
        text = config.flows.read_text(encoding="utf-8")
        flows = parse_flows(
            text,
            source=str(config.flows),
            ports=config.ports.numbers,
            timeouts=config.timeouts.policies,
        )
    except FlowSyntaxError as error:
        mistakes.append(str(error))
    except OSError as error:
        mistakes.append(f"{config.flows}: cannot be read: {error.strerror}")
    except UnicodeDecodeError as error:
        mistakes.append(f"{config.flows}: is not UTF-8 text (byte {error.start})")
    try:
        program = ProgramFiles(config.p4info, config.program)
        mistakes += program.problems(config)
    except P4InfoError as error:
        raise _Mistake("\n".join([*mistakes, str(error)])) from None
    if mistakes:
        raise _Mistake("\n".join(mistakes))
    return config, program, flows


def _counted(problems: list[str], path: Path) -> str:
    count = len(problems)
    return "\n".join([*problems, f"{count} {'error' if count == 1 else 'errors'} in {path}"])


def check(path: Path) -> int:
    """Exit code of `p4ct check-config`."""
    try:
        config, program, flows = _read(path)
    except _Mistake as error:
        print(error, file=sys.stderr)
        return BAD_INPUT
    ports = ", ".join(config.ports.by_name)
    print(
        f"{path}: ok: {len(flows)} flows, vports {ports}, "
        f"program {program.p4info.pkg_info.name} {program.index.version}"
    )
    return 0


def run_controller(path: Path) -> int:
    """Exit code of `p4ct run`."""
    try:
        config, program, flows = _read(path)
    except _Mistake as error:
        print(error, file=sys.stderr)
        return BAD_INPUT
    try:
        logs.set_up(config)
    except OSError as error:
        print(
            f"{config.problem('log.file', f'{config.log_file}: {error.strerror}')}; choose a file "
            "that may be written",
            file=sys.stderr,
        )
        return FAILED
    try:
        return asyncio.run(_serve(config, program, flows))
    except Exception as error:
        log.exception("the controller failed")
        return _fail(config, f"internal error: {error!r}; see the log")


async def _serve(config: Config, program: ProgramFiles, flows: list[Flow]) -> int:
    try:
        controller = Controller(config, program, flows)
    except KernelSyncError as error:
        return _fail(config, str(error))
    admin = AdminServer(controller, config.socket)
    metrics = MetricsServer(controller, *config.metrics) if config.metrics else None
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        await admin.start()
    except SocketInUse as error:
        return _fail(config, str(error))
    except OSError as error:
        what = f"{config.socket}: {error.strerror or error}; choose a place that may be written"
        return _fail(config, config.problem("admin.socket", what))
    try:
        if metrics is not None:
            await metrics.start()
    except OSError as error:
        await admin.stop()
        return _fail(config, config.problem("metrics.listen", _why_not(error)))
    log.info("controller started: %d flows, admin socket %s", len(flows), config.socket)
    try:
        await controller.run(stop)
    except (TargetError, EswitchError) as error:
        return _fail(config, str(error))
    finally:
        if metrics is not None:
            await metrics.stop()
        with contextlib.suppress(OSError):
            await admin.stop()
    log.info("controller stopped; entries stay in the switch")
    return 0


def _why_not(error: OSError) -> str:
    """Why nobody can listen there, and what to do."""
    remedies = {
        errno.EADDRINUSE: "the port is in use; choose another one, or stop who has it",
        errno.EADDRNOTAVAIL: "no interface has this address; choose one of this machine's",
        errno.EACCES: "no permission; choose a port above 1023",
    }
    what = remedies.get(error.errno or 0)
    if what is None:  # a name that is not known, for instance
        what = f"{error.strerror or error}; choose an address of this machine"
    return what


def _fail(config: Config, message: str) -> int:
    """Say it in the log, and on standard error if the log is elsewhere."""
    log.error("%s", message)
    if config.log_file is not None:
        print(f"p4ct: {message}", file=sys.stderr)
    return FAILED
