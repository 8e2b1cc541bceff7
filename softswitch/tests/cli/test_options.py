# SPDX-License-Identifier: Apache-2.0
"""The command line of simple_switch_grpc: what is accepted, ignored and refused."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest
from softswitch.options import UsageError, parse

from softswitch import logs


def refusal(*arguments: str) -> str:
    with pytest.raises(UsageError) as error:
        parse(arguments)
    return str(error.value)


def test_defaults() -> None:
    options = parse(["prog.json"])
    assert options.json_path == "prog.json"
    assert options.address == "0.0.0.0:9559"
    assert (options.device_id, options.cpu_port, options.drop_port) == (0, None, 511)


def test_mininet_style() -> None:
    options = parse(
        [
            "-i",
            "1@s1-eth1",
            "-i",
            "2@s1-eth2",
            "--nanolog",
            "ipc:///x",
            "--device-id",
            "7",
            "prog.json",
            "--log-console",
            "--thrift-port",
            "9090",
            "--",
            "--grpc-server-addr",
            "0.0.0.0:50051",
            "--cpu-port",
            "255",
        ]
    )
    assert options.interfaces == [(1, "s1-eth1"), (2, "s1-eth2")]
    assert options.device_id == 7
    assert options.json_path == "prog.json"
    assert options.log_console
    assert (options.address, options.cpu_port) == ("0.0.0.0:50051", 255)


def test_interface_without_its_own_option_is_ignored_with_a_warning() -> None:
    options = parse(["-i", "2@veth2", "3@veth4", "prog.json"])
    assert options.interfaces == [(2, "veth2")]
    assert options.json_path == "prog.json"
    assert "3@veth4" in options.warnings[0]


def test_no_p4_ignores_the_program_and_takes_target_options_directly() -> None:
    options = parse(["--no-p4", "--grpc-server-addr", "127.0.0.1:1", "prog.json"])
    assert options.json_path is None
    assert "prog.json" in options.warnings[0]
    assert options.address == "127.0.0.1:1"
    assert parse(["--no-p4", "--", "--drop-port", "5"]).drop_port == 5


def test_options_of_other_builds_have_no_effect() -> None:
    parse(
        [
            "--no-p4",
            "--thrift-port",
            "1",
            "--nanolog",
            "a",
            "--notifications-addr",
            "b",
            "--debugger",
            "--debugger-addr",
            "c",
            "--restore-state",
            "d",
            "--log-file-max-size",
            "1",
            "--log-file-max-files",
            "2",
            "--log-flush",
            "--",
            "--priority-queues",
            "8",
            "--max-l1-entries",
            "1",
            "--max-l2-entries",
            "1",
            "--disable-swap",
            "--load-modules",
            "x",
        ]
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("", "Error: please specify an input JSON configuration file"),
        ("--bogus prog.json", "unrecognised option '--bogus'"),
        ("prog.json -- --bogus", "unrecognised option '--bogus'\nTarget parser returned an error"),
        ("--no-p4 --bogus", "unrecognised option '--bogus'"),
        ("--no-p4 --log-level loud", "--log-level"),
        ("--no-p4 -i veth0", "'veth0' is not PORT@INTERFACE"),
        ("--no-p4 -i x@veth0", "'x@veth0' is not PORT@INTERFACE"),
        ("--no-p4 -i 512@veth0", "below --max-port-count (512)"),
        ("--no-p4 -i 1@a -i 1@b", "port 1 is given twice"),
        ("--no-p4 --device-id x", "--device-id"),
        ("--no-p4 -- --cpu-port 0", "Invalid CPU port 0"),
        ("--no-p4 -i 3@veth0 -- --cpu-port 3", "Cpu port 3 is used as a data port"),
        ("--no-p4 --use-files 1", "--use-files is not supported"),
        ("--no-p4 --packet-in ipc://x", "--packet-in is not supported"),
        ("--no-p4 --dump-packet-data x", "'x' is not a number"),
        ("--no-p4 -- --max-mc-groups -1", "--max-mc-groups"),
        ("--no-p4 -- --grpc-server-ssl", "needs --grpc-server-cert and --grpc-server-key"),
    ],
)
def test_refusals(arguments: str, said: str) -> None:
    assert said in refusal(*arguments.split())


def test_pcap_does_not_swallow_the_program() -> None:
    options = parse(["--pcap", "prog.json"])
    assert (options.pcap_folder, options.json_path) == (".", "prog.json")
    assert parse(["--pcap=dir", "prog.json"]).pcap_folder == "dir"
    assert parse(["prog.json"]).pcap_folder is None


def test_options_with_a_value() -> None:
    arguments = "--no-p4 --dump-packet-data 64 --dp-grpc-server-addr x:1 --max-mc-groups 5"
    options = parse(arguments.split())
    assert (options.dump_bytes, options.packet_address, options.max_groups) == (64, "x:1", 5)


@pytest.mark.parametrize(
    ("arguments", "traced"),
    [
        ("", False),
        ("--log-console", True),
        ("--log-file x -L debug", True),
        ("--log-console -L info", False),
        ("-L trace", False),
    ],
)
def test_packets_are_traced_when_there_is_a_log_for_it(arguments: str, traced: bool) -> None:
    assert parse(["--no-p4", *arguments.split()]).trace_packets == traced


@pytest.mark.parametrize(
    ("option", "said"),
    [("--help", "examples:"), ("-h", "--grpc-server-addr"), ("--version", "1.15.5"),
     ("-v", "1.15.5"), ("--json-version", "2.24")],
)  # fmt: skip
def test_texts(option: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        parse([option])
    assert exit_.value.code == 0
    assert said in capsys.readouterr().out


def test_log_lines_are_bmv2s(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger("softswitch")
    before = root.handlers[:], root.level, root.propagate
    root.handlers.clear()
    try:
        logs.configure(console=False, file=str(tmp_path / "s"), level="warn")
        root.info("quiet")
        root.error("Add port operation failed")
        text = (tmp_path / "s.txt").read_text()
    finally:
        for handler in root.handlers:
            handler.close()
        root.handlers[:], root.level, root.propagate = before
    pattern = r"\[\d\d:\d\d:\d\d\.\d{3}\] \[bmv2\] \[E\] \[thread \d+\] Add port operation failed\n"
    assert re.fullmatch(pattern, text)
    assert re.fullmatch(pattern, capsys.readouterr().err)
