# SPDX-License-Identifier: Apache-2.0
"""What can go wrong with a target, as exceptions and values that name the target and the entry."""

from dataclasses import dataclass

from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4rt


class TargetError(Exception):
    """A call to the target failed as a whole.

    `code`: canonical gRPC name. `message`: the target's or gRPC's own words. `address`: of the
    target.
    """

    def __init__(self, address: str, what: str, code: str, message: str, advice: str = "") -> None:
        text = f"target {address}: {what}: {message or 'no message'} ({code})"
        super().__init__(f"{text}; {advice}" if advice else text)
        self.address = address
        self.code = code
        self.message = message


class TargetUnavailable(TargetError):
    """Nothing at that address speaks P4Runtime."""


class ElectionIdInUse(TargetError):
    """Another live controller has our election id."""


class PipelineRejected(TargetError):
    """The target does not accept the program."""


@dataclass(frozen=True, slots=True)
class UpdateError:
    """Why one update of a write failed.

    `index`: its place in the list that was written. `code`: canonical gRPC name. `message`: the
    target's words. `target_code`, `space`: the target's own error number and whose it is.
    `whole_call`: the call failed, not this update alone. `unknown_outcome`: the call broke down on
    the way, and the update may or may not have been carried out.
    """

    index: int
    update: p4rt.Update
    code: str
    message: str
    target_code: int = 0
    space: str = ""
    whole_call: bool = False
    unknown_outcome: bool = False

    def __str__(self) -> str:
        return f"update {self.index}: {self.message or 'no message'} ({self.code})"


@dataclass(frozen=True, slots=True)
class Closed:
    """Why a stream ended. `requested`: by our own `close`. `code`: canonical gRPC name."""

    code: str
    message: str
    requested: bool = False

    def __str__(self) -> str:
        return "closed" if self.requested else f"{self.message or 'no message'} ({self.code})"


def stream_refused(address: str, device_id: int, election_id: int, reason: Closed) -> TargetError:
    """The error, with what to do, for a target that ended the stream instead of arbitrating."""
    what = f"no stream for device {device_id}"
    args = (address, what, reason.code, reason.message)
    if reason.code == "INVALID_ARGUMENT" and "election" in reason.message.lower():
        return ElectionIdInUse(
            *args,
            f"another controller is connected with election id {election_id}: stop it, "
            "or use a higher election id to take over or a lower one to stand by",
        )
    if reason.code == "UNIMPLEMENTED":
        return TargetUnavailable(
            *args, "what listens there speaks gRPC but not P4Runtime: correct the address"
        )
    if reason.code == "NOT_FOUND":
        return TargetError(*args, "set the device id that the target was started with")
    if reason.code == "RESOURCE_EXHAUSTED":
        return TargetError(*args, "too many controllers are connected: stop one")
    return TargetError(*args)
