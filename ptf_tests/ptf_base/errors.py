# SPDX-License-Identifier: Apache-2.0
"""P4Runtime errors, decoded down to the single update."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import grpc
from google.rpc import code_pb2, status_pb2
from p4rt_stubs.p4.v1 import p4runtime_pb2

DETAILS_KEY = "grpc-status-details-bin"


class UpdateStatus(NamedTuple):
    """How one update of a batch ended: `code` is a name of google.rpc.Code, "OK" included."""

    code: str
    message: str


class RpcFailed(Exception):
    """An RPC failed as a whole: `code` is gRPC's name for it."""

    def __init__(self, what: str, error: grpc.RpcError) -> None:
        self.code: str = error.code().name  # type: ignore[attr-defined]
        self.message: str = error.details() or ""  # type: ignore[attr-defined]
        super().__init__(f"{what}: {self.code} {self.message}".rstrip())


class WriteFailed(RpcFailed):
    """A write failed. `updates` holds one status per update, or none if the RPC was refused."""

    def __init__(self, described: Sequence[str], error: grpc.RpcError) -> None:
        super().__init__("Write", error)
        self.updates = update_statuses(error)
        lines = [
            f"  update {i}, {text}: {status.code} {status.message}".rstrip()
            for i, (text, status) in enumerate(zip(described, self.updates, strict=False))
            if status.code != "OK"
        ]
        if lines:
            self.args = ("\n".join(["Write failed", *lines]),)
        else:
            self.args = (f"Write of {', '.join(described)}: {self.code} {self.message}",)

    @property
    def codes(self) -> list[str]:
        """The code of each update; that of the RPC if it carries no details."""
        return [u.code for u in self.updates] or [self.code]


def update_statuses(error: grpc.RpcError) -> list[UpdateStatus]:
    """One status per update out of the trailing metadata (P4Runtime specification 12.3)."""
    for key, value in error.trailing_metadata() or ():  # type: ignore[attr-defined]
        if key == DETAILS_KEY:
            status = status_pb2.Status.FromString(value)
            statuses: list[UpdateStatus] = []
            for packed in status.details:
                detail = p4runtime_pb2.Error()
                if not packed.Unpack(detail):
                    raise ValueError(f"{packed.type_url} where a p4.v1.Error belongs")
                statuses.append(UpdateStatus(_name(detail.canonical_code), detail.message))
            return statuses
    return []


def _name(code: int) -> str:
    try:
        return code_pb2.Code.Name(code)
    except ValueError:
        return f"code {code}"
