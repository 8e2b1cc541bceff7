# SPDX-License-Identifier: Apache-2.0
"""`p4ct run` and `p4ct check-config`: from files to a running controller, with plain messages."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from pathlib import Path

from google.protobuf import text_format

from p4ct.daemon.admin import AdminServer, SocketInUse
from p4ct.daemon.config import Config, ConfigError, load
from p4ct.daemon.controller import Controller
from p4ct.daemon.switch import ProgramFiles
from p4ct.eswitch.contract import ContractError
from p4ct.eswitch.entries import EswitchError
from p4ct.p4runtime.errors import TargetError
from p4ct.pipeline.errors import FlowSyntaxError
from p4ct.pipeline.flow import Flow
from p4ct.pipeline.parser import parse_flows

__all__ = ["check", "run_controller"]

BAD_INPUT = 2
"""Exit code for a mistake in a file."""
FAILED = 1
"""Exit code for what went wrong at run time."""


class _Mistake(Exception):
    """A file that cannot be used; the text says everything."""


def _read(path: Path) -> tuple[Config, ProgramFiles, list[Flow]]:
    """Everything that a start needs, checked. Raises _Mistake."""
    try:
        config = load(path)
    except ConfigError as error:
        count = len(error.problems)
        raise _Mistake(
            f"{error}\n{count} {'error' if count == 1 else 'errors'} in {path}"
        ) from None
    try:
        flows = parse_flows(
            config.flows.read_text(encoding="utf-8"),
            source=str(config.flows),
            ports=config.ports.numbers,
        )
    except FlowSyntaxError as error:
        raise _Mistake(str(error)) from None
    try:
        program = ProgramFiles(config.p4info, config.program)
    except text_format.ParseError as error:
        raise _Mistake(f"{config.p4info}: not P4Info in text form: {error}") from None
    except ContractError as error:
        raise _Mistake(f"{config.p4info}: {error}") from None
    except OSError as error:
        raise _Mistake(f"{error.filename}: {error.strerror}") from None
    return config, program, flows


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
        _set_up_logging(config)
    except _Mistake as error:
        print(error, file=sys.stderr)
        return BAD_INPUT
    return asyncio.run(_serve(config, program, flows))


def _set_up_logging(config: Config) -> None:
    try:
        if config.log_file is not None:
            config.log_file.parent.mkdir(parents=True, exist_ok=True)
            handler: logging.Handler = logging.FileHandler(config.log_file)
        else:
            handler = logging.StreamHandler()
    except OSError as error:
        raise _Mistake(f"log.file {config.log_file}: {error.strerror}") from None
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=config.log_level.upper(), handlers=[handler], force=True)


async def _serve(config: Config, program: ProgramFiles, flows: list[Flow]) -> int:
    controller = Controller(config, program, flows)
    admin = AdminServer(controller, config.socket)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        await admin.start()
    except SocketInUse as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(f"admin.socket {config.socket}: {error.strerror}")
    serving = asyncio.create_task(controller.run(stop))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
        if stop.is_set() and not serving.done():
            # Connecting may take long; a running controller stops by itself.
            await asyncio.wait([serving], timeout=5.0)
            serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        if not serving.cancelled():
            serving.result()
    except (TargetError, EswitchError) as error:
        return _fail(str(error))
    finally:
        stopping.cancel()
        await controller.switch.close()
        await admin.stop()
    return 0


def _fail(message: str) -> int:
    logging.getLogger("p4ct").error("%s", message)
    print(f"p4ct: {message}", file=sys.stderr)
    return FAILED
