# SPDX-License-Identifier: Apache-2.0
"""`make doctor`: what of the things that p4ct uses works on this machine, and what to do about the
rest.

Only the standard library is used, so that it runs before anything is set up.  The exit code is 1
when something that `make run` needs is missing; optional things never fail it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tools import private  # noqa: E402  (the path must be set first)

VENV_PYTHON = ROOT / ".venv" / "bin" / "python"
GRPC_PORT = 9559


class Finding(NamedTuple):
    """One line of the report: `remedy` is printed when `ok` is false."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""
    optional: bool = False


def find_command(name: str) -> str | None:
    """The path of a command; the sbin folders count even when the PATH leaves them out."""
    return shutil.which(name, path=private.search_path())


def first_line(command: list[str]) -> tuple[int, str]:
    """Exit code and first line of output (either stream) of a command."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    text = (done.stdout.strip() or done.stderr.strip()).splitlines()
    return done.returncode, text[0] if text else ""


def python() -> Finding:
    """The interpreter that set-up would use."""
    version = ".".join(map(str, sys.version_info[:3]))
    remedy = "install Python 3.11 or newer and run P4CT_SYSTEM_PYTHON=/path/to/python3 make setup"
    return Finding("Python", sys.version_info >= (3, 11), f"{version}, {sys.executable}", remedy)


def environment() -> Finding:
    """The virtual environment and the packages that everything imports."""
    if not VENV_PYTHON.exists():
        return Finding(
            "environment", False, ".venv is not there yet", "made by make run", optional=True
        )
    modules = "grpc, google.protobuf, click, rich, msgspec, p4rt_stubs.p4.v1.p4runtime_pb2"
    code, said = first_line([str(VENV_PYTHON), "-c", f"import {modules}; print(grpc.__version__)"])
    detail = f".venv, grpcio {said}" if code == 0 else "imports fail in .venv"
    return Finding("environment", code == 0, detail, "run: rm -rf .venv build && make setup")


def compiler() -> Finding:
    """softswitch compiles its data plane with the system's C compiler."""
    path = find_command("cc") or find_command("gcc")
    remedy = "sudo apt-get install --no-install-recommends gcc libc6-dev"
    if path is None:
        return Finding("C compiler", False, "neither cc nor gcc found", remedy)
    done = subprocess.run(
        [path, "-x", "c", "-fsyntax-only", "-"],
        input="#include <stdio.h>\n#include <linux/if_packet.h>\n",
        capture_output=True,
        text=True,
        check=False,
    )
    _, said = first_line([path, "--version"])
    return Finding("C compiler", done.returncode == 0, f"{path}: {said}", remedy)


def mininet() -> Finding:
    """Debian's Mininet: its Python package and its helper mnexec."""
    remedy = "sudo apt-get install --no-install-recommends mininet net-tools"
    if find_command("mnexec") is None:
        return Finding("Mininet", False, "mnexec is not found", remedy)
    if find_command("ifconfig") is None:
        return Finding("Mininet", False, "ifconfig, which Mininet calls, is not found", remedy)
    search = "import sys; sys.path.append('/usr/lib/python3/dist-packages')"
    code, said = first_line(
        [sys.executable, "-c", f"{search}; from mininet.net import VERSION; print(VERSION)"]
    )
    return Finding("Mininet", code == 0, said, remedy)


def command(name: str, package: str, *version: str) -> Callable[[], Finding]:
    """A check that a program is installed; `version` are the arguments that make it say which."""

    def check() -> Finding:
        path = find_command(name)
        remedy = f"sudo apt-get install --no-install-recommends {package}"
        if path is None:
            return Finding(name, False, "not installed", remedy)
        return Finding(name, True, first_line([path, *version])[1] if version else path)

    return check


def namespaces() -> Finding:
    """The private namespaces that the topology runs in."""
    unshare = find_command("unshare")
    if unshare is None:
        return Finding("namespaces", False, "unshare is not installed", "install util-linux")
    try:
        flags = private.choose_flags(unshare)
    except private.CannotIsolate as error:
        detail, _, remedy = str(error).partition("\n")
        return Finding("namespaces", False, detail, remedy.strip())
    as_user = "--user" in flags
    return Finding("namespaces", True, "in a user namespace" if as_user else "as root")


def packet_sockets() -> Finding:
    """AF_PACKET on a veth pair inside the private namespaces: what softswitch lives on."""
    probe = (
        "import socket, subprocess;"
        "subprocess.run('ip link add pd0 type veth peer name pd1', shell=True, check=True);"
        "socket.socket(socket.AF_PACKET, socket.SOCK_RAW).bind(('pd0', 3)); print('works')"
    )
    runner = [sys.executable, str(ROOT / "tools" / "private.py"), "--"]
    code, said = first_line([*runner, sys.executable, "-c", probe])
    remedy = "the kernel needs CONFIG_PACKET and CONFIG_VETH, and the container CAP_NET_RAW"
    return Finding("AF_PACKET, veth", code == 0, said, remedy)


def port() -> Finding:
    """The P4Runtime port of p4ct run and softswitch outside the topology's namespace."""
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind(("127.0.0.1", GRPC_PORT))
        except OSError as error:
            remedy = (
                f"find its owner with: ss -ltnp sport = :{GRPC_PORT}  (make run is not concerned)"
            )
            return Finding(f"port {GRPC_PORT}", False, error.strerror or "", remedy, optional=True)
    return Finding(f"port {GRPC_PORT}", True, "free", optional=True)


def optional_command(name: str, purpose: str, package: str = "") -> Callable[[], Finding]:
    """A check of a program that p4ct works without; `package` is Debian's, if it has one."""

    def check() -> Finding:
        path = find_command(name)
        if path is None:
            how = "build it from its sources (no Debian package)"
            if package:
                how = f"sudo apt-get install --no-install-recommends {package}"
            remedy = f"only {purpose} needs it; {how}"
            return Finding(name, False, "not on the PATH", remedy, optional=True)
        code, said = first_line([path, "--version"])
        return Finding(name, code == 0, f"{path}: {said}", "it does not start", optional=True)

    return check


CHECKS: tuple[Callable[[], Finding], ...] = (
    python,
    environment,
    compiler,
    mininet,
    command("ip", "iproute2", "-V"),
    command("ethtool", "ethtool", "--version"),
    command("iperf3", "iperf3", "--version"),
    command("ping", "iputils-ping", "-V"),
    namespaces,
    packet_sockets,
    port,
    optional_command("nft", "the comparison with the kernel's conntrack", "nftables"),
    optional_command("p4c-bm2-ss", "make p4"),
    optional_command("simple_switch_grpc", "TARGET=bmv2"),
)


def main() -> int:
    """Print one line per check, and what to do below those that fail."""
    failed = 0
    for check in CHECKS:
        finding = check()
        mark = "ok  " if finding.ok else "--  " if finding.optional else "FAIL"
        print(f"{mark} {finding.name:<20} {finding.detail}")
        if not finding.ok:
            failed += not finding.optional
            print(f"     {'':<20} -> {finding.remedy}")
    print("everything that make run needs works" if not failed else f"{failed} to be fixed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
