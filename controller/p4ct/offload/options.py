# SPDX-License-Identifier: Apache-2.0
"""What the operator decides about offloading: section `offload` of the configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from p4ct.offload.ageing import Ageing, Sampling
from p4ct.offload.decide import Mode

__all__ = ["OffloadOptions", "OnPolicyChange"]


class OnPolicyChange(Enum):
    """What becomes of offloaded connections that policy now decides otherwise
    (`offload.policy_change` of the configuration; `p4ct.offload.policy_check`)."""

    RECHECK = "recheck"
    CUT = "cut"
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class OffloadOptions:
    """`capacity`: records at most; timeouts in seconds without a packet."""

    enabled: bool = True
    mode: Mode = Mode.ASSURED
    capacity: int = 65536
    tcp_timeout: float = 3600.0
    udp_timeout: float = 180.0
    icmp_timeout: float = 180.0
    ageing: Ageing = Ageing.IDLE_TIMEOUT
    """Not AUTO any more once a manager has it."""
    sampling: Sampling = field(default_factory=Sampling)
    policy_change: OnPolicyChange = OnPolicyChange.RECHECK
    window_check: bool = False
    """The eswitch checks TCP windows; it has to have the registers."""
    stateless: bool = False
    """Traffic that passes no ct() gets entries of the `flow` table, up to `flow_capacity`, idle
    after `flow_timeout` seconds."""
    flow_capacity: int = 4096
    flow_timeout: float = 10.0
    batch: int = 100
    """Installs, removals and new timeouts of one round at most, each: together they fit one Write,
    so that both entries of a record are always in the same."""
