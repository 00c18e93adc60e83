"""`rainbow init`: a commented configuration file and encrypted keystores."""

from __future__ import annotations

import hashlib
import os
import secrets
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Annotated

import typer

from bridge import config as configuration
from bridge.commands.output import Json, Output, speaking
from bridge.config import DEFAULT_FILE, ConfigError, Network, Settings
from bridge.engine.quotes import QuoteSigner
from bridge.ports import open_port
from bridge.protocol.types import Chain
from relayers.keystore import (
    PASSWORD_FILE_VARIABLE,
    PASSWORD_VARIABLE,
    KeyLabel,
    KeystoreError,
    SecretKey,
    devnet_key,
    find_password,
    write,
)

DEVNET_PASSWORD = "devnet"  # noqa: S105 -- it guards published keys
MIN_PASSWORD = 10

_SHARED = {
    "ethereum_ws": "",
    "token_asset": "",
    "token_pair": "",
    "token_price": "",
    "stellar_chain": "",
    "stellar_asset": "",
    "stellar_pairs": "",
    "stellar_price": "",
    "api_port": "8080",
    "requests": "300",
    "quotes": "30",
    "lock_window": "900",
    "user_window": "3600",
    "outage": "3600",
    "per_client": "3",
    "max_eth": "1",
    "min_zion": "5",
    "max_zion": "4000",
    "zion_poll": "5.0",
    "ethereum_poll": "3.0",
    "zion_interval": "60",
    "zion_value": "50",
    "zion_cap": "120",
    "zion_inclusion": "600",
    "zion_skew": "600",
    "ethereum_interval": "12",
    "ethereum_base": "96",
    "ethereum_inclusion": "120",
    "ethereum_skew": "24",
}
_OF_NETWORK = {
    Network.MAIN: {"zion_rpc": "http://127.0.0.1:18081", "ethereum_chain_id": "1", "zion_base": "10"},
    Network.TEST: {"zion_rpc": "http://127.0.0.1:28081", "ethereum_chain_id": "11155111", "zion_base": "6"},
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
        "max_eth": "10",
        "max_zion": "40000",
        "zion_poll": "0.5",
        "ethereum_poll": "0.5",
        "zion_interval": "1",
        "zion_base": "4",
        "zion_cap": "12",
        "zion_value": "50000",
        "zion_inclusion": "5",
        "zion_skew": "15",
        "ethereum_interval": "1",
        "ethereum_base": "3",
        "ethereum_inclusion": "5",
        "ethereum_skew": "2",
    },
}


_STELLAR_CHAIN = """
[chains.stellar]
enabled = true
horizon_url = "$horizon"  # Horizon 2.31 or newer; the passphrase follows from the network
keystore = "keys/stellar.json"
poll_interval = $poll
channels = 0                    # accounts that lend their sequences: about one for each lock in five seconds
max_fee_per_operation = "1"     # XLM, the highest bid when ledgers are full

[chains.stellar.timing]
block_interval = $interval
finality_base = 1               # a closed ledger is final
finality_cap = 1
inclusion_p99 = $inclusion
clock_skew = $skew
"""
_STELLAR_ASSET = """
[[assets]]                      # issued assets: contract = "CODE:ISSUER", decimals = 7
chain = "stellar"
symbol = "XLM"
decimals = 7
keep = "20"
"""
_STELLAR_PAIRS = """
[[pairs]]
from = "stellar:XLM"
to = "zion:ZION"
spread_ppm = 3000
min = "50"
max = "20000"
gasless = true

[[pairs]]
from = "zion:ZION"
to = "stellar:XLM"
spread_ppm = 3000
min = "$min_zion"
max = "$max_zion"
gasless = true                  # a claim on Stellar needs the recipient's signature too: the API asks for it

[[pairs]]
from = "stellar:XLM"
to = "ethereum:ETH"
spread_ppm = 3000
min = "500"
max = "20000"
gasless = true

[[pairs]]
from = "ethereum:ETH"
to = "stellar:XLM"
spread_ppm = 3000
min = "0.001"
max = "$max_eth"
gasless = true
"""


def init(
    directory: Annotated[Path, typer.Option("--dir", help="Where to put everything.")] = Path(),
    network: Annotated[Network, typer.Option(help="dev, test or main.")] = Network.DEV,
    zion_rpc: Annotated[str | None, typer.Option(help="URL of your ZION node.")] = None,
    ethereum_rpc: Annotated[str | None, typer.Option(help="URL of your Ethereum node.")] = None,
    ethereum_ws: Annotated[str | None, typer.Option(help="Its WebSocket, optional.")] = None,
    ethereum_contract: Annotated[str | None, typer.Option(help="Address of the HTLC contract.")] = None,
    stellar_horizon: Annotated[
        str | None, typer.Option(help="URL of a Horizon server: Stellar joins. Without it, it does not.")
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
        values.update(_token() if network is Network.DEV else {})
        if network is Network.DEV and not ethereum_contract:
            values["ethereum_contract"] = _devnet_contract()
        for name, given in (("zion_rpc", zion_rpc), ("ethereum_ws", ethereum_ws), ("api_port", api_port)):
            if given is not None:
                values[name] = str(given)
        if ethereum_rpc and ethereum_ws is None:
            values["ethereum_ws"] = ""
        if stellar_horizon:
            values.update(_stellar(stellar_horizon, network, values))
        text = Template((files("bridge.commands") / "template.toml").read_text()).substitute(values)
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
        if not values["ethereum_contract"]:
            output.note("chains.ethereum.contract is empty: deploy the HTLC contract and fill it in")


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
        key = devnet_key(f"{chain.value}/bridge") if published else SecretKey.generate()
        address = _account(settings, chain, key)
        label = KeyLabel(f"{chain.value}/bridge", settings.network.value, address, published)
        write(section.keystore, key, password, label, light=light)
        shown[f"{chain.value}_account"] = address
    for use, path in (("secrets/storage", settings.keys.storage), ("quotes/signer", settings.keys.quotes)):
        key = devnet_key(use) if published else SecretKey.generate()
        write(path, key, password, KeyLabel(use, settings.network.value, "", published), light=light)
        if use == "quotes/signer":
            shown["quotes_public_key"] = QuoteSigner(key).public_key
    return shown


def _account(settings: Settings, chain: Chain, key: SecretKey) -> str:
    """Return the address of a key; an Ethereum configuration without its contract still has one."""
    if chain is Chain.ETHEREUM:
        from eth_account import Account

        return str(Account.from_key(key.reveal()).address)
    return open_port(settings, chain, key).account


def _devnet_contract() -> str:
    from relayers.ethereum.artifacts import deployed_address

    return deployed_address()


def _token() -> dict[str, str]:
    """Return the devnet's ERC-20 as asset, pair and price."""
    from relayers.ethereum.demo_token import asset

    token = asset()
    return {
        "token_asset": (
            f'\n[[assets]]\nchain = "ethereum"\nsymbol = "{token.symbol}"\ndecimals = {token.decimals}\n'
            f'contract = "{token.contract}"\n'
        ),
        "token_pair": (
            f'\n[[pairs]]\nfrom = "{token.key}"\nto = "zion:ZION"\nspread_ppm = 3000\n'
            'min = "1"\nmax = "10000"\ngasless = true\n'
        ),
        "token_price": f', "{token.key}" = "1"',
    }


def _stellar(horizon: str, network: Network, values: dict[str, str]) -> dict[str, str]:
    """Return Stellar's parts of the configuration: the chain, XLM, its pairs and price."""
    dev = network is Network.DEV
    timing = {
        "horizon": horizon,
        "poll": "0.5" if dev else "2.0",
        "interval": "1" if dev else "6",
        "inclusion": "5" if dev else "60",
        "skew": "15" if dev else "60",
    }
    return {
        "stellar_chain": Template(_STELLAR_CHAIN).substitute(timing),
        "stellar_asset": _STELLAR_ASSET,
        "stellar_pairs": Template(_STELLAR_PAIRS).substitute(values),
        "stellar_price": ', "stellar:XLM" = "0.25"',
    }


def _write_new(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigError([f"{path} exists"], "move it away first") from None
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
