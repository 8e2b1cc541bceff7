# SPDX-License-Identifier: Apache-2.0
"""The pushed pipeline: its configuration and everything that is precomputed from it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4rt

from softswitch.api import DataplaneApi, ProgramInfo
from softswitch.errors import BadProgram, CompilerFailed, NoCompiler, UnsupportedConstruct
from softswitch.p4runtime.digests import Digests
from softswitch.p4runtime.errors import Code, P4RuntimeError, invalid, unimplemented
from softswitch.p4runtime.legacy_config import unwrap_device_config
from softswitch.p4runtime.p4info import P4InfoIndex
from softswitch.p4runtime.packet_io import PacketInCodec, PacketOutCodec
from softswitch.p4runtime.profile_codec import ProfileCodec
from softswitch.p4runtime.replication import DEFAULT_MAX_GROUPS, Replication
from softswitch.p4runtime.table_codec import TableCodec

log = logging.getLogger("softswitch.p4runtime")
LoadProgram = Callable[[bytes], ProgramInfo]
SetRequest = p4rt.SetForwardingPipelineConfigRequest
GetRequest = p4rt.GetForwardingPipelineConfigRequest


@dataclass(frozen=True, slots=True)
class DefaultMetadata:
    """What a client attached to a default entry; the data plane has no place for it."""

    metadata: bytes = b""
    controller_metadata: int = 0


class Pipeline:
    """A configuration that has been checked: P4Info and program agree."""

    def __init__(
        self,
        config: p4rt.ForwardingPipelineConfig,
        program: ProgramInfo,
        max_groups: int = DEFAULT_MAX_GROUPS,
    ) -> None:
        self.config = config
        self.program = program
        self.index = P4InfoIndex(config.p4info, program)
        self.profiles = {
            profile_id: ProfileCodec(profile, self.index, program.profiles[profile.preamble.name])
            for profile_id, profile in self.index.profiles.items()
        }
        self.tables = {
            table_id: TableCodec(
                table,
                self.index,
                program.tables[table.preamble.name],
                self.profiles.get(table.implementation_id),
            )
            for table_id, table in self.index.tables.items()
        }
        self.tables_by_name = {table.name: table for table in self.tables.values()}
        self.packet_in = PacketInCodec(self.index.packet_in)
        self.packet_out = PacketOutCodec(self.index.packet_out)
        self._bulk_plan: tuple[object | None] | None = None
        self.default_metadata: dict[int, DefaultMetadata] = {}
        self.replication = Replication(max_groups)
        self.digests = Digests(
            (digest_id, digest.preamble.name, self.index.digest_types[digest_id])
            for digest_id, digest in self.index.digests.items()
        )

    def bulk_plan(self, dataplane: DataplaneApi) -> object | None:
        """How the data plane reads serialized updates of these tables; None: it does not."""
        if self._bulk_plan is None:
            tables = [t.wire_table() for t in self.tables.values() if not t.is_const]
            self._bulk_plan = (dataplane.bulk_plan(tables),)
        return self._bulk_plan[0]

    def clear(self) -> None:
        """Forget what clients have written: the program has been loaded afresh."""
        self._bulk_plan = None
        self.default_metadata.clear()
        self.replication.clear()
        self.digests.clear()
        for profile in self.profiles.values():
            profile.clear()

    def table(self, table_id: int) -> TableCodec:
        """The table with this id, or INVALID_ARGUMENT."""
        table = self.tables.get(table_id)
        if table is None:
            raise invalid(f"Invalid P4 id {table_id:#x}: not a table")
        return table


class PipelineManager:
    """SetForwardingPipelineConfig and GetForwardingPipelineConfig (spec 7)."""

    def __init__(
        self,
        dataplane: DataplaneApi,
        load_program: LoadProgram,
        *,
        preloaded: ProgramInfo | None = None,
        max_groups: int = DEFAULT_MAX_GROUPS,
    ) -> None:
        """`preloaded`: program of the command line, used by a push without JSON. `max_groups`:
        multicast groups and clone sessions that may exist at a time."""
        self._dataplane = dataplane
        self._load_program = load_program
        self._preloaded = preloaded
        self._max_groups = max_groups
        self._saved: Pipeline | None = None
        self.current: Pipeline | None = None

    def require(self) -> Pipeline:
        """The pipeline that is in force, or FAILED_PRECONDITION."""
        if self.current is None:
            raise P4RuntimeError(
                Code.FAILED_PRECONDITION, "No forwarding pipeline config set for this device"
            )
        return self.current

    def set(self, request: SetRequest, lock: threading.RLock, recheck: Callable[[], None]) -> None:
        """Carry out a request whose sender has been checked.

        Compiling takes seconds, so it is done without `lock`; what changes state then holds it,
        and calls `recheck` first, since the primary may be another by then. On any error the
        pipeline in force, and the one saved, are untouched.
        """
        action = request.action
        if action == SetRequest.COMMIT:
            if request.HasField("config"):
                raise invalid("COMMIT takes no config; send it with VERIFY_AND_SAVE before")
            with lock:
                recheck()
                if self._saved is None:
                    raise P4RuntimeError(Code.NOT_FOUND, "COMMIT: no config has been saved")
                self._commit(self._saved)
        elif action in (
            SetRequest.VERIFY,
            SetRequest.VERIFY_AND_SAVE,
            SetRequest.VERIFY_AND_COMMIT,
        ):
            pipeline = self._build(request)
            if action == SetRequest.VERIFY:
                return
            with lock:
                recheck()
                if action == SetRequest.VERIFY_AND_SAVE:
                    self._saved = pipeline
                else:
                    self._commit(pipeline)
        elif action == SetRequest.RECONCILE_AND_COMMIT:
            raise unimplemented(
                "RECONCILE_AND_COMMIT is not supported; use VERIFY_AND_COMMIT and write the"
                " entries again"
            )
        else:
            raise invalid(f"SetForwardingPipelineConfig: action {action} is not valid")

    def _build(self, request: SetRequest) -> Pipeline:
        if not request.HasField("config"):
            raise invalid("SetForwardingPipelineConfig: the config is missing")
        config = p4rt.ForwardingPipelineConfig()
        config.CopyFrom(request.config)
        if not config.HasField("p4info"):
            raise invalid("SetForwardingPipelineConfig: config.p4info is missing")
        if config.p4_device_config:
            program = self._load(unwrap_device_config(config.p4_device_config))
        elif self._preloaded is not None:
            program = self._preloaded
        else:
            raise invalid(
                "SetForwardingPipelineConfig: p4_device_config is empty, and no JSON was given on"
                " the command line"
            )
        return Pipeline(config, program, self._max_groups)

    def _load(self, json: bytes) -> ProgramInfo:
        try:
            return self._load_program(json)
        except (BadProgram, UnsupportedConstruct) as error:
            raise invalid(f"p4_device_config: {error}") from error
        except NoCompiler as error:
            raise P4RuntimeError(Code.FAILED_PRECONDITION, str(error)) from error
        except CompilerFailed as error:
            log.error("%s", error)
            raise P4RuntimeError(
                Code.INTERNAL,
                "p4_device_config: the C compiler refused the generated code, which is a softswitch"
                " bug; the switch's log has its output",
            ) from error

    def _commit(self, pipeline: Pipeline) -> None:
        self._dataplane.load(pipeline.program)
        self._saved = None
        pipeline.clear()
        self.current = pipeline

    def get(self, request: GetRequest) -> p4rt.GetForwardingPipelineConfigResponse:
        """The configuration in force, as it was pushed, in the form that the request asks for."""
        config = self.require().config
        response = p4rt.GetForwardingPipelineConfigResponse()
        answer, kind = response.config, request.response_type
        answer.SetInParent()
        if kind not in GetRequest.ResponseType.values():
            raise invalid(f"GetForwardingPipelineConfig: response_type {kind} is not valid")
        if kind in (GetRequest.ALL, GetRequest.P4INFO_AND_COOKIE):
            answer.p4info.CopyFrom(config.p4info)
        if kind in (GetRequest.ALL, GetRequest.DEVICE_CONFIG_AND_COOKIE):
            answer.p4_device_config = config.p4_device_config
        if config.HasField("cookie"):
            answer.cookie.CopyFrom(config.cookie)
        return response
