"""From the configuration to the chains' ports and wallets, through each chain's family."""

from __future__ import annotations

from bridge.chains.port import ChainPort, WalletBuilder
from bridge.config import Settings
from bridge.keys.keystore import SecretKey
from bridge.protocol.types import Address, ChainId


def open_port(settings: Settings, chain: ChainId, key: SecretKey) -> ChainPort:
    """Return the port of the account of `key`. Nothing is contacted before its first use.

    Raises ValueError for a chain without a section, and what the adapter raises for a nonsensical one.
    """
    return settings.chains.family(chain).open_port(settings.instance(chain), key)


def account(settings: Settings, chain: ChainId, key: SecretKey) -> Address:
    """Return a key's address on a chain, also where the chain's section is not complete yet."""
    return settings.chains.family(chain).account(settings.instance(chain), key)


def keyless_ports(settings: Settings) -> dict[ChainId, ChainPort]:
    """Return what every enabled chain's adapter can do in a process that holds no key.

    The adapters want some account; they get one that is made up here and forgotten.
    """
    return {chain: open_port(settings, chain, SecretKey.generate()) for chain in settings.enabled_chains()}


def wallet_builder(settings: Settings, chain: ChainId) -> WalletBuilder:
    """Return what makes transactions for a user's wallet, on the user's side or for the API.

    Where the terms alone do not say what to sign it looks at the chain: for a recent block, inputs or
    sequences; and it may make a secret that only the sender may have (`WalletBuilder.private`).
    """
    return settings.chains.family(chain).wallet_builder(settings.instance(chain))
