"""`rainbow keys …`: a user's own keys on every chain, in encrypted keystores."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.commands.output import ConfigFile, Json, Output, WrongUsageError, speaking
from bridge.commands.user import WRONG_KEYSTORE_HINT, check_named_config
from bridge.protocol.types import ChainId

if TYPE_CHECKING:
    from bridge.chains.family import ChainFamily, Instance
    from bridge.chains.wallet_keys import WalletKeys
    from bridge.config import Settings
    from bridge.keys.keystore import SecretKey

app = typer.Typer(
    no_args_is_help=True,
    help="Your own keys on every chain, in keystores with a password. Swaps take them with --keystore.",
)

DEFAULT_KEYS = Path.home() / ".rainbow" / "keys"
SUFFIX = ".json"

Chain = Annotated[str, typer.Argument(help="A chain of the configuration, or a kind of chain, e.g. stellar.")]
NewFile = Annotated[
    Path | None, typer.Option("--out", "-o", help="The new file; by default in ~/.rainbow/keys.")
]


class NetworkName(StrEnum):
    """As `bridge.chains.network.Network`, which is slow to import."""

    DEV = "dev"
    TEST = "test"
    MAIN = "main"


OnNetwork = Annotated[
    NetworkName | None, typer.Option("--network", help="Needed where there is no configuration.")
]
Existing = Annotated[Path, typer.Argument(help="The keystore.")]
NewPassword = Annotated[
    Path | None, typer.Option("--password-file", help="A private file with the keystore's password.")
]


@app.command()
def new(
    chain: Chain,
    out: NewFile = None,
    password_file: NewPassword = None,
    network: OnNetwork = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Make a key and write it to a new keystore; prints its address. Nothing is overwritten."""
    from bridge.keys.keystore import SecretKey

    with speaking(as_json) as output:
        _store(_settings(config, network), chain, SecretKey.generate(), out, password_file, output)


@app.command(name="import")
def import_key(
    chain: Chain,
    source: Annotated[
        str, typer.Option("--from", help='A private file with what the wallet exported; "-": standard input.')
    ] = "-",
    out: NewFile = None,
    password_file: NewPassword = None,
    network: OnNetwork = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Take a key that a wallet of the chain exported into a new keystore."""
    from bridge.keys.keystore import KeystoreError, check_private

    with speaking(as_json) as output:
        settings = _settings(config, network)
        keys = _wallet_keys(_family(settings, chain), chain)
        if source == "-":
            text = _typed(f"{chain} key ({keys.form})")
        else:
            check_private(Path(source), "check the path given with --from")
            text = Path(source).read_text()
        try:
            key = keys.key(text)
        except ValueError as error:
            raise KeystoreError(f"this is not a key of {chain}: {error}", f"it takes {keys.form}") from None
        _store(settings, chain, key, out, password_file, output)


@app.command()
def export(
    keystore: Existing,
    password_file: NewPassword = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Print a key as wallets of its chain import it. Anybody who sees it can spend all that it holds."""
    from bridge.keys.keystore import KeystoreError, check_private, find_password, load, read_label

    with speaking(as_json) as output:
        check_private(keystore, "check the path")
        label = read_label(keystore)
        chain = label.use.partition("/")[0]
        if not chain:
            raise KeystoreError(
                f"{keystore} does not say of which chain its key is", "open it with the wallet that made it"
            )
        settings = _settings(config, NetworkName(label.network) if label.network else None)
        keys = _wallet_keys(_family(settings, chain), chain)
        network = label.network or settings.network.value
        password = find_password(password_file)
        text = keys.text(load(keystore, password, network, password_hint=WRONG_KEYSTORE_HINT))
        output.result({"chain": chain, "address": label.address, "form": keys.form, "key": text}, text)


@app.command(name="list")
def list_keys(
    directory: Annotated[Path, typer.Argument(help="Where keystores are kept.")] = DEFAULT_KEYS,
    as_json: Json = False,
) -> None:
    """List keystores with chain, network and address; needs no password."""
    from bridge.keys.keystore import KeystoreError, read_label

    with speaking(as_json) as output:
        found: list[dict[str, str]] = []
        lines: list[str] = []
        for file in sorted(directory.glob(f"*{SUFFIX}")) if directory.is_dir() else ():
            try:
                label = read_label(file)
            except KeystoreError as error:
                found.append({"file": str(file), "trouble": error.message})
                lines.append(f"{file.name}: {error.message}")
                continue
            chain = label.use.partition("/")[0]
            found.append(
                {"file": str(file), "chain": chain, "network": label.network, "address": label.address}
            )
            lines.append(f"{file.name}: {chain or 'unknown'} ({label.network or 'any network'})")
            lines.append(f"  {label.address}")
        output.result({"keys": found}, *(lines or [f"no keystores in {directory}"]))


def _store(
    settings: Settings,
    chain: str,
    key: SecretKey,
    out: Path | None,
    password_file: Path | None,
    output: Output,
) -> None:
    from bridge.chains.network import Network
    from bridge.commands.init import new_password
    from bridge.keys.keystore import KeyLabel, KeystoreError, write

    family, instance = _family(settings, chain), _instance(settings, chain)
    address = family.account(instance, key)
    file = out or _free_file(chain)
    if file.exists():
        raise KeystoreError(f"there is a file {file} already", "choose another name with --out")
    label = KeyLabel(f"{chain}/user", settings.network.value, address)
    password = new_password(password_file, output)
    write(file, key, password, label, light=settings.network is Network.DEV)
    output.result(
        {"chain": chain, "file": str(file), "address": address},
        address,
        f"the key is in {file}; keep a copy of the file and its password: nobody can bring them back",
    )


def _free_file(chain: str) -> Path:
    """Return where a key of a chain is kept by default; with a number where there is one already."""
    file, number = DEFAULT_KEYS / f"{chain}{SUFFIX}", 1
    while file.exists():
        number += 1
        file = DEFAULT_KEYS / f"{chain}-{number}{SUFFIX}"
    return file


def _settings(config: Path | None, network: NetworkName | None) -> Settings:
    """Return the configuration; where there is none, one without chains on the network that was named."""
    from bridge import config as configuration
    from bridge.config import ConfigError

    check_named_config(config)
    try:
        file = configuration.find_file(config)
    except ConfigError as error:
        if network is None:
            raise WrongUsageError(
                f"for which network? {error.problems[0]}", "say --network main, test or dev"
            ) from None
        return configuration.Settings(network=configuration.Network(network.value))
    found = configuration.load(file)
    if network is not None and network.value != found.network.value:
        raise WrongUsageError(
            f"the configuration is for network {found.network.value}, not {network.value}",
            "leave --network out, or name another configuration",
        )
    return found


def _family(settings: Settings, chain: str) -> ChainFamily:
    """Return the family of a configured chain, or the one that is called so. Raises `FamilyError`."""
    from bridge.chains import registry

    if chain in dict(settings.chains.items()):
        return settings.chains.family(ChainId(chain))
    return registry.family(chain)


def _instance(settings: Settings, chain: str) -> Instance:
    from bridge.chains.family import Instance

    name = ChainId(chain)
    if chain in dict(settings.chains.items()):
        return settings.instance(name)
    return Instance(name, settings.network, _family(settings, chain).section())


def _wallet_keys(family: ChainFamily, chain: str) -> WalletKeys:
    from bridge.chains.wallet_keys import HasWalletKeys

    if not isinstance(family, HasWalletKeys):
        raise WrongUsageError(
            f"{chain} has no other form of a key than the keystore", "copy the keystore and its password"
        )
    return family.wallet_keys


def _typed(what: str) -> str:
    """Return what is typed without showing it, or what comes through a pipe."""
    import getpass

    return getpass.getpass(f"{what}: ") if sys.stdin.isatty() else sys.stdin.read()
