"""From the configuration to the chains' adapters: the one place that knows which one serves which."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from bridge.chains.config import CardanoConfig, EthereumConfig, SolanaConfig, StellarConfig, ZionConfig
from bridge.chains.port import ChainPort, UnsignedTx, WalletBuilder
from bridge.config import Network, Settings, to_units
from bridge.keys.keystore import SecretKey
from bridge.protocol import instances
from bridge.protocol.types import Asset, ChainId, LockTerms, Preimage, Purpose

if TYPE_CHECKING:
    from bridge.desk.orders import KeylessPort
    from relayers.cardano.settings import CardanoSettings
    from relayers.solana.settings import SolanaSettings

GWEI = 10**9


def open_port(settings: Settings, chain: ChainId, key: SecretKey) -> ChainPort:
    """Return the port of the account of `key`. Nothing is contacted before its first use.

    Raises ValueError for a chain without a section, and what the adapter raises for a nonsensical one.
    """
    return _OPENERS[chain](settings, key)


def keyless_ports(settings: Settings) -> dict[ChainId, KeylessPort]:
    """Return what every enabled chain's adapter can do in a process that holds no key.

    The adapters want some account; they get one that is made up here and forgotten.
    """
    return {chain: open_port(settings, chain, SecretKey.generate()) for chain in settings.enabled_chains()}


class _PureBuilder:
    """Where the terms alone say what to sign, the adapter's own `unsigned` does."""

    private: frozenset[Purpose] = frozenset()

    def __init__(self, port: ChainPort) -> None:
        self._port = port

    async def unsigned(
        self, purpose: Purpose, terms: LockTerms, preimage: Preimage | None = None
    ) -> UnsignedTx:
        return self._port.unsigned(purpose, terms, preimage)

    async def close(self) -> None:
        await self._port.close()


def wallet_builder(settings: Settings, chain: ChainId) -> WalletBuilder:
    """Return what makes transactions for a user's wallet, on the user's side or for the API.

    Where the terms alone do not say what to sign it looks at the chain: for a recent block (Solana), inputs
    (Cardano), or sequences (Stellar, where it also makes the gate's key, which only the sender may have).
    """
    if chain in _WALLETS:
        return _WALLETS[chain](settings)
    return _PureBuilder(open_port(settings, chain, SecretKey.generate()))


def _assets(settings: Settings, chain: ChainId) -> tuple[Asset, ...]:
    return tuple(entry.asset for entry in settings.assets if entry.chain == chain)


# The adapters' modules are imported when they are needed: each brings its chain's library, a second or two.


def _zion(settings: Settings, key: SecretKey) -> ChainPort:
    from chain.params import Network as ZionNetwork
    from relayers.zion.adapter import open_port as open_zion
    from relayers.zion.settings import ZION, ZionSettings

    config = settings.chains.of(ZionConfig)
    return open_zion(
        ZionSettings(
            rpc_urls=config.rpc_urls,
            network=ZionNetwork(settings.network.value),
            max_fee=to_units(config.max_fee, ZION.decimals),
            urgent_max_fee=to_units(config.urgent_max_fee, ZION.decimals),
            timeout=config.rpc_timeout,
            poll_interval=config.poll_interval,
        ),
        key.reveal(),
    )


def _ethereum(settings: Settings, key: SecretKey) -> ChainPort:
    from relayers.evm.adapter import open_port as open_ethereum
    from relayers.evm.fees import FeeCaps
    from relayers.evm.settings import EvmSettings

    config = settings.chains.of(EthereumConfig)
    return open_ethereum(
        EvmSettings(
            rpc_urls=config.rpc_urls,
            chain=instances.ETHEREUM,
            chain_id=config.chain_id,
            contract=config.contract,
            ws_url=config.ws_url,
            assets=_assets(settings, instances.ETHEREUM),
            caps=FeeCaps(
                ordinary=config.max_fee_per_gas_gwei * GWEI,
                urgent=config.urgent_max_fee_per_gas_gwei * GWEI,
                priority=config.max_priority_fee_per_gas_gwei * GWEI,
            ),
            timeout=config.rpc_timeout,
            poll_interval=config.poll_interval,
        ),
        key.reveal(),
    )


def _solana(settings: Settings, key: SecretKey) -> ChainPort:
    from relayers.solana.adapter import open_port as open_solana

    return open_solana(solana_settings(settings), key.reveal())


def solana_settings(settings: Settings) -> SolanaSettings:
    """Return what Solana's adapter and wallets need. Raises ValueError without [chains.solana]."""
    from relayers.solana.settings import DEVNET_GENESIS, MAINNET_GENESIS, SolanaFees, SolanaSettings

    config = settings.chains.of(SolanaConfig)
    # Solana's public network for developers is called devnet; its testnet is for validators.
    genesis = {Network.MAIN: MAINNET_GENESIS, Network.TEST: DEVNET_GENESIS, Network.DEV: ""}
    return SolanaSettings(
        rpc_urls=config.rpc_urls,
        program=config.contract,
        genesis_hash=config.genesis_hash or genesis[settings.network],
        ws_url=config.ws_url,
        assets=_assets(settings, instances.SOLANA),
        fees=SolanaFees(
            minimum=config.min_unit_price,
            maximum=config.max_unit_price,
            urgent_maximum=config.urgent_max_unit_price,
        ),
        timeout=config.rpc_timeout,
        poll_interval=config.poll_interval,
        index_lag=config.index_lag,
    )


def _stellar(settings: Settings, key: SecretKey) -> ChainPort:
    from relayers.stellar.adapter import open_port as open_stellar
    from relayers.stellar.settings import DECIMALS, FeeCaps, StellarSettings

    config = settings.chains.of(StellarConfig)
    return open_stellar(
        StellarSettings(
            horizon_url=config.horizon_url,
            passphrase=stellar_passphrase(settings.network, config),
            assets=_assets(settings, instances.STELLAR),
            channels=config.channels,
            caps=FeeCaps(maximum=to_units(config.max_fee_per_operation, DECIMALS)),
            request_timeout=config.rpc_timeout,
        ),
        key.reveal(),
    )


def _solana_wallet(settings: Settings) -> WalletBuilder:
    from relayers.solana.wallet import Wallet

    return Wallet(solana_settings(settings))


def _cardano_wallet(settings: Settings) -> WalletBuilder:
    from relayers.cardano.wallet import Wallet

    return Wallet(cardano_settings(settings))


def _stellar_wallet(settings: Settings) -> WalletBuilder:
    from relayers.stellar.wallet import Wallet

    config = settings.chains.of(StellarConfig)
    return Wallet(config.horizon_url, stellar_passphrase(settings.network, config), config.rpc_timeout)


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


def _cardano(settings: Settings, key: SecretKey) -> ChainPort:
    from relayers.cardano.adapter import open_port as open_cardano

    return open_cardano(cardano_settings(settings), key.reveal())


def cardano_settings(settings: Settings) -> CardanoSettings:
    """Return what Cardano's adapter and wallets need. Raises ValueError without [chains.cardano]."""
    from relayers.cardano.settings import ADA, CardanoSettings
    from relayers.cardano.settings import Network as CardanoNetwork

    config = settings.chains.of(CardanoConfig)
    network = {
        Network.MAIN: CardanoNetwork.MAINNET,
        Network.TEST: CardanoNetwork(config.testnet.value),
        Network.DEV: CardanoNetwork.DEV,
    }
    return CardanoSettings(
        blockfrost_url=config.blockfrost_url,
        network=network[settings.network],
        project_id=config.project_id.get_secret_value(),
        ogmios_url=config.ogmios_url,
        kupo_url=config.kupo_url,
        reference_script=config.reference_script,
        assets=_assets(settings, instances.CARDANO),
        zero_time=config.zero_time,
        time_to_live=config.time_to_live,
        rollback_margin=config.rollback_margin,
        max_fee=to_units(config.max_fee, ADA.decimals),
        timeout=config.rpc_timeout,
        poll_interval=config.poll_interval,
    )


_OPENERS: dict[ChainId, Callable[[Settings, SecretKey], ChainPort]] = {
    instances.ZION: _zion,
    instances.ETHEREUM: _ethereum,
    instances.SOLANA: _solana,
    instances.STELLAR: _stellar,
    instances.CARDANO: _cardano,
}
_WALLETS: dict[ChainId, Callable[[Settings], WalletBuilder]] = {
    instances.SOLANA: _solana_wallet,
    instances.STELLAR: _stellar_wallet,
    instances.CARDANO: _cardano_wallet,
}
"""Where a wallet's transaction needs a look at the chain; elsewhere the adapter's own `unsigned` does."""
