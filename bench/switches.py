# SPDX-License-Identifier: Apache-2.0
"""What can stand between the two veth pairs of `bench.links`: each started alone, given as many
entries as there are flows, and taken away again."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.links import (
    FIRST_TARGET,
    IN,
    OUT,
    SINK_MAC,
    SOURCE_IP,
    cores,
    native,
    run,
    send,
)
from bench.measure import BUILD, BenchFailed, SubjectEnded
from bench.others import nft, open_vswitch
from bench.p4rt import IN_PORT, OUT_PORT, Client, Program, requests
from bench.targets import BMV2, SOFTSWITCH, START_TIMEOUT, service
from topo.processes import Service, listening, own_command, tail

BARE, BRIDGE, ROUTER, OVS = "bare forwarder", "bridge", "kernel router, conntrack", "ovs, conntrack"
PORTS = {SOFTSWITCH: 9611, BMV2: 9612}
CPU_PORT = 510


class Subject:
    """Something that forwards from a0 to b0. `to_router`: frames are for its own MAC address."""

    to_router = False
    entries_matter = True

    def __init__(self, name: str) -> None:
        self.name = name

    def missing(self) -> str:
        """Why it cannot be measured here, or ""."""
        return ""

    @abstractmethod
    def running(self) -> contextlib.AbstractContextManager[Subject]:
        """It forwards while this is open. Raises BenchFailed or ProcessFailed."""

    @abstractmethod
    def fill(self, flows: int) -> None:
        """From now on it knows that many flows; called with growing numbers."""


class Bridge(Subject):
    """The Linux bridge: it knows two MAC addresses, whatever the flows."""

    entries_matter = False

    @contextmanager
    def running(self) -> Iterator[Subject]:
        run("ip", "link", "add", "bench-bridge", "type", "bridge", "mcast_snooping", "0")
        try:
            for name in (IN, OUT):
                run("ip", "link", "set", name, "master", "bench-bridge")
            run("bridge", "fdb", "replace", SINK_MAC, "dev", OUT, "master", "static")
            # The bridge is a station as well; it would announce itself among the frames.
            Path("/proc/sys/net/ipv6/conf/bench-bridge/disable_ipv6").write_text("1")
            run("ip", "link", "set", "bench-bridge", "up")
            yield self
        finally:
            run("ip", "link", "delete", "bench-bridge")

    def fill(self, flows: int) -> None:
        pass


class Bare(Subject):
    """bench/native/forwarder.c."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._process: Service | None = None

    @contextmanager
    def running(self) -> Iterator[Subject]:
        try:
            yield self
        finally:
            self._stop()

    def _stop(self) -> None:
        if self._process is not None:
            self._process.stop()

    def fill(self, flows: int) -> None:
        self._stop()
        command = [str(native("forwarder")), IN, OUT, str(flows)]
        process = self._process = service("forwarder", ["taskset", "-c", cores()[1], *command])
        process.start()
        process.wait_ready(lambda: "ready" in process.log.read_text(), START_TIMEOUT)


class P4Target(Subject):
    """softswitch or BMv2 with one of the programs."""

    def __init__(self, target: str, program: str) -> None:
        super().__init__(f"{target}, {program}")
        self.target = target
        self.program = Program(program)
        self._filled = 0
        self._client: Client | None = None
        self.process: Service | None = None

    def missing(self) -> str:
        if self.target == BMV2 and shutil.which("simple_switch_grpc") is None:
            return "simple_switch_grpc is not on the PATH"
        return ""

    def command(self) -> list[str]:
        """The command line, on the cores that the generator leaves."""
        own = self.target == SOFTSWITCH
        program = own_command("softswitch") if own else "simple_switch_grpc"
        ports = ["-i", f"{IN_PORT}@{IN}", "-i", f"{OUT_PORT}@{OUT}"]
        address = f"127.0.0.1:{PORTS[self.target]}"
        specific = ["--grpc-server-addr", address, "--cpu-port", str(CPU_PORT)]
        general = [program, "--no-p4", "--device-id", "0", *ports, "--", *specific]
        return ["taskset", "-c", cores()[1], *general]

    @contextmanager
    def running(self) -> Iterator[P4Target]:
        process = self.process = service(self.target, self.command())
        address = f"127.0.0.1:{PORTS[self.target]}"
        with ExitStack() as stack:
            stack.callback(process.stop)
            process.start()
            process.wait_ready(lambda: listening(address), START_TIMEOUT)
            self._client = stack.enter_context(Client(address))
            self._client.push(self.program)
            self._client.write(requests(self.program.setting()))
            self._filled = 0
            try:
                yield self
            except BenchFailed:
                if process.running():
                    raise
                raise SubjectEnded(tail(process.log, 1).strip()) from None

    def fill(self, flows: int) -> None:
        assert self._client is not None
        self._client.write(requests(self.program.flows(self._filled, flows)))
        self._filled = flows


class Router(Subject):
    """The kernel's IPv4 router; nftables lets pass what conntrack knows or may know."""

    to_router = True
    RULES = """
table ip bench {
    chain forward {
        type filter hook forward priority 0; policy drop;
        ct state established,related accept
        udp dport 2000 ct state new accept
    }
}
"""

    def missing(self) -> str:
        try:
            nft()
        except BenchFailed as error:
            return str(error)
        return ""

    @contextmanager
    def running(self) -> Iterator[Subject]:
        forwarding = Path("/proc/sys/net/ipv4/ip_forward")
        try:
            run("ip", "address", "add", "10.0.0.254/24", "dev", IN)
            run("ip", "address", "add", "10.1.0.1/24", "dev", OUT)
            run("ip", "neighbour", "replace", "10.1.0.2", "lladdr", SINK_MAC, "dev", OUT)
            run("ip", "route", "add", "10.128.0.0/9", "via", "10.1.0.2")
            forwarding.write_text("1")
            for name in ("all", IN, OUT):
                Path(f"/proc/sys/net/ipv4/conf/{name}/rp_filter").write_text("0")
            rules = BUILD / "router.nft"
            rules.write_text(self.RULES)
            run(*nft(), "-f", str(rules))
            yield self
        finally:
            forwarding.write_text("0")
            for command in (
                [*nft(), "delete", "table", "ip", "bench"],
                ["ip", "address", "flush", "dev", IN],
                ["ip", "address", "flush", "dev", OUT],
                ["ip", "neighbour", "flush", "dev", OUT],
            ):
                subprocess.run(command, capture_output=True, check=False)

    def fill(self, flows: int) -> None:
        limit = Path("/proc/sys/net/netfilter/nf_conntrack_max")
        if int(limit.read_text()) < 2 * flows:
            raise BenchFailed(f"{limit} is {limit.read_text().strip()}, too low for {flows} flows")
        visit(flows, self.to_router)


class Ovs(Subject):
    """Open vSwitch with its userspace datapath; ct() tracks, and commits what is new."""

    FLOWS = (
        "table=0,priority=1,udp,in_port=1,actions=ct(table=1)",
        "table=1,priority=2,ct_state=+trk+est,udp,actions=output:2",
        "table=1,priority=1,ct_state=+trk+new,udp,actions=ct(commit),output:2",
    )

    def missing(self) -> str:
        try:
            open_vswitch()
        except BenchFailed as error:
            return str(error)
        return ""

    @contextmanager
    def running(self) -> Iterator[Subject]:
        with open_vswitch().running(cores()[1]) as vsctl:
            vsctl.bridge("benchbr", {IN: 1, OUT: 2}, self.FLOWS)
            yield self

    def fill(self, flows: int) -> None:
        visit(flows, self.to_router)


def visit(flows: int, to_router: bool) -> None:
    """Let a connection tracker see every flow before its rate is measured."""
    rate = 50_000
    send(rate, max(0.2, 1.5 * flows / rate), 64, flows, to_router)


def source_address() -> str:
    """The address that all flows come from."""
    return ".".join(str(byte) for byte in SOURCE_IP.to_bytes(4, "big"))


def all_subjects() -> list[Subject]:
    """In the order of the tables."""
    return [
        Bare(BARE),
        P4Target(SOFTSWITCH, "one_table"),
        Bridge(BRIDGE),
        Router(ROUTER),
        Ovs(OVS),
        P4Target(SOFTSWITCH, "eswitch"),
        P4Target(BMV2, "eswitch"),
    ]


assert FIRST_TARGET == 0x0A800000  # as in bench/native/generator.c
