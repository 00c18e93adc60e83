"""Reads the configuration: one TOML file plus environment.

The file is `--config`, else `$RAINBOW_CONFIG`, else `./rainbow.toml`. Environment variables override it:
`RAINBOW_` + the path of the key in capitals joined by two underscores, e.g. `RAINBOW_API__PORT=9000`;
lists and tables are given as JSON. Unknown keys are refused, in the file and in the environment.

Money in the file is written as decimal text in whole coins ("0.5"), never as a float.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_settings import SettingsError

from bridge.chains import registry
from bridge.chains.config import CHAIN_NAME
from bridge.chains.errors import FamilyError
from bridge.config.checks import nearest, problems
from bridge.config.errors import ConfigError
from bridge.config.sections import DatabaseConfig
from bridge.config.settings import ENV_PREFIX, ChainsConfig, Settings, settings_class

CONFIG_VARIABLE = "RAINBOW_CONFIG"
DEFAULT_FILE = "rainbow.toml"
OTHER_VARIABLES = frozenset(
    {
        CONFIG_VARIABLE,
        "RAINBOW_KEYSTORE_PASSWORD",
        "RAINBOW_KEYSTORE_PASSWORD_FILE",
        "RAINBOW_API_URL",
        "RAINBOW_ANVIL",
        "RAINBOW_NODE_MODULES",
        "RAINBOW_CLIENT_TOKEN",
        "RAINBOW_RECOVERY_DIR",
        "RAINBOW_RECOVERY_PASSWORD",
    }
)
"""Variables with our prefix that are not configuration keys."""

_FAMILY_VARIABLE = re.compile(rf"{ENV_PREFIX}CHAINS__([A-Z][A-Z0-9]{{1,15}})__FAMILY")


def find_file(path: Path | None = None) -> Path:
    """Return the configuration file to use; raises `ConfigError` when there is none."""
    chosen = path or Path(os.environ.get(CONFIG_VARIABLE) or DEFAULT_FILE)
    if not chosen.is_file():
        raise ConfigError(
            [f"no configuration file {chosen}"],
            f"`rainbow init` writes one; or name yours with --config or {CONFIG_VARIABLE}",
        )
    return chosen.absolute()


def load(path: Path | None = None) -> Settings:
    """Read, check and freeze the configuration. Raises `ConfigError` naming every problem at once.

    Relative paths inside the file are taken from the file's own directory.
    """
    file = find_file(path)
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError([f"{file}: {error}"], "the file must be TOML") from None
    return parse(content, file.parent)


def parse(content: Mapping[str, Any], base: Path) -> Settings:
    """Check a configuration given as nested tables; relative paths start at `base`."""
    content, families, found = _choose_families(content, os.environ)
    kind = settings_class(families)
    found += _unknown_variables(kind, os.environ)
    try:
        settings = kind(**content)
    except ValidationError as error:
        found += [_explain(kind, item) for item in error.errors()]
        raise ConfigError(found, "docs/configuration.md explains every key") from None
    except (SettingsError, TypeError) as error:
        raise ConfigError([*found, f"environment: {error}"], "lists and tables are given as JSON") from None
    found += problems(settings)
    if found:
        raise ConfigError(found, "docs/configuration.md explains every key")
    return _absolute(settings, base)


def _choose_families(
    content: Mapping[str, Any], environment: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, str], list[str]]:
    """Return the content without unreadable chains, name → family of the others, and the problems."""
    chains = content.get("chains", {})
    if not isinstance(chains, Mapping):
        return {**content, "chains": {}}, {}, ["chains: must be tables, [chains.<name>]"]
    named = {
        found[1].lower(): family
        for variable, family in environment.items()
        if (found := _FAMILY_VARIABLE.fullmatch(variable))
    }
    families: dict[str, str] = {}
    found_problems: list[str] = []
    for name in dict.fromkeys([*chains, *named]):
        table = chains.get(name, {})
        family = named.get(name) or (table.get("family") if isinstance(table, Mapping) else None) or name
        if not re.fullmatch(CHAIN_NAME, name):
            found_problems.append(
                f"chains.{name}: a chain's name has 2 to 16 lower-case letters and digits, a letter first"
            )
            continue
        if hasattr(ChainsConfig, name):
            found_problems.append(f"chains.{name}: this name has a meaning of its own here; choose another")
            continue
        try:
            registry.family(str(family))
        except FamilyError as error:
            found_problems.append(f"chains.{name}: {error} ({error.hint})")
            continue
        families[name] = str(family)
    kept = {name: table for name, table in chains.items() if name in families}
    return {**content, "chains": kept}, families, found_problems


def _absolute(settings: Settings, base: Path) -> Settings:
    keys = settings.keys
    chains = settings.chains
    password = keys.password_file
    database = settings.database
    url = database.url.get_secret_value()
    if match := re.fullmatch(r"(sqlite(?:\+\w+)?):///(?!/)(?!:memory:)(.+)", url):
        database = DatabaseConfig(url=SecretStr(f"{match[1]}:///{base / match[2]}"))
    return settings.model_copy(
        update={
            "data_dir": base / settings.data_dir,
            "database": database,
            "keys": keys.model_copy(
                update={
                    "password_file": base / password if password else None,
                    "storage": base / keys.storage,
                    "quotes": base / keys.quotes,
                }
            ),
            "chains": chains.model_copy(
                update={
                    str(chain): section.model_copy(update=section.located(base))
                    for chain, section in chains.items()
                }
            ),
        }
    )


def _explain(kind: type[Settings], item: Any) -> str:
    path = [str(part) for part in item["loc"]]
    where = ".".join(path)
    if item["type"] == "extra_forbidden":
        return f"{where}: unknown key{nearest(path[-1], _keys_at(kind, path[:-1]))}"
    if item["type"] == "missing":
        return f"{where}: missing"
    message = str(item["msg"]).removeprefix("Value error, ")
    return f"{where}: {message}" if where else message


def _keys_at(kind: type[Settings], path: list[str]) -> list[str]:
    """Return the key names allowed in the section at `path`."""
    model: Any = kind
    for part in path:
        if part.isdigit():
            continue
        for name, field in model.model_fields.items():
            if part in (name, field.alias):
                model = _section_of(field.annotation)
                break
        else:
            return []
        if model is None:
            return []
    return [field.alias or name for name, field in model.model_fields.items()]


def _section_of(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        if (found := _section_of(argument)) is not None:
            return found
    return None


def _unknown_variables(kind: type[Settings], environment: Mapping[str, str]) -> Iterator[str]:
    for name in sorted(environment):
        if not name.startswith(ENV_PREFIX) or name in OTHER_VARIABLES:
            continue
        path = name.removeprefix(ENV_PREFIX).lower().split("__")
        for depth, part in enumerate(path):
            allowed = _keys_at(kind, path[:depth])
            if part not in allowed:
                known = [ENV_PREFIX + "__".join([*path[:depth], key]).upper() for key in allowed]
                if allowed or depth == 0:
                    yield f"{name}: unknown variable{nearest(name, [*known, *OTHER_VARIABLES])}"
                    break
