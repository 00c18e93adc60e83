"""`rainbow init`: a commented configuration file and encrypted keystores."""

from __future__ import annotations

import hashlib
import os
import secrets
import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Annotated

import typer

from bridge import config as configuration
from bridge.chains.errors import FamilyError
from bridge.commands import offers
from bridge.commands.joining import Joining, choose, with_family_options
from bridge.commands.output import Json, Output, speaking
from bridge.config import DEFAULT_FILE, ConfigError, Network, Settings
from bridge.keys.keystore import (
    PASSWORD_FILE_VARIABLE,
    PASSWORD_VARIABLE,
    KeyLabel,
    KeystoreError,
    SecretKey,
    devnet_key,
    find_password,
    write,
)
from bridge.keys.quote_signature import QuoteSigner
from bridge.wiring.local_chains import tools_of
from bridge.wiring.ports import account

DEVNET_PASSWORD = "devnet"  # noqa: S105 -- it guards published keys
MIN_PASSWORD = 10

_SHARED = {
    "api_port": "8080",
    "requests": "300",
    "quotes": "30",
    "lock_window": "900",
    "user_window": "900",
    "outage": "3600",
    "halt": "72000",
    "calm": "1800",
    "known": "3",
    "per_client": "3",
}
_LOCAL = {
    "requests": "6000",
    "quotes": "600",
    "lock_window": "120",
    "user_window": "300",
    "outage": "120",
    "halt": "120",
    "calm": "0",
    "known": "0",
    "per_client": "50",
}


def write_configuration(
    answers: Mapping[str, str],
    directory: Annotated[Path, typer.Option("--dir", help="Where to put everything.")] = Path(),
    network: Annotated[Network, typer.Option(help="dev, test or main.")] = Network.DEV,
    chain: Annotated[
        list[str] | None,
        typer.Option(help="NAME=FAMILY: one more chain, under a name of yours. May be repeated."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="NAME.OPTION=VALUE: an option of such a chain, e.g. its rpc."),
    ] = None,
    api_port: Annotated[int | None, typer.Option(help="Port of the API.", min=0, max=65_535)] = None,
    password_file: Annotated[
        Path | None, typer.Option(help="A private file with the keystore password; also put into the config.")
    ] = None,
    random_keys: Annotated[
        bool, typer.Option("--random-keys", help="On dev, too: fresh keys instead of the published ones.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write rainbow.toml and encrypted keystores. Nothing that exists is overwritten.

    The password comes from RAINBOW_KEYSTORE_PASSWORD, a password file, or is asked for. On dev the keys are
    published ones, guarded by the password "devnet" in keys/password: never send them real money.
    """
    with speaking(as_json) as output:
        target = directory / DEFAULT_FILE
        if target.exists():
            raise ConfigError([f"{target} exists"], "move it away first, or use --dir")
        joining = choose(network, answers, chain or [], set_ or [])
        published = network is Network.DEV and not random_keys
        password = DEVNET_PASSWORD if published else new_password(password_file, output)
        operator_key = secrets.token_urlsafe(32)
        values = {
            **_SHARED,
            **(_LOCAL if network is Network.DEV else {}),
            "network": network.value,
            "operator_digest": hashlib.sha256(operator_key.encode()).hexdigest(),
            "password_line": _password_line(directory, password_file, published=published),
            **_chains(network, joining),
        }
        if api_port is not None:
            values["api_port"] = str(api_port)
        text = Template((files("bridge.commands") / "template.toml").read_text()).substitute(values)
        configuration.parse(tomllib.loads(text), directory)  # a mistake in the options leaves no file behind
        directory.mkdir(parents=True, exist_ok=True)
        _write_new(target, text)
        settings = configuration.load(target)
        if published:
            _write_new(directory / "keys" / "password", DEVNET_PASSWORD + "\n")
        accounts = _make_keys(settings, password, published=published)
        output.result(
            {"config": str(target), "network": network.value, "operator_key": operator_key, **accounts},
            f"configuration: {target}",
            *(f"{name}: {value}" for name, value in accounts.items()),
            f"operator's key, shown this once: {operator_key}",
            "next: put money into the accounts, then `rainbow check`",
        )
        for name, section in settings.chains.items():
            if section.missing:
                output.note(f"chains.{name}.{section.missing}")


init = with_family_options(write_configuration)


def new_password(password_file: Path | None, output: Output) -> str:
    """Return the password for new keystores: from the environment, a file, or asked for twice. Raises
    `KeystoreError` for a short one."""
    asked = not (password_file or PASSWORD_VARIABLE in os.environ or PASSWORD_FILE_VARIABLE in os.environ)
    if asked and output.as_json:
        raise KeystoreError("no keystore password", f"set {PASSWORD_VARIABLE} or give --password-file")
    if asked:
        password = str(typer.prompt("Keystore password", hide_input=True, confirmation_prompt=True))
    else:
        password = find_password(password_file)
    if len(password) < MIN_PASSWORD:
        raise KeystoreError(
            f"the password is shorter than {MIN_PASSWORD} characters", "a keystore is as good as its password"
        )
    return password


def _password_line(directory: Path, password_file: Path | None, *, published: bool) -> str:
    if published:
        return 'password_file = "keys/password" # guards published keys only'
    if password_file is not None:
        return f'password_file = "{os.path.relpath(password_file, directory)}"'
    return '# password_file = "keys/password"'


def _make_keys(settings: Settings, password: str, *, published: bool) -> dict[str, str]:
    """Write all keystores; returns the accounts' addresses and the public key of quotes."""
    light = settings.network is Network.DEV
    shown: dict[str, str] = {}
    for chain, section in settings.chains.items():
        key = devnet_key(f"{chain}/bridge") if published else SecretKey.generate()
        address = account(settings, chain, key)
        label = KeyLabel(f"{chain}/bridge", settings.network.value, address, published)
        write(section.keystore, key, password, label, light=light)
        shown[f"{chain}_account"] = address
    for use, path in (("secrets/storage", settings.keys.storage), ("quotes/signer", settings.keys.quotes)):
        key = devnet_key(use) if published else SecretKey.generate()
        write(path, key, password, KeyLabel(use, settings.network.value, "", published), light=light)
        if use == "quotes/signer":
            shown["quotes_public_key"] = QuoteSigner(key).public_key
    return shown


def _chains(network: Network, joining: Sequence[Joining]) -> dict[str, str]:
    """Return the parts of the configuration that depend on which chains there are."""
    proposals = []
    for each in joining:
        tools = tools_of(each.family)
        local = tools.local_assets(each.choices.chain, each.choices.number)
        shown = local if network is Network.DEV and each.shows_token else None
        proposals.append(offers.Proposal(local.native, tools.offer(each.choices), shown))
    return {
        "chains": "".join(_section(each) for each in joining),
        "assets": offers.assets(proposals),
        "pairs": offers.pairs(proposals, network),
        "prices": offers.prices(proposals),
    }


def _section(joining: Joining) -> str:
    try:
        return tools_of(joining.family).init_section(joining.choices)
    except FamilyError as error:
        raise ConfigError([str(error)], error.hint) from None


def _write_new(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigError([f"{path} exists"], "move it away first") from None
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
