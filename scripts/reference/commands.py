"""The `rainbow` command's reference, read from the typer commands themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import typer

from bridge.chains import registry
from bridge.cli import COMMANDS, app, load
from scripts.reference.configuration import OUR_FAMILIES
from scripts.reference.markdown import code, table


@dataclass(frozen=True)
class Parameter:
    """An argument or option of a command."""

    names: tuple[str, ...]
    is_option: bool
    default: str
    help: str


@dataclass(frozen=True)
class Command:
    """A command as a user types it, without `rainbow`."""

    name: str
    help: str
    parameters: tuple[Parameter, ...]

    @property
    def options(self) -> frozenset[str]:
        """All spellings of its options."""
        return frozenset(name for one in self.parameters if one.is_option for name in one.names)


def commands() -> list[Command]:
    """Return every command and subcommand in the order of `rainbow --help`."""
    own: dict[str, Any] = vars(typer.main.get_command(app))["commands"]
    found = {name: load(name) for name in COMMANDS} | own
    return [command for name, loaded in found.items() for command in _expanded(name, loaded)]


def reference() -> str:
    """Return a table of all commands, then one section with a table for each command that takes anything."""
    everything = commands()
    overview = table(
        ("command", "what it does"), [(code(f"rainbow {one.name}"), _summary(one.help)) for one in everything]
    )
    return "\n\n".join([overview, *(_section(one) for one in everything if one.parameters)])


def _expanded(name: str, found: Any) -> Iterator[Command]:
    subcommands: dict[str, Any] = getattr(found, "commands", {})
    if not subcommands:
        yield Command(name, found.help or "", tuple(_parameters(found)))
    for sub, command in subcommands.items():
        yield from _expanded(f"{name} {sub}", command)


def _others_options() -> tuple[str, ...]:
    """Return how the options begin that `rainbow init` has for families of others that are installed."""
    tools = (
        registry.family(name).tools
        for name, points in registry.offered().items()
        if not points[0].module.startswith(OUR_FAMILIES)
    )
    return tuple(f"--{each.instance_name}-" for each in tools if each is not None)


def _parameters(command: Any) -> Iterator[Parameter]:
    for one in command.params:
        if one.hidden or "--help" in one.opts or one.opts[0].startswith(_others_options()):
            continue
        is_option = one.param_type_name == "option"
        yield Parameter((*one.opts, *one.secondary_opts), is_option, _default(one), one.help or "")


def _default(parameter: Any) -> str:
    value = parameter.default
    if parameter.required:
        return "required"
    if value is None or value is False or value == "" or callable(value) or value == ():
        return ""
    if isinstance(value, Path) and value.is_relative_to(Path.home()):
        return code(f"~/{value.relative_to(Path.home())}")  # the same on every machine
    return code(value.value if isinstance(value, Enum) else value)


def _section(command: Command) -> str:
    rows = [
        (" ".join(code(name if one.is_option else name.upper()) for name in one.names), one.default, one.help)
        for one in command.parameters
    ]
    return f"### rainbow {command.name}\n\n" + table(("", "default", "meaning"), rows)


def _summary(text: str) -> str:
    return text.partition("\n\n")[0]
