# SPDX-License-Identifier: Apache-2.0
"""A network namespace that lives in one thread, and with it.

Whatever the thread opens belongs to the namespace: links, raw sockets, netlink sockets, child
processes. Nothing is written to /run/netns, and when the process ends the kernel removes it all.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

_CLONE_NEWNET = 0x40000000
# Debian keeps ip and nft where an ordinary user's PATH does not look.
_SBIN = ":/usr/sbin:/sbin"
_PACKAGES = {"ip": "iproute2", "nft": "nftables", "ethtool": "ethtool"}

Result = TypeVar("Result")


class CannotCompare(Exception):
    """This machine has not what the comparison needs; the text says what, and what to do."""


class NotInstalled(CannotCompare):
    """A program is missing that set-up installs, or names."""


class Namespace:
    """`close` ends it; so does the end of the process. `path` names it for ip(8)."""

    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(1, name)
        try:
            thread = self.run(_unshare)
        except BaseException:
            self._executor.shutdown()
            raise
        self.path = f"/proc/{os.getpid()}/task/{thread}/ns/net"

    def run(self, function: Callable[..., Result], *args: Any, **kwargs: Any) -> Result:
        """Call `function` in the namespace."""
        return self._executor.submit(function, *args, **kwargs).result()

    def command(self, *argv: str, text: str | None = None) -> None:
        """Run a command there, `text` on its standard input. CannotCompare has its last words."""
        program = shutil.which(argv[0], path=os.environ.get("PATH", os.defpath) + _SBIN)
        if program is None:
            package = _PACKAGES.get(argv[0], argv[0])
            raise NotInstalled(f"{argv[0]} is not installed (Debian: apt-get install {package})")
        done = self.run(
            subprocess.run, [program, *argv[1:]], input=text, capture_output=True, text=True
        )
        if done.returncode:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()
            raise CannotCompare(f"{' '.join(argv)}: {said[0] if said else 'failed'}")

    def setting(self, path: str, value: str) -> None:
        """Write a file below /proc/sys/net, of this namespace."""
        self.run(_write, f"/proc/sys/net/{path}", value)

    def close(self) -> None:
        """Leave; the namespace goes once none of its sockets is left."""
        self._executor.shutdown()


def _unshare() -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET):
        reason = os.strerror(ctypes.get_errno())
        raise CannotCompare(f"cannot make a network namespace: {reason}; run it by make")
    return threading.get_native_id()


def _write(path: str, value: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(value)
