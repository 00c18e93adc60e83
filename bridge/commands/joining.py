"""Which chains join a new configuration: what `rainbow init` was told about them.

Each family's tools say what is asked. For the family's first instance every question is an option of the
command, `--<name>-<question>`; any chain beyond that is named with `--chain` and answered with `--set`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from bridge.chains import registry
from bridge.chains.config import CHAIN_NAME
from bridge.chains.errors import FamilyError
from bridge.chains.family import FamilyTools, InitChoices
from bridge.chains.network import Network
from bridge.config import ConfigError
from bridge.protocol.types import ChainId
from bridge.wiring.local_chains import tools_of


@dataclass(frozen=True)
class Joining:
    """A chain that joins: its family, and what was answered for it."""

    family: str
    choices: InitChoices
    shows_token: bool = False
    """Whether the local chain's token is offered too."""


def with_family_options(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command with the options that the installed families add to it.

    Those that were given reach it as its argument `answers`, by `option_name`.
    """
    questions = {
        option_name(tools, question.name): (f"--{tools.instance_name}-{question.name}", question.help)
        for _, tools in _with_tools()
        for question in tools.init_options
    }
    fixed = [
        parameter
        for parameter in inspect.signature(command, eval_str=True).parameters.values()
        if parameter.name != "answers"
    ]
    added = [
        inspect.Parameter(
            name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=None,
            annotation=Annotated[str | None, typer.Option(flag, help=help_text)],
        )
        for name, (flag, help_text) in questions.items()
    ]

    def extended(**arguments: Any) -> None:
        given = {name: value for name in questions if (value := arguments.pop(name, None)) is not None}
        command(answers=given, **arguments)

    extended.__doc__ = command.__doc__
    extended.__signature__ = inspect.Signature([*fixed, *added])  # type: ignore[attr-defined]
    extended.__annotations__ = {each.name: each.annotation for each in (*fixed, *added)}
    return extended


def option_name(tools: FamilyTools, question: str) -> str:
    """Return the name under which an answer for a family's first instance is kept."""
    return f"{tools.instance_name}_{question.replace('-', '_')}"


def choose(
    network: Network, given: Mapping[str, str], chains: Sequence[str], answers: Sequence[str]
) -> list[Joining]:
    """Return the chains that join, those that always do first. Raises `ConfigError` for nonsense."""
    more = dict(_named(chains))
    told = _answers(answers)
    joining: list[Joining] = []
    counted: dict[str, int] = {}
    for family, tools in _with_tools():
        flags = {
            question.name: given[name]
            for question in tools.init_options
            if (name := option_name(tools, question.name)) in given
        }
        if tools.instance_name in more:  # named with --chain; its options say the same as --set
            told[tools.instance_name] = flags | told.get(tools.instance_name, {})
            continue
        own = flags | told.pop(tools.instance_name, {})
        _refuse_unknown(tools.instance_name, family, own)
        asked_for = any(question.joins and own.get(question.name) for question in tools.init_options)
        if tools.always_joins or asked_for:
            choices = InitChoices(ChainId(tools.instance_name), network, 0, own)
            joining.append(Joining(family, choices, shows_token=tools.always_joins))
            counted[family] = 1
    joining.sort(key=lambda each: not tools_of(each.family).always_joins)
    for name, family in more.items():
        number = counted.get(family, 0)
        counted[family] = number + 1
        own = told.pop(name, {})
        _refuse_unknown(name, family, own)
        joining.append(Joining(family, InitChoices(ChainId(name), network, number, own)))
    if told:
        unknown = ", ".join(sorted(told))
        raise ConfigError([f"--set names no chain that joins: {unknown}"], "name it with --chain NAME=FAMILY")
    return joining


def _with_tools() -> Iterator[tuple[str, FamilyTools]]:
    """Yield the installed families that `rainbow init` can ask about, those that always join first."""
    found = [(name, family.tools) for name, family in registry.families().items() if family.tools is not None]
    yield from sorted(found, key=lambda each: (not each[1].always_joins, each[0]))


def _named(chains: Sequence[str]) -> Iterator[tuple[str, str]]:
    for text in chains:
        name, _, family = text.partition("=")
        if not re.fullmatch(CHAIN_NAME, name) or not family:
            raise ConfigError(
                [f"--chain {text}: write NAME=FAMILY"],
                "a name has 2 to 16 lower-case letters and digits, e.g. --chain base=evm",
            )
        try:
            tools_of(family)
        except FamilyError as error:
            raise ConfigError([f"--chain {text}: {error}"], error.hint) from None
        yield name, registry.family(family).name


def _answers(texts: Sequence[str]) -> dict[str, dict[str, str]]:
    told: dict[str, dict[str, str]] = {}
    for text in texts:
        found = re.fullmatch(rf"({CHAIN_NAME})\.([a-z-]+)=(.*)", text)
        if found is None:
            raise ConfigError(
                [f"--set {text}: write NAME.OPTION=VALUE"], "e.g. --set base.rpc=http://127.0.0.1:8645"
            )
        told.setdefault(found[1], {})[found[2]] = found[3]
    return told


def _refuse_unknown(name: str, family: str, answers: Mapping[str, str]) -> None:
    known = [question.name for question in tools_of(family).init_options]
    for question in answers:
        if question not in known:
            raise ConfigError(
                [f"--set {name}.{question}: {family} has no such option"], f"it has {', '.join(known)}"
            )
