# SPDX-License-Identifier: Apache-2.0
"""The help and docs/cli.md against the commands that there are."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from p4ct.cli import main

DOCS = Path(__file__).parents[3] / "docs"
CLI_PAGE = DOCS / "cli.md"


def walk(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    yield " ".join(("p4ct", *path)), command
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            yield from walk(child, (*path, name))


COMMANDS = dict(walk(main))


def found(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that a line names, and what follows it; options of p4ct itself are skipped."""
    command: click.Command = main
    while words and isinstance(command, click.Group):
        if words[0].startswith("-"):
            words = words[2:]
            continue
        assert words[0] in command.commands, f"no command {words[0]}"
        command, words = command.commands[words[0]], words[1:]
    return command, words


def check_line(line: str) -> None:
    """Fails if click would not take this command line."""
    words = shlex.split(line)
    assert words[0] == "p4ct"
    command, rest = found(words[1:])
    context = click.Context(command, resilient_parsing=False)
    parser = command.make_parser(context)
    values, left, _ = parser.parse_args(args=list(rest))
    for parameter in command.params:
        if isinstance(parameter, click.Argument) and parameter.required:
            assert values.get(parameter.name) not in (None, ()), f"{line}: no {parameter.name}"
    assert not left, f"{line}: {left} is too much"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_says_what_and_shows_an_example_that_works(name: str) -> None:
    result = CliRunner().invoke(main, [*name.split()[1:], "--help"])
    assert result.exit_code == 0
    examples = re.findall(r"^ +(p4ct .*?)(?:  .*)?$", result.output, re.MULTILINE)
    assert examples, "no example"
    for line in examples:
        check_line(line)
    own = name if name in ("p4ct conntrack", "p4ct offload", "p4ct flows") else f"{name} "
    assert any(f"{line} ".startswith(own) for line in examples)


@pytest.mark.parametrize(
    "name", [name for name, command in COMMANDS.items() if isinstance(command, click.Group)]
)
def test_lists_of_commands_are_not_cut_off(name: str) -> None:
    result = CliRunner().invoke(main, [*name.split()[1:], "--help"])
    assert "..." not in result.output.partition("Commands:")[2]


@pytest.mark.parametrize("name", [n for n, c in COMMANDS.items() if not isinstance(c, click.Group)])
def test_every_command_and_option_is_in_the_docs(name: str) -> None:
    text = CLI_PAGE.read_text()
    heading = re.search(rf"^### `{re.escape(name)}( [^`]*)?`$", text, re.MULTILINE)
    assert heading, f"docs/cli.md has no heading for {name}"
    section = text[heading.start() :].partition("\n### ")[0]
    for parameter in COMMANDS[name].params:
        if isinstance(parameter, click.Argument):
            assert parameter.human_readable_name in heading.group(0)
        else:
            assert any(f"`{option}" in section for option in parameter.opts), parameter.opts


def test_options_of_p4ct_itself_are_in_the_docs() -> None:
    text = CLI_PAGE.read_text().partition("\n### ")[0]
    for parameter in main.params:
        assert any(f"`{option}" in text for option in parameter.opts), parameter.opts
    for code in ("0", "1", "2"):
        assert re.search(rf"^\| {code} \|", text, re.MULTILINE), f"exit code {code}"


def test_the_docs_name_no_command_that_is_not_there() -> None:
    for name in re.findall(r"^### `(p4ct [^`]*)`$", CLI_PAGE.read_text(), re.MULTILINE):
        words = [word for word in name.split()[1:] if word.islower()]
        assert "p4ct " + " ".join(words) in COMMANDS


@pytest.mark.parametrize("page", ["cli.md", "configuration.md", "troubleshooting.md"])
def test_command_lines_in_the_docs_are_taken(page: str) -> None:
    text = (DOCS / page).read_text()
    blocks = re.findall(r"^```(?:sh|console)?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [
        line.removeprefix("$ ").partition("  #")[0]
        for block in blocks
        for line in block.splitlines()
        if line.removeprefix("$ ").startswith("p4ct ")
    ]
    assert lines or page != "cli.md"
    for line in lines:
        check_line(line.partition(" | ")[0])
