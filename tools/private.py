#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Run a command as root of its own namespaces, so that nothing it starts can outlive it.

    tools/private.py [--] COMMAND [ARGUMENT...]

The command gets private network, mount and process-id namespaces, and without root a user
namespace around them in which it is root (Mininet, veth and AF_PACKET work there).  When the
command ends, or this process dies in whatever way, the kernel kills every process of the process-id
namespace, and with the last of them the network namespace and its interfaces go.  Cleaning up does
not depend on any program being well behaved.

Two processes of this file are involved: the *outer* one, which the caller sees, starts unshare(1)
and turns SIGTERM and SIGHUP into a byte on a pipe; the *inner* one is process 1 of the namespace,
prepares /run, /sys and lo, runs the command, reaps orphans and ends with the command's exit code.
The end of the pipe tells the inner one that the outer one is gone, even by SIGKILL.  Ctrl-C needs
no help: the terminal sends it to the whole process group, the command included.

Only the standard library is used, and any Python from 3.9 on will do.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

#: Debian keeps ip, ethtool and ifconfig where an ordinary user's PATH does not look.
SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")
#: Seconds between asking the command to end and ending the namespace under it.
GRACE = float(os.environ.get("P4CT_GRACE", "10"))
NAMESPACES = ("--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
AS_USER = ("--user", "--map-root-user")


class CannotIsolate(Exception):
    """The kernel or the system refuses namespaces; the text says what to do."""


def search_path() -> str:
    """PATH with the sbin folders appended where they are missing."""
    parts = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join([*parts, *(folder for folder in SBIN if folder not in parts)])


def read_knob(path: str) -> str:
    """The value of a file below /proc/sys, or "" where the kernel does not have it."""
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except OSError:
        return ""


def why_refused(said: str) -> str:
    """What to do about a kernel that refuses a user namespace; `said` is unshare's own message."""
    knobs = (
        ("/proc/sys/kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
        ("/proc/sys/user/max_user_namespaces", "0", "user.max_user_namespaces=15000"),
        (
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "kernel.apparmor_restrict_unprivileged_userns=0",
        ),
    )
    lines = ["cannot create the namespaces that the topology needs", f"unshare says: {said}"]
    settings = [setting for path, refusing, setting in knobs if read_knob(path) == refusing]
    if settings:
        lines.append("user namespaces are switched off here; an administrator allows them with")
        lines += [f"    sysctl -w {setting}" for setting in settings]
        lines.append("or run the same command as root (sudo)")
    elif "propagation" in said:
        lines.append("the root folder is not a mount point: this is a plain chroot, which cannot")
        lines.append("hold namespaces; enter it with systemd-nspawn or as a container")
    elif os.geteuid() == 0:
        lines.append("this root user lacks CAP_SYS_ADMIN (a container without privileges?)")
        lines.append("start the container with --privileged, or with --cap-add SYS_ADMIN and")
        lines.append("--cap-add NET_ADMIN, or let an ordinary user with user namespaces run it")
    else:
        lines.append("run the same command as root (sudo), or on a host or in a container whose")
        lines.append("seccomp profile allows unshare(2)")
    return "\n       ".join(lines)


def choose_flags(unshare: str) -> list[str]:
    """The flags for unshare(1), proven with a command that does nothing.

    Raises CannotIsolate where neither root nor a user namespace gets the namespaces.
    """
    candidates = [[*AS_USER, *NAMESPACES]]
    if os.geteuid() == 0:
        candidates.insert(0, [*NAMESPACES])
    said = ""
    for flags in candidates:
        probe = subprocess.run(
            [unshare, *flags, "true"], capture_output=True, text=True, check=False
        )
        if probe.returncode == 0:
            return flags
        said = said or probe.stderr.strip() or f"exit code {probe.returncode}"
    raise CannotIsolate(why_refused(said))


def outer(command: list[str]) -> int:
    """Start the inner process in its namespaces and wait for it; returns the exit code."""
    os.environ["PATH"] = search_path()
    unshare = shutil.which("unshare")
    if unshare is None:
        raise CannotIsolate("unshare is not installed\n       install Debian's package util-linux")
    flags = choose_flags(unshare)
    lifeline, ours = os.pipe()

    def ask_to_end(number: int, _frame: object) -> None:
        os.write(ours, bytes([number]))

    signal.signal(signal.SIGTERM, ask_to_end)
    signal.signal(signal.SIGHUP, ask_to_end)
    signal.signal(signal.SIGINT, lambda *_: None)  # the command has it from the terminal too
    me = [sys.executable, str(Path(__file__).resolve()), "--inner", str(lifeline), "--"]
    process = subprocess.Popen([unshare, *flags, *me, *command], pass_fds=(lifeline,))
    os.close(lifeline)
    code = process.wait()
    return 128 - code if code < 0 else code


def prepare() -> None:
    """Make the namespace a place where Mininet and ip(8) work."""
    # ip netns and Mininet write to /run, which belongs to the real root outside.
    # A sysfs of this network namespace shows its interfaces; the inherited one shows the old ones.
    for arguments in (
        ["mount", "-t", "tmpfs", "tmpfs", "/run"],
        ["mount", "-t", "sysfs", "sysfs", "/sys"],
        ["ip", "link", "set", "lo", "up"],
    ):
        try:
            done = subprocess.run(arguments, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            raise CannotIsolate(
                f"{arguments[0]} is not installed\n       run 'make setup' first"
            ) from None
        if done.returncode != 0:
            raise CannotIsolate(
                f"'{' '.join(arguments)}' failed in the private namespace: {done.stderr.strip()}"
            )


def inner(lifeline: int, command: list[str]) -> int:
    """Process 1 of the namespace: run the command, reap orphans, end with its exit code."""
    prepare()
    wake, wake_end = os.pipe()
    os.set_blocking(wake_end, False)
    signal.set_wakeup_fd(wake_end)
    # A handler, not SIG_IGN: an ignored signal would be inherited by the command.
    for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    try:
        child = subprocess.Popen(command)
    except OSError as error:
        print(f"error: cannot run {command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    deadline: float | None = None
    watched = [wake, lifeline]
    while True:
        timeout = None if deadline is None else max(0.0, deadline - time.monotonic())
        readable, _, _ = select.select(watched, [], [], timeout)
        if wake in readable:
            os.read(wake, 512)
        code = reap(child.pid)
        if code is not None:
            return code
        if lifeline in readable:
            asked = os.read(lifeline, 1)
            if not asked:
                watched.remove(lifeline)
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, asked[0] if asked else signal.SIGTERM)
            deadline = deadline or time.monotonic() + GRACE
        elif deadline is not None and time.monotonic() >= deadline:
            return 128 + signal.SIGKILL


def reap(child: int) -> int | None:
    """Collect every ended process; the exit code of `child` once it is among them."""
    result: int | None = None
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == child:
                code = os.waitstatus_to_exitcode(status)
                result = 128 - code if code < 0 else code
    return result


def main(arguments: list[str]) -> int:
    """Entry point; the inner process is started by the outer one with --inner DESCRIPTOR."""
    lifeline: int | None = None
    if arguments[:1] == ["--inner"]:
        lifeline = int(arguments[1])
        arguments = arguments[2:]
    if arguments[:1] == ["--"]:
        arguments = arguments[1:]
    if not arguments:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        return outer(arguments) if lifeline is None else inner(lifeline, arguments)
    except CannotIsolate as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # before there was a command to have it
        return 128 + signal.SIGINT


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
