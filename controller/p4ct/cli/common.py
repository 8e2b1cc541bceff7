# SPDX-License-Identifier: Apache-2.0
"""What the commands share: options, help on filters, asking and showing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from p4ct.cli import client

__all__ = ["CONTEXT", "FILTER_HELP", "WHY_HELP", "ask", "json_option", "show_answer"]

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

FILTER_HELP = """
\b
FILTER words select connections; all of them must fit:
  tcp, udp, icmp, icmpv6, sctp, gre or proto=N    src=ADDR[/BITS]  dst=ADDR[/BITS]
  sport=N  dport=N  (icmp: type=N  code=N  id=N)  of one tuple of the connection, whichever it is;
  with orig- or reply- in front of that one:      orig-src=ADDR[/BITS]  reply-dport=N
  zone=N  mark=N[/MASK]  label=N[/MASK]  state=NAME (or the name alone)  family=ipv4|ipv6
  assured  offloaded  unreplied

\b
Examples:
  p4ct conntrack {command} tcp dport=80
  p4ct conntrack {command} zone=1 src=10.0.0.0/24 ESTABLISHED
"""
WHY_HELP = FILTER_HELP.replace("conntrack {command}", "offload why")


def json_option(function: Any) -> Any:
    """Adds `--json`, passed as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


def ask(socket: Path, command: str, arguments: dict[str, Any] | None = None) -> Any:
    """The result of a command; a warning goes to standard error, so that output can be piped."""
    result, warning = client.ask(socket, command, arguments)
    if warning:
        click.echo(f"warning: {warning}", err=True)
    return result


def show_answer(answer: Any, as_json: bool, text: Any) -> None:
    """Prints the answer as JSON, or with the function `text`."""
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    else:
        text(answer)
