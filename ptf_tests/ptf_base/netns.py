# SPDX-License-Identifier: Apache-2.0
"""A network namespace that lives in one thread, and with it.

The thread leaves its parent's namespace and makes everything that belongs to the new one: links,
raw sockets, child processes. Nothing is written to /var/run/netns, the rest of the process stays
where it is, and when the process ends, in whatever way, the kernel removes the namespace with all
its links.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

CLONE_NEWNET = 0x40000000
# Receive and send checksums as written, no merged or split segments, tags where they are.
OFFLOADS = ("rx", "tx", "sg", "tso", "gso", "gro", "rxvlan", "txvlan")
# Debian keeps ip and ethtool where a user's PATH does not look.
SBIN = ":/usr/sbin:/sbin"

Result = TypeVar("Result")


class NamespaceError(Exception):
    """The namespace or its links cannot be made; says what to do."""


class Namespace:
    """`close` ends it; so does the end of the process."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, "netns")
        try:
            self.run(_unshare)
            self.command("ip", "link", "set", "lo", "up")
        except BaseException:
            self._executor.shutdown()
            raise

    def run(self, function: Callable[..., Result], *args: Any, **kwargs: Any) -> Result:
        """Call `function` in the namespace; sockets and processes that it makes stay there."""
        return self._executor.submit(function, *args, **kwargs).result()

    def command(self, *argv: str) -> None:
        """Run a command there. NamespaceError has its last words."""
        program = shutil.which(argv[0], path=os.environ.get("PATH", os.defpath) + SBIN)
        if program is None:
            raise NamespaceError(f"{argv[0]} is not installed (Debian: iproute2, ethtool)")
        done = self.run(subprocess.run, [program, *argv[1:]], capture_output=True, text=True)
        if done.returncode:
            raise NamespaceError(f"{' '.join(argv)}: {done.stderr.strip() or done.stdout.strip()}")

    def add_veth(self, left: str, right: str) -> None:
        """A pair of links that carries only what is sent into it."""
        self.command("ip", "link", "add", left, "type", "veth", "peer", "name", right)
        for link in (left, right):
            # No addresses, so no neighbour discovery, no router solicitation, no MLD, no ARP.
            self.command("ip", "link", "set", link, "addrgenmode", "none")
            self.run(_disable_ipv6, link)
            self.command("ip", "link", "set", link, "arp", "off", "multicast", "off")
            self.command("ip", "link", "set", link, "mtu", "9000")
            flags = [word for name in OFFLOADS for word in (name, "off")]
            self.command("ethtool", "-K", link, *flags)
        for link in (left, right):
            self.command("ip", "link", "set", link, "up")

    def close(self) -> None:
        """Leave. The links go once no process and no socket of the namespace is left."""
        self._executor.shutdown()


def _unshare() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET):
        reason = os.strerror(ctypes.get_errno())
        raise NamespaceError(
            f"cannot make a network namespace: {reason}. Run as root, or as a user with "
            "`unshare -Urnm --map-root-user` before the command"
        )


def _disable_ipv6(link: str) -> None:
    # Read-only in some containers, where the link has no IPv6 address anyway.
    with contextlib.suppress(OSError):
        Path(f"/proc/sys/net/ipv6/conf/{link}/disable_ipv6").write_text("1")
