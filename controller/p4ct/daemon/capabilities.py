# SPDX-License-Identifier: Apache-2.0
"""What offloading makes of a program: the configuration, and what the program's P4Info offers."""

from __future__ import annotations

import logging
from dataclasses import replace

from p4ct.daemon.config import Config
from p4ct.daemon.switch import ProgramFiles
from p4ct.offload.ageing import Ageing, choose
from p4ct.offload.options import OffloadOptions

__all__ = ["offload_options"]

log = logging.getLogger("p4ct")


def offload_options(config: Config, program: ProgramFiles) -> OffloadOptions:
    """The options of a manager; the log says what was found out."""
    has = program.contract.capabilities
    check = config.offload.window_check
    if check and not has.window_registers:
        log.warning("the program has no window registers: TCP windows are not checked there")
    ageing = choose(config.offload.ageing, has.connection_idle_timeout)
    can = "report" if has.connection_idle_timeout else "cannot report"
    why = (
        "" if config.offload.ageing is not Ageing.AUTO else f" (ct_v4 and ct_v6 {can} idle entries)"
    )
    how = f": {config.offload.sampling}" if ageing is Ageing.SAMPLING else ""
    log.info("ageing by %s%s%s", ageing.value, why, how)
    return replace(
        config.offload,
        capacity=config.offload.capacity or program.capacity,
        window_check=check and has.window_registers,
        # Without idle timeouts a flow would stay for ever, without counters NORMAL would forget
        # its sender.
        stateless=config.offload.stateless and has.flow_idle_timeout and has.flow_counters,
        flow_capacity=has.flow_size,
        ageing=ageing,
    )
