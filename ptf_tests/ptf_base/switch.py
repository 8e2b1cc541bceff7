# SPDX-License-Identifier: Apache-2.0
"""The switch under test: its P4Runtime session and its ports, shared by all cases of a run."""

from __future__ import annotations

import atexit
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ptf
from ptf import testutils

from ptf_base.ledger import Ledger
from ptf_base.p4info import P4Names
from ptf_base.wire import ELECTION_ID, Wire, WireError

COMPILED = Path(__file__).resolve().parents[2] / "p4src" / "compiled"
PROGRAM = "eswitch"


class Switch:
    """`dataplane` is ptf's, with the switch's ports on device 0."""

    def __init__(self, wire: Wire, dataplane: Any, device_config: bytes) -> None:
        self.wire = wire
        self.dataplane = dataplane
        self.ports = sorted(port for _, port in dataplane.ports)
        self.ledger = Ledger()
        self._device_config = device_config
        self._serial = 0

    def open(self) -> None:
        """Become primary and push the program."""
        answer = self.wire.open()
        if answer.status.code != 0:
            raise WireError(
                f"{self.wire.address}: another controller is primary "
                f"(election id {answer.election_id.low}): {answer.status.message}"
            )
        self.wire.push_pipeline(self._device_config)

    def next_serial(self) -> int:
        """Tells one sentinel from the next."""
        self._serial += 1
        return self._serial

    def close(self) -> None:
        self.wire.close()


class SwitchUnavailable(Exception):
    """The switch could not be made for an earlier case, whose failure says why."""


_switches: dict[str, Switch | str] = {}
_openers: dict[str, Callable[[], Switch]] = {}


def register(name: str, opener: Callable[[], Switch]) -> None:
    """Say how the switch of that name is made when a case first needs it."""
    _openers[name] = opener


def opened() -> dict[str, Switch]:
    """The switches that have been made."""
    return {name: s for name, s in _switches.items() if isinstance(s, Switch)}


def get(name: str) -> Switch:
    """The switch of that name, made on first use. A failure is told once; then in short."""
    if name not in _switches:
        opener = _openers.get(name, _open_from_ptf)
        try:
            _switches[name] = opener()
        except Exception as error:
            _switches[name] = str(error).splitlines()[0]
            raise
    found = _switches[name]
    if isinstance(found, str):
        raise SwitchUnavailable(found)
    return found


def close_all() -> None:
    """Close every session. Idempotent."""
    for switch in opened().values():
        switch.close()
    _switches.clear()


def _open_from_ptf() -> Switch:
    """Under plain ptf: the ports are those of its command line, the rest are test parameters."""
    grpcaddr = testutils.test_param_get("grpcaddr", "127.0.0.1:9559")
    p4info = testutils.test_param_get("p4info", str(COMPILED / f"{PROGRAM}.p4info.txtpb"))
    device_config = testutils.test_param_get("config", str(COMPILED / f"{PROGRAM}.json"))
    device_id = testutils.test_param_get("device_id", 0)
    election_id = testutils.test_param_get("election_id", ELECTION_ID)
    names = P4Names.load(Path(p4info))
    wire = Wire(grpcaddr, names, device_id=int(device_id), election_id=int(election_id))
    switch = Switch(wire, ptf.dataplane_instance, Path(device_config).read_bytes())
    switch.open()
    atexit.register(_report)
    return switch


def _report() -> None:
    for switch in opened().values():
        print(switch.ledger.report(switch.wire.names))
    close_all()
