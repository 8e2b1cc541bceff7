# SPDX-License-Identifier: Apache-2.0
"""The command line of `simple_switch_grpc`, option by option."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NoReturn

BMV2_VERSION = "1.15.5"
"""What --version prints: scripts compare it with BMv2's."""
JSON_VERSION = "2.24"
LEVELS = ("trace", "debug", "info", "warn", "error", "off")

EXAMPLES = """\
examples:
  two interfaces, program pushed later over P4Runtime, CPU port 510:
    softswitch --no-p4 -i 0@veth0 -i 1@veth2 -- --cpu-port 510
  run a program at once, serve P4Runtime on another port, log to switch.log.txt:
    softswitch -i 1@eth1 -i 2@eth2 --log-file switch.log -L info prog.json \\
        -- --grpc-server-addr 127.0.0.1:50051
  see what happens to each packet: parser states, tables hit, actions (slow):
    softswitch --log-console -i 1@eth1 -i 2@eth2 prog.json
  keep every frame for tcpdump or wireshark, in cap/eth1_in.pcap, cap/eth1_out.pcap, ...:
    softswitch --pcap=cap -i 1@eth1 -i 2@eth2 prog.json
  no interfaces and no root: packets over gRPC (p4.bm.DataplaneInterface), for tests:
    softswitch --no-p4 -- --dp-grpc-server-addr 127.0.0.1:50052
  TLS, for clients with a certificate only:
    softswitch --no-p4 -- --grpc-server-ssl --grpc-server-cert server.pem \\
        --grpc-server-key server.key --grpc-server-cacert ca.pem --grpc-server-with-client-auth

Interfaces need CAP_NET_RAW: run as root, or in a user namespace (unshare --user --map-root-user
--net). Options after -- are target options.
"""


class UsageError(Exception):
    """The command line is wrong; the message goes to the user together with a hint."""


@dataclass
class Options:
    """A checked command line."""

    json_path: str | None = None
    no_p4: bool = False
    interfaces: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    device_id: int = 0
    log_console: bool = False
    log_file: str | None = None
    log_level: str = "trace"
    address: str = "0.0.0.0:9559"
    cpu_port: int | None = None
    drop_port: int = 511
    packet_address: str | None = None
    """Where the packet service listens; it then stands for every port."""
    max_groups: int = 4096
    """Multicast groups and clone sessions that may exist at a time."""
    pcap_folder: str | None = None
    dump_bytes: int = 0
    """Bytes of each frame that are logged."""
    tls: tuple[str, str, str | None, bool] | None = None
    """Certificate, key and CA files, and whether clients must authenticate."""
    warnings: list[str] = field(default_factory=list[str])

    @property
    def trace_packets(self) -> bool:
        """Is what happens to each packet to be logged? It makes forwarding slow."""
        logged = self.log_console or self.log_file is not None
        return logged and self.log_level in ("trace", "debug")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


class _Version(argparse.Action):
    def __call__(self, *_: object) -> NoReturn:
        print(self.const, flush=True)
        sys.exit(0)


def _interface(text: str) -> tuple[int, str]:
    number, at, name = text.partition("@")
    if not at or not name or not number.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not PORT@INTERFACE, like 0@veth0")
    return int(number), name


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 0 or more")
    return int(text)


def _general() -> _Parser:
    parser = _Parser(
        prog="softswitch",
        usage="softswitch [options] [prog.json] [-- target options]",
        description="P4Runtime switch for v1model programs compiled to BMv2 JSON. "
        "The command line is that of simple_switch_grpc.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        add_help=False,
    )
    add = parser.add_argument
    add("-h", "--help", action="store_true", help="show this text and exit")
    add("positional", nargs="*", metavar="prog.json", help="BMv2 JSON to run from the start")
    add("-i", "--interface", action="append", type=_interface, default=[], metavar="N@IF",
        help="attach interface IF as port N (repeatable)")  # fmt: skip
    add("--device-id", type=int, default=0, metavar="ID", help="P4Runtime device id (default 0)")
    add("--no-p4", action="store_true", help="start without a program; it is pushed later")
    add("--log-console", action="store_true", help="log to the standard output")
    add("--log-file", metavar="F", help="log to F.txt")
    add("-L", "--log-level", choices=LEVELS, default="trace",
        help="default trace: with --log-console or --log-file, each packet's way through parser,"
        " tables and actions is logged, which is slow; debug leaves primitives out, info and above"
        " log no packets and cost nothing")  # fmt: skip
    add("--log-flush", action="store_true", help="accepted; the log is always flushed")
    add("--max-port-count", type=int, default=512, metavar="N",
        help="ports are numbered below N (default 512)")  # fmt: skip
    add("--version", action=_Version, nargs=0, const=BMV2_VERSION,
        help=f"print {BMV2_VERSION}, the BMv2 version whose behaviour is followed")  # fmt: skip
    add("-v", action=_Version, nargs=0, const=BMV2_VERSION, help=argparse.SUPPRESS)
    add("--json-version", action=_Version, nargs=0, const=JSON_VERSION,
        help="print the newest BMv2 JSON version that is understood")  # fmt: skip
    add("--pcap", metavar="DIR",
        help="write every frame of interface IF to DIR/IF_in.pcap and DIR/IF_out.pcap; DIR only"
        " after '=', else the current directory")  # fmt: skip
    add("--dump-packet-data", type=_count, default=0, metavar="N",
        help="log the first N bytes of every frame, at level info")  # fmt: skip
    refused = "not supported: refused"
    add("--use-files", metavar="S", help=refused)
    add("--packet-in", metavar="ADDR", help=refused)
    for name in ("--thrift-port", "--nanolog", "--notifications-addr", "--debugger-addr",
                 "--restore-state", "--log-file-max-size", "--log-file-max-files"):  # fmt: skip
        add(name, metavar="X", help="accepted without effect")
    add("--debugger", action="store_true", help="accepted without effect")
    return parser


def _target() -> _Parser:
    parser = _Parser(prog="softswitch ... --", usage="", allow_abbrev=False, add_help=False)
    group = parser.add_argument_group("target options (after --)")
    add = group.add_argument
    add("--grpc-server-addr", default="0.0.0.0:9559", metavar="HOST:PORT",
        help="where P4Runtime is served (default 0.0.0.0:9559)")  # fmt: skip
    add("--cpu-port", type=int, metavar="N", help="port of packet-in and packet-out; not 0")
    add("--drop-port", type=int, default=511, metavar="N", help="port that drops (default 511)")
    add("--grpc-server-ssl", action="store_true", help="serve over TLS")
    add("--grpc-server-cert", metavar="F", help="TLS certificate chain (PEM)")
    add("--grpc-server-key", metavar="F", help="TLS private key (PEM)")
    add("--grpc-server-cacert", metavar="F", help="CA that client certificates are checked with")
    add("--grpc-server-with-client-auth", action="store_true",
        help="require client certificates")  # fmt: skip
    add("--dp-grpc-server-addr", metavar="HOST:PORT",
        help="carry packets over gRPC (p4.bm.DataplaneInterface) there, instead of interfaces:"
        " those given with -i are not opened, and no permission is needed")  # fmt: skip
    add("--max-mc-groups", type=_count, default=4096, metavar="N",
        help="multicast groups and clone sessions together (default 4096)")  # fmt: skip
    for name in ("--priority-queues", "--max-l1-entries", "--max-l2-entries",
                 "--load-modules"):  # fmt: skip
        add(name, metavar="X", help="accepted without effect")
    add("--disable-swap", action="store_true", help="accepted without effect")
    return parser


def help_text() -> str:
    """What --help prints."""
    target = _target().format_help().partition("target options")
    general, _, examples = _general().format_help().partition("examples:")
    return f"{general}{target[1]}{target[2]}\nexamples:{examples}"


def parse(arguments: Sequence[str]) -> Options:
    """The command line as Options; UsageError says what is wrong. Exits for --help, --version."""
    own, target = list(arguments), list[str]()
    if "--" in own:
        split = own.index("--")
        own, target = own[:split], own[split + 1 :]
    # As in BMv2, --pcap takes a directory only after "=", so that a program may follow it.
    own = ["--pcap=." if argument == "--pcap" else argument for argument in own]
    settings = argparse.Namespace()
    if "--no-p4" in own:  # target options may then stand among the others
        settings, own = _target().parse_known_args(own, settings)
    general, unknown = _general().parse_known_args(own)
    if general.help:
        print(help_text(), flush=True)
        sys.exit(0)
    if unknown:
        raise UsageError(f"unrecognised option '{unknown[0]}'")
    settings, unknown = _target().parse_known_args(target, settings)
    if unknown:
        raise UsageError(f"unrecognised option '{unknown[0]}'\nTarget parser returned an error")
    options = Options(
        no_p4=general.no_p4,
        interfaces=general.interface,
        device_id=general.device_id,
        log_console=general.log_console,
        log_file=general.log_file,
        log_level=general.log_level,
        address=settings.grpc_server_addr,
        cpu_port=settings.cpu_port,
        drop_port=settings.drop_port,
        packet_address=settings.dp_grpc_server_addr,
        max_groups=settings.max_mc_groups,
        pcap_folder=general.pcap,
        dump_bytes=general.dump_packet_data,
    )
    _check_program(options, general.positional)
    _check_ports(options, general.max_port_count)
    _check_refused(
        {
            "--use-files": general.use_files,
            "--packet-in": general.packet_in,
        }
    )
    if settings.grpc_server_ssl:
        _check_tls(options, settings)
    return options


def _check_program(options: Options, positional: list[str]) -> None:
    programs = [argument for argument in positional if "@" not in argument]
    for argument in positional:
        if "@" in argument:
            options.warnings.append(f"ignoring {argument!r}: each interface needs its own -i")
    if options.no_p4:
        if programs:
            options.warnings.append(f"ignoring {programs[0]!r} because of --no-p4")
    elif not programs:
        raise UsageError("Error: please specify an input JSON configuration file")
    else:
        options.json_path = programs[0]
        if programs[1:]:
            options.warnings.append(f"ignoring {programs[1]!r}: one program is enough")


def _check_ports(options: Options, limit: int) -> None:
    cpu = options.cpu_port
    if cpu is not None and cpu <= 0:
        raise UsageError(f"Invalid CPU port {cpu}: it must be above 0")
    taken: dict[int, str] = {}
    for number, name in options.interfaces:
        if number in taken:
            raise UsageError(f"port {number} is given twice: {taken[number]} and {name}")
        taken[number] = name
        if number == cpu:
            raise UsageError(
                f"Cpu port {cpu} is used as a data port ({number}@{name}); give one another number"
            )
        if number >= limit:
            raise UsageError(f"port {number} of {name}: must be below --max-port-count ({limit})")


def _check_refused(values: dict[str, str | None]) -> None:
    for name, value in values.items():
        if value is not None:
            raise UsageError(f"{name} is not supported; leave it out")


def _check_tls(options: Options, settings: argparse.Namespace) -> None:
    certificate, key = settings.grpc_server_cert, settings.grpc_server_key
    if not certificate or not key:
        raise UsageError("--grpc-server-ssl needs --grpc-server-cert and --grpc-server-key")
    authority, client_auth = settings.grpc_server_cacert, settings.grpc_server_with_client_auth
    if client_auth and not authority:
        raise UsageError("--grpc-server-with-client-auth needs --grpc-server-cacert")
    options.tls = (certificate, key, authority, client_auth)
