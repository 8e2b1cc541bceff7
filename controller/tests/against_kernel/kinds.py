# SPDX-License-Identifier: Apache-2.0
"""The kinds of traces. A new kind is one more row: its writer, and what the router needs for it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from p4ct.conntrack import Tracker

from .compare import Following
from .ftp_packets import (
    FTP_DNAT_RULES,
    FTP_SNAT_RULES,
    HELPER_RULES,
    HelperNatSubject,
    ftp_dnat_ends,
    ftp_ends,
    ftp_snat_ends,
)
from .ftp_traces import FtpWriter, TftpWriter
from .nat_traces import (
    DNAT_RULES,
    SNAT_RULES,
    NatOther,
    NatSubject,
    NatTcp,
    dnat_ends,
    snat_ends,
)
from .other_traces import ErrorWriter, IcmpWriter, IpWriter, SctpWriter, StreamWriter, UdpWriter
from .packets import Ends, make_ends
from .subject import Subject
from .tcp_traces import TcpWriter

Writer = Callable[[random.Random, int], Following]
"""From a random source and the IP version, what gives the packets of one trace."""


@dataclass(frozen=True)
class Kind:
    """share: traces of this kind for each TCP trace.

    rules: nftables text beside the reporting rules (NAT, helpers).   sysctls: of the router, below
    net/netfilter/nf_conntrack_, with their values.   subject: p4ct set up to match.
    ends: the ends of trace number n of an IP version.   together: they have pauses, and wait for
    them all at once.
    """

    writer: Writer
    share: float = 0.1
    rules: str = ""
    sysctls: tuple[tuple[str, int], ...] = ()
    subject: Callable[[], Subject] = lambda: Subject(Tracker())
    ends: Callable[[int, int], Ends] = make_ends
    together: bool = False


def _tcp(rng: random.Random, version: int) -> Following:
    return TcpWriter(rng)


def _helping() -> Subject:
    return Subject(Tracker(), helpers=True)


KINDS: dict[str, Kind] = {
    "tcp": Kind(_tcp, 1.0),
    "tcp liberal": Kind(
        _tcp,
        sysctls=(("tcp_be_liberal", 1),),
        subject=lambda: Subject(Tracker(tcp_be_liberal=True)),
    ),
    "tcp strict": Kind(
        _tcp,
        sysctls=(("tcp_loose", 0), ("tcp_max_retrans", 1)),
        subject=lambda: Subject(Tracker(tcp_loose=False, tcp_max_retrans=1)),
    ),
    "tcp any rst": Kind(
        _tcp,
        sysctls=(("tcp_ignore_invalid_rst", 1),),
        subject=lambda: Subject(Tracker(tcp_ignore_invalid_rst=True)),
    ),
    "snat tcp": Kind(NatTcp, 0.1, SNAT_RULES, subject=lambda: NatSubject(True), ends=snat_ends),
    "dnat tcp": Kind(NatTcp, 0.1, DNAT_RULES, subject=lambda: NatSubject(False), ends=dnat_ends),
    "snat": Kind(NatOther, 0.1, SNAT_RULES, subject=lambda: NatSubject(True), ends=snat_ends),
    "dnat": Kind(NatOther, 0.1, DNAT_RULES, subject=lambda: NatSubject(False), ends=dnat_ends),
    "ftp": Kind(FtpWriter, 0.05, HELPER_RULES, subject=_helping, ends=ftp_ends),
    "snat ftp": Kind(
        FtpWriter,
        0.05,
        HELPER_RULES + FTP_SNAT_RULES,
        subject=lambda: HelperNatSubject(True),
        ends=ftp_snat_ends,
    ),
    "dnat ftp": Kind(
        FtpWriter,
        0.05,
        HELPER_RULES + FTP_DNAT_RULES,
        subject=lambda: HelperNatSubject(False),
        ends=ftp_dnat_ends,
    ),
    "tftp": Kind(TftpWriter, 0.02, HELPER_RULES, subject=_helping, ends=partial(ftp_ends, port=69)),
    "snat tftp": Kind(
        TftpWriter,
        0.02,
        HELPER_RULES + FTP_SNAT_RULES,
        subject=lambda: HelperNatSubject(True),
        ends=partial(ftp_snat_ends, port=69),
    ),
    "udp": Kind(UdpWriter),
    "streams": Kind(StreamWriter, 0.02, together=True),
    "icmp": Kind(IcmpWriter),
    "errors": Kind(ErrorWriter, 0.2),
    "sctp": Kind(SctpWriter, 0.2),
    "other": Kind(IpWriter),
}
