"""`rainbow init`: a commented configuration file and encrypted keystores."""

from __future__ import annotations

import hashlib
import os
import secrets
import tomllib
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Annotated

import typer

from bridge import config as configuration
from bridge.commands import offers
from bridge.commands.output import Json, Output, speaking
from bridge.config import DEFAULT_FILE, ConfigError, Network, Settings
from bridge.desk.quotes import QuoteSigner
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
from bridge.protocol import instances
from bridge.protocol.types import ChainId
from bridge.wiring.local_chains import CARDANO_ZERO_TIME
from bridge.wiring.ports import open_port

DEVNET_PASSWORD = "devnet"  # noqa: S105 -- it guards published keys
MIN_PASSWORD = 10

_SHARED = {
    "ethereum_ws": "",
    "api_port": "8080",
    "requests": "300",
    "quotes": "30",
    "lock_window": "900",
    "user_window": "3600",
    "outage": "3600",
    "per_client": "3",
    "zion_poll": "5.0",
    "ethereum_poll": "3.0",
    "zion_value": "50",
    "zion_cap": "120",
}
_OF_NETWORK = {
    Network.MAIN: {"zion_rpc": "http://127.0.0.1:18081", "ethereum_chain_id": "1"},
    Network.TEST: {"zion_rpc": "http://127.0.0.1:28081", "ethereum_chain_id": "11155111"},
    Network.DEV: {
        "zion_rpc": "http://127.0.0.1:38081",
        "ethereum_chain_id": "31337",
        "ethereum_ws": "ws://127.0.0.1:8545",
        "requests": "6000",
        "quotes": "600",
        "lock_window": "120",
        "user_window": "300",
        "outage": "120",
        "per_client": "50",
        "zion_poll": "0.5",
        "ethereum_poll": "0.5",
        "zion_cap": "12",
        "zion_value": "50000",
    },
}


def init(
    directory: Annotated[Path, typer.Option("--dir", help="Where to put everything.")] = Path(),
    network: Annotated[Network, typer.Option(help="dev, test or main.")] = Network.DEV,
    zion_rpc: Annotated[str | None, typer.Option(help="URL of your ZION node.")] = None,
    ethereum_rpc: Annotated[str | None, typer.Option(help="URL of your Ethereum node.")] = None,
    ethereum_ws: Annotated[str | None, typer.Option(help="Its WebSocket, optional.")] = None,
    ethereum_contract: Annotated[str | None, typer.Option(help="Address of the HTLC contract.")] = None,
    solana_rpc: Annotated[
        str | None, typer.Option(help="URL of a Solana RPC: Solana joins. Without it, it does not.")
    ] = None,
    solana_ws: Annotated[str | None, typer.Option(help="Its WebSocket, optional.")] = None,
    solana_program: Annotated[str | None, typer.Option(help="Address of the HTLC program.")] = None,
    stellar_horizon: Annotated[
        str | None, typer.Option(help="URL of a Horizon server: Stellar joins. Without it, it does not.")
    ] = None,
    cardano_blockfrost: Annotated[
        str | None, typer.Option(help="URL of a Blockfrost service: Cardano joins. Without it, it does not.")
    ] = None,
    cardano_ogmios: Annotated[
        str | None, typer.Option(help="URL of Ogmios (ws://…): Cardano joins through your own node.")
    ] = None,
    cardano_kupo: Annotated[str | None, typer.Option(help="URL of the Kupo that goes with it.")] = None,
    cardano_reference_script: Annotated[
        str | None, typer.Option(help="The output that carries the validator, <transaction id>#<index>.")
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
        published = network is Network.DEV and not random_keys
        password = _password(password_file, output, published=published)
        operator_key = secrets.token_urlsafe(32)
        values = {
            **_SHARED,
            **_OF_NETWORK[network],
            "network": network.value,
            "ethereum_rpc": ethereum_rpc or "http://127.0.0.1:8545",
            "ethereum_contract": ethereum_contract or "",
            "operator_digest": hashlib.sha256(operator_key.encode()).hexdigest(),
            "password_line": _password_line(directory, password_file, published=published),
        }
        if network is Network.DEV and not ethereum_contract:
            values["ethereum_contract"] = _devnet_contract()
        for name, given in (("zion_rpc", zion_rpc), ("ethereum_ws", ethereum_ws), ("api_port", api_port)):
            if given is not None:
                values[name] = str(given)
        if ethereum_rpc and ethereum_ws is None:
            values["ethereum_ws"] = ""
        joining: dict[ChainId, dict[str, str]] = {}
        if solana_rpc:
            joining[instances.SOLANA] = _solana(network, solana_rpc, solana_ws, solana_program)
        if stellar_horizon:
            joining[instances.STELLAR] = {"horizon": stellar_horizon}
        services = {"blockfrost": cardano_blockfrost, "ogmios": cardano_ogmios, "kupo": cardano_kupo}
        if any(services.values()):
            joining[instances.CARDANO] = _cardano(network, services, cardano_reference_script)
        values.update(_offers(network, joining))
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
        for section in (settings.chains.ethereum, settings.chains.solana):
            if section is not None and not section.contract:
                name = section.chain
                output.note(f"chains.{name}.contract is empty: deploy the HTLC and fill it in")


def _password(password_file: Path | None, output: Output, *, published: bool) -> str:
    if published:
        return DEVNET_PASSWORD
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
        address = _account(settings, chain, key)
        label = KeyLabel(f"{chain}/bridge", settings.network.value, address, published)
        write(section.keystore, key, password, label, light=light)
        shown[f"{chain}_account"] = address
    for use, path in (("secrets/storage", settings.keys.storage), ("quotes/signer", settings.keys.quotes)):
        key = devnet_key(use) if published else SecretKey.generate()
        write(path, key, password, KeyLabel(use, settings.network.value, "", published), light=light)
        if use == "quotes/signer":
            shown["quotes_public_key"] = QuoteSigner(key).public_key
    return shown


def _account(settings: Settings, chain: ChainId, key: SecretKey) -> str:
    """Return the address of a key; an Ethereum configuration without its contract still has one."""
    if chain == instances.ETHEREUM:
        from eth_account import Account

        return str(Account.from_key(key.reveal()).address)
    return open_port(settings, chain, key).account


def _devnet_contract() -> str:
    from relayers.evm.artifacts import deployed_address

    return deployed_address()


def _offers(network: Network, joining: dict[ChainId, dict[str, str]]) -> dict[str, str]:
    """Return the parts of the configuration that depend on which chains there are."""
    chains = [instances.ZION, instances.ETHEREUM, *joining]
    token_asset, token_pair, token_price = _token() if network is Network.DEV else ("", "", "")
    values = {
        "more_chains": "".join(offers.section(chain, network, values) for chain, values in joining.items()),
        "assets": offers.assets(chains) + token_asset,
        "pairs": offers.pairs(chains, network) + token_pair,
        "prices": offers.prices(chains) + token_price,
    }
    for chain in (instances.ZION, instances.ETHEREUM):
        numbers = offers.timing(chain, network)
        values |= {
            f"{chain}_interval": str(numbers.block_interval),
            f"{chain}_base": str(numbers.finality_depth),
            f"{chain}_inclusion": str(numbers.inclusion_p99),
            f"{chain}_skew": str(numbers.clock_skew),
        }
    return values


def _token() -> tuple[str, str, str]:
    """Return the devnet's ERC-20 as asset, pair and price."""
    from relayers.evm.devnet.demo_token import asset

    token = asset()
    return (
        f'\n[[assets]]\nchain = "ethereum"\nsymbol = "{token.symbol}"\ndecimals = {token.decimals}\n'
        f'contract = "{token.contract}"\n',
        offers.pair(token.key, offers.COINS[instances.ZION].key, "1", "10000"),
        f'"{token.key}" = "1"\n',
    )


def _solana(network: Network, rpc: str, ws: str | None, program: str | None) -> dict[str, str]:
    """Return Solana's values; on dev the program is where the local chain has it."""
    if program is None and network is Network.DEV:
        from relayers.solana.devnet.local import PROGRAM

        program = str(PROGRAM)
    return {"rpc": rpc, "ws": ws or "", "program": program or ""}


def _cardano(
    network: Network, services: dict[str, str | None], reference_script: str | None
) -> dict[str, str]:
    """Return Cardano's values; on dev the validator is where the local chain has it."""
    if reference_script is None and network is Network.DEV:
        from relayers.cardano.devnet.treasury import REFERENCE_SCRIPT

        reference_script = REFERENCE_SCRIPT
    return {
        **{name: url or "" for name, url in services.items()},
        "reference_script": reference_script or "",
        "zero_time": str(CARDANO_ZERO_TIME if network is Network.DEV else 0),
        "ttl": "300" if network is Network.DEV else "1200",
        "margin": "30" if network is Network.DEV else "1200",
    }


def _write_new(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigError([f"{path} exists"], "move it away first") from None
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
