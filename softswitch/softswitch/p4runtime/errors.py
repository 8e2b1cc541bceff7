# SPDX-License-Identifier: Apache-2.0
"""Canonical error codes, and the `google.rpc.Status` details of a failed batch."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

import grpc
from google.protobuf import any_pb2
from google.rpc import status_pb2  # pyright: ignore[reportMissingTypeStubs]
from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4rt

from softswitch import errors as dataplane_errors

ERROR_SPACE = "ALL-sswitch-p4org"
"""`p4.v1.Error.space`: the value that BMv2 uses, since clients may compare it."""

DETAILS_KEY = "grpc-status-details-bin"
MESSAGE_LIMIT = 200
"""Characters of one error text."""
DETAILS_BUDGET = 6000
"""Bytes of details above which further error texts are left out (their codes stay). A gRPC client
rejects the whole answer when the metadata exceeds 8 to 16 KiB, unless it raises
`grpc.max_metadata_size`."""


class Code(IntEnum):
    """google.rpc.Code."""

    OK = 0
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13

    @property
    def grpc_status(self) -> grpc.StatusCode:
        """The same code as grpcio's enum."""
        return grpc.StatusCode[self.name]


class P4RuntimeError(Exception):
    """A request, or one update or entity of it, that is refused."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class EntityErrors(Exception):
    """A batch with at least one failure: one outcome per update or entity, None is success."""

    def __init__(self, outcomes: Sequence[P4RuntimeError | None]) -> None:
        super().__init__(f"{sum(1 for item in outcomes if item)} of {len(outcomes)} failed")
        self.outcomes = outcomes

    def details(self) -> bytes:
        """Serialized google.rpc.Status with one p4.v1.Error per item, in order (spec 12.3)."""
        status = status_pb2.Status(code=Code.UNKNOWN)
        used = 0
        for outcome in self.outcomes:
            error = p4rt.Error()
            if outcome is not None:
                error.canonical_code = outcome.code
                error.space = ERROR_SPACE
                if used < DETAILS_BUDGET:
                    error.message = outcome.message[:MESSAGE_LIMIT]
            packed = any_pb2.Any()
            packed.Pack(error)
            used += packed.ByteSize() + 2
            status.details.append(packed)
        return status.SerializeToString()


def invalid(message: str) -> P4RuntimeError:
    """INVALID_ARGUMENT, by far the most frequent refusal."""
    return P4RuntimeError(Code.INVALID_ARGUMENT, message)


def unimplemented(message: str) -> P4RuntimeError:
    """UNIMPLEMENTED: valid P4Runtime that softswitch does not offer."""
    return P4RuntimeError(Code.UNIMPLEMENTED, message)


_DATAPLANE_CODES: dict[type[dataplane_errors.SoftswitchError], Code] = {
    dataplane_errors.TableFull: Code.RESOURCE_EXHAUSTED,
    dataplane_errors.OutOfMemory: Code.RESOURCE_EXHAUSTED,
    dataplane_errors.EntryExists: Code.ALREADY_EXISTS,
    dataplane_errors.EntryNotFound: Code.NOT_FOUND,
    dataplane_errors.BadEntry: Code.INVALID_ARGUMENT,
    dataplane_errors.ObjectInUse: Code.FAILED_PRECONDITION,
    dataplane_errors.ConstObject: Code.PERMISSION_DENIED,
    dataplane_errors.UnknownObject: Code.NOT_FOUND,
    dataplane_errors.NoProgram: Code.FAILED_PRECONDITION,
}


def from_dataplane(error: dataplane_errors.SoftswitchError) -> P4RuntimeError:
    """The P4Runtime code for an error that the data plane raised."""
    return P4RuntimeError(_DATAPLANE_CODES.get(type(error), Code.INTERNAL), str(error))
