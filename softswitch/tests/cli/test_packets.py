# SPDX-License-Identifier: Apache-2.0
"""What the command says and writes about packets: traces, bytes, pcap files, the packet service."""

from __future__ import annotations

import re
import signal
import socket
import struct
import time
from pathlib import Path

import grpc
import pytest
from softswitch.packet_service.messages import PacketStreamRequest, PacketStreamResponse

from .switch import LOCAL, PROGRAMS, TIMEOUT_S, Start, packet_out

TRACED = "Processing packet received on port 510"
CPU = ("--cpu-port", "510")


@pytest.mark.parametrize(
    ("options", "traced", "primitives"),
    [
        (("--log-console",), True, True),
        (("--log-console", "-L", "debug"), True, False),
        (("--log-console", "--log-level", "info"), False, False),
        (("-L", "trace"), False, False),
    ],
)
def test_packets_are_logged_at_the_levels_below_info(
    start: Start, options: tuple[str, ...], traced: bool, primitives: bool
) -> None:
    switch = start("--no-p4", *options, *LOCAL, "--cpu-port", "510")
    packet_out(switch.ready())
    _, out, _ = switch.end(signal.SIGTERM)
    assert (TRACED in out) == traced
    assert ("Transmitting packet of size 60 out of port 1" in out) == traced
    assert ("Primitive std.egress_spec = hdr.packet_out.egress_port" in out) == primitives
    head = r"\[\d\d:\d\d:\d\d\.\d{3}\] \[bmv2\] \[D\] \[thread \d+\] \[0\.0\] \[cxt 0\] "
    assert any(re.fullmatch(head + TRACED, line) for line in out.splitlines()) == traced


def test_log_file_gets_the_packets(start: Start, tmp_path: Path) -> None:
    log = tmp_path / "switch"
    switch = start("--no-p4", "--log-file", str(log), *LOCAL, "--cpu-port", "510")
    packet_out(switch.ready())
    assert TRACED not in switch.end(signal.SIGTERM)[1]
    assert TRACED in (tmp_path / "switch.txt").read_text()


def test_first_bytes_of_packets_are_logged(start: Start) -> None:
    options = ("--log-console", "-L", "info", "--dump-packet-data", "4")
    switch = start("--no-p4", *options, *LOCAL, *CPU)
    packet_out(switch.ready())
    out = switch.end(signal.SIGTERM)[1]
    assert "[I]" in out
    assert "Received packet-out of length 62 on port 510: 00800000" in out


def frames_of(path: Path) -> list[bytes]:
    """The frames of a pcap file, whose times are of this minute."""
    data = path.read_bytes()
    assert struct.unpack_from("=IHHiIII", data) == (0xA1B2C3D4, 2, 4, 0, 0, 1 << 18, 1)
    frames, at = [], 24
    while at < len(data):
        seconds, micros, length, original = struct.unpack_from("=IIII", data, at)
        assert abs(seconds - time.time()) < 60
        assert micros < 1_000_000
        assert length == original
        frames.append(data[at + 16 : at + 16 + length])
        at += 16 + length
    return frames


def test_pcap_files(start: Start, tmp_path: Path, link: tuple[str, str]) -> None:
    near, far = link
    switch = start("--no-p4", "-i", f"1@{near}", f"--pcap={tmp_path}", *LOCAL, *CPU)
    port = switch.ready()
    packet_out(port)
    frame = bytes(range(100))
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
        wire.bind((far, 0))
        wire.send(frame)
    received = tmp_path / f"{near}_in.pcap"
    end = time.monotonic() + TIMEOUT_S
    while not frames_of(received) and time.monotonic() < end:
        time.sleep(0.01)
    assert frames_of(received) == [frame]
    assert switch.end(signal.SIGTERM)[0] == -signal.SIGTERM
    assert frames_of(tmp_path / f"{near}_out.pcap") == [bytes(60)]
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"{near}_in.pcap", f"{near}_out.pcap"]


def test_pcap_folder_that_is_not_there(start: Start, tmp_path: Path, link: tuple[str, str]) -> None:
    status, _, err = start("--no-p4", "-i", f"1@{link[0]}", f"--pcap={tmp_path}/no", *LOCAL).end()
    assert status == 1
    assert "--pcap: " in err
    assert "No such file" in err


def test_packet_service_needs_no_root(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    prefix = ("setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw")
    program = str(PROGRAMS / "l2.json")
    switch = start(
        "-i", "1@eth9", program, *LOCAL, *CPU, "--dp-grpc-server-addr", address, prefix=prefix
    )
    switch.ready()
    assert "Adding interface eth9 as port 1" in switch.lines
    request = PacketStreamRequest()
    request.id, request.port = 9, 510
    request.packet = b"\x00\x80" + bytes(60)  # the program's header: to port 1
    with grpc.insecure_channel(address) as channel:
        call = channel.stream_stream(
            "/p4.bm.DataplaneInterface/PacketStream", None, PacketStreamResponse.FromString
        )
        (answer,) = call(iter([request.SerializeToString()]), timeout=TIMEOUT_S)
    assert (answer.id, answer.port, answer.packet) == (9, 1, bytes(60))
    assert switch.end(signal.SIGTERM) == (-signal.SIGTERM, "", "")


def test_packet_service_on_a_port_that_is_taken(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        options = (*LOCAL, "--dp-grpc-server-addr", address)
        status, _, err = start("--no-p4", *options).end()
    assert status == 1
    assert "already taken" in err
    assert "--dp-grpc-server-addr" in err
