"""Every command explains itself, and stands in docs/commands.md with all of its options."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner

from pipeline.commands import NAMES, main

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]


def leaves(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from leaves(child, (*path, name))
    else:
        yield path, command


COMMANDS = dict(leaves(main, ()))


def section(name: str) -> str:
    text = (ROOT / "docs" / "commands.md").read_text("utf-8")
    return text.split(f"\n## penstock {name}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_the_help_of_each_command_ends_with_an_example_of_it(path: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, [*path, "--help"])
    assert result.exit_code == 0
    _, found, examples = result.output.replace("Examples:", "Example:").partition("Example:")
    assert found
    assert f"penstock {path[0]}" in examples


@pytest.mark.parametrize("name", NAMES)
def test_each_command_has_a_section_with_an_example(name: str) -> None:
    assert f"$ penstock {name}" in section(name)


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_each_option_is_in_the_docs(path: tuple[str, ...]) -> None:
    shared = {"--config", "--bootstrap"}
    for parameter in COMMANDS[path].params:
        for option in (*parameter.opts, *parameter.secondary_opts):
            if isinstance(parameter, click.Option) and option.startswith("--") and option not in shared:
                assert f"`{option}" in section(path[0]), option


def test_help_comes_at_once_and_loads_nothing_heavy() -> None:
    script = (
        "import sys; from pipeline.commands import main; main(['--help'], standalone_mode=False);"
        "heavy = {'numpy', 'confluent_kafka', 'faust', 'yaml', 'msgspec', 'rich', 'openvino'} & set(sys.modules);"
        "sys.exit(f'loaded: {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in NAMES:
        assert f"\n  {name} " in done.stdout


def test_a_command_that_does_not_exist_is_a_usage_error() -> None:
    result = CliRunner().invoke(main, ["serve"])
    assert result.exit_code == 2
    assert "No such command" in result.stderr


def test_versions_without_a_command_shows_them() -> None:
    result = CliRunner().invoke(main, ["versions", "digits", "--help"])
    assert result.exit_code == 0
    assert "[STREAM | STREAM/VERSION]" in result.output
