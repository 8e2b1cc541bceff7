# SPDX-License-Identifier: Apache-2.0
"""Frames to fields and back: parse, build, text. No I/O."""

from p4ct.packet.parse import Packet, parse
from p4ct.packet.tcp_options import TcpOptions, tcp_options

__all__ = ["Packet", "TcpOptions", "parse", "tcp_options"]
