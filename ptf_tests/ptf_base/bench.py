# SPDX-License-Identifier: Apache-2.0
"""A target that is up, the sockets on its ports and a session with it: what pytest runs on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import ptf
import ptf.dataplane

from ptf_base.errors import RpcFailed
from ptf_base.p4info import P4Names
from ptf_base.relay import Relay
from ptf_base.switch import Switch
from ptf_base.target import Target, TargetError
from ptf_base.wire import Wire, WireError

PTF_CONFIG = {"platform": "eth", "qlen": 4096, "socket_recv_size": 16384, "log_dir": None}


class Bench:
    """Owns the target; `close` leaves nothing behind."""

    def __init__(
        self, name: str, p4info: Path, config: Path, *, extra_args: Sequence[str] = ()
    ) -> None:
        self._dataplane: ptf.dataplane.DataPlane | None = None
        self._relay: Relay | None = None
        self._switch: Switch | None = None
        self.target = Target(name, extra_args=extra_args)
        try:
            self._relay = Relay(f"ptf-{name}-{os.getpid()}", self.target.connect)
            ptf.config.update(PTF_CONFIG)
            self._dataplane = ptf.dataplane.DataPlane(PTF_CONFIG)
            for port, link in self.target.interfaces.items():
                self.target.namespace.run(self._dataplane.port_add, link, 0, port)
            wire = Wire(self._relay.address, P4Names.load(p4info), device_id=self.target.device_id)
            self._switch = Switch(wire, self._dataplane, config.read_bytes())
            self._switch.open()
        except (WireError, RpcFailed) as error:
            self.close()
            raise TargetError(f"{name}: {error}\n{self.target.problem()}") from error
        except BaseException:
            self.close()
            raise

    @property
    def switch(self) -> Switch:
        if self._switch is None:
            raise TargetError("the bench is closed")
        return self._switch

    def close(self) -> None:
        """End session, sockets, relay and target. Idempotent."""
        if self._switch is not None:
            self._switch.close()
            self._switch = None
        if self._relay is not None:
            self._relay.close()
            self._relay = None
        if self._dataplane is not None:
            self._dataplane.kill()
            self._dataplane = None
        self.target.close()
