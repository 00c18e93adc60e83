"""From the configuration to the chains' adapters: the one place that knows which one serves which."""

from __future__ import annotations

from typing import Protocol

from bridge.config import EthereumConfig, Network, Settings, StellarConfig, ZionConfig, to_units
from bridge.engine.service import OfflinePort
from bridge.protocol.types import Asset, Chain, LockTerms, Preimage, Purpose
from relayers.keystore import SecretKey
from relayers.port import ChainPort, UnsignedTx

GWEI = 10**9


def open_port(settings: Settings, chain: Chain, key: SecretKey) -> ChainPort:
    """Return the port of the account of `key`. Nothing is contacted before its first use."""
    config = settings.chains.get(chain)
    assets = tuple(entry.asset for entry in settings.assets if entry.chain is chain)
    if isinstance(config, EthereumConfig):
        return _ethereum(config, assets, key)
    if isinstance(config, StellarConfig):
        return _stellar(settings.network, config, assets, key)
    return _zion(settings, config, key)


def offline_ports(settings: Settings) -> dict[Chain, OfflinePort]:
    """Return the pure part of every enabled chain's adapter, for a process that holds no key.

    The adapters want some account; they get one that is made up here and forgotten.
    """
    return {chain: open_port(settings, chain, SecretKey.generate()) for chain in settings.enabled_chains()}


class WalletBuilder(Protocol):
    """Makes what a user's own wallet signs, on the user's side."""

    async def unsigned(
        self, purpose: Purpose, terms: LockTerms, preimage: Preimage | None = None
    ) -> UnsignedTx:
        """Return a LOCK, CLAIM or REFUND, ready to sign."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


class _PureBuilder:
    """Where the terms alone say what to sign, the adapter's own `unsigned` does."""

    def __init__(self, port: ChainPort) -> None:
        self._port = port

    async def unsigned(
        self, purpose: Purpose, terms: LockTerms, preimage: Preimage | None = None
    ) -> UnsignedTx:
        return self._port.unsigned(purpose, terms, preimage)

    async def close(self) -> None:
        await self._port.close()


def wallet_builder(settings: Settings, chain: Chain) -> WalletBuilder:
    """Return what makes transactions for a user's wallet; on Stellar it looks at the ledger and makes the
    gate's key, which nobody but the sender may have."""
    config = settings.chains.get(chain)
    if isinstance(config, StellarConfig):
        from relayers.stellar.wallet import Wallet

        return Wallet(config.horizon_url, stellar_passphrase(settings.network, config), config.rpc_timeout)
    return _PureBuilder(open_port(settings, chain, SecretKey.generate()))


def _ethereum(config: EthereumConfig, assets: tuple[Asset, ...], key: SecretKey) -> ChainPort:
    from relayers.ethereum.adapter import open_port as open_ethereum
    from relayers.ethereum.fees import FeeCaps
    from relayers.ethereum.settings import EthereumSettings

    caps = FeeCaps(
        ordinary=config.max_fee_per_gas_gwei * GWEI,
        urgent=config.urgent_max_fee_per_gas_gwei * GWEI,
        priority=config.max_priority_fee_per_gas_gwei * GWEI,
    )
    settings = EthereumSettings(
        rpc_urls=config.rpc_urls,
        chain_id=config.chain_id,
        contract=config.contract,
        ws_url=config.ws_url,
        assets=assets,
        caps=caps,
        timeout=config.rpc_timeout,
        poll_interval=config.poll_interval,
    )
    return open_ethereum(settings, key.reveal())


def _stellar(network: Network, config: StellarConfig, assets: tuple[Asset, ...], key: SecretKey) -> ChainPort:
    from relayers.stellar.adapter import open_port as open_stellar
    from relayers.stellar.settings import DECIMALS, FeeCaps, StellarSettings

    return open_stellar(
        StellarSettings(
            horizon_url=config.horizon_url,
            passphrase=stellar_passphrase(network, config),
            assets=assets,
            channels=config.channels,
            caps=FeeCaps(maximum=to_units(config.max_fee_per_operation, DECIMALS)),
            request_timeout=config.rpc_timeout,
        ),
        key.reveal(),
    )


def stellar_passphrase(network: Network, config: StellarConfig) -> str:
    """Return the passphrase of the Stellar network that a configuration means."""
    from stellar_sdk import Network as StellarNetwork

    if config.passphrase:
        return config.passphrase
    return {
        Network.MAIN: StellarNetwork.PUBLIC_NETWORK_PASSPHRASE,
        Network.TEST: StellarNetwork.TESTNET_NETWORK_PASSPHRASE,
        Network.DEV: StellarNetwork.STANDALONE_NETWORK_PASSPHRASE,
    }[network]


def _zion(settings: Settings, config: ZionConfig, key: SecretKey) -> ChainPort:
    from chain.params import Network
    from relayers.zion.adapter import open_port as open_zion
    from relayers.zion.settings import ZION, ZionSettings

    return open_zion(
        ZionSettings(
            rpc_urls=config.rpc_urls,
            network=Network(settings.network.value),
            max_fee=to_units(config.max_fee, ZION.decimals),
            urgent_max_fee=to_units(config.urgent_max_fee, ZION.decimals),
            timeout=config.rpc_timeout,
            poll_interval=config.poll_interval,
        ),
        key.reveal(),
    )
