"""The family `cardano`: Cardano's networks through Blockfrost, or Ogmios and Kupo."""

from __future__ import annotations

from enum import StrEnum
from itertools import zip_longest
from typing import Annotated

from pydantic import Field, SecretStr, model_validator

from bridge.chains.config import SECONDS_PER_DAY, ChainSection, TimingConfig, timing_from
from bridge.chains.config_fields import DecimalText, HttpUrl, WebSocketUrl, matching, to_units
from bridge.chains.family import Instance, section_of
from bridge.chains.network import Network
from bridge.chains.port import ChainPort, WalletBuilder
from bridge.chains.traits import Traits
from bridge.keys.keystore import SecretKey
from bridge.protocol.types import Address
from relayers.cardano import timing
from relayers.cardano.settings import CardanoSettings
from relayers.cardano.settings import Network as CardanoNetwork
from relayers.cardano.tools import CardanoTools
from relayers.cardano.traits import TRAITS
from relayers.cardano.wallet_keys import CardanoKeys

OutputRef = Annotated[str, matching(r"[0-9a-f]{64}#\d{1,5}", 'output, written "<transaction id>#<index>"')]


OLDEST_HEAD = 600.0
"""Seconds. A slot of one second has a block with a chance of 1/20 (activeSlotsCoeff of the public networks):
so many without one are seen once in 10^13 tries."""


class CardanoTestnet(StrEnum):
    """Cardano's public test networks."""

    PREPROD = "preprod"
    PREVIEW = "preview"


class CardanoSection(ChainSection):
    """Cardano through a Blockfrost service, or through Ogmios and Kupo at your own node."""

    nodes_key = "blockfrost_url"
    native_decimals = 6
    issued_contract = r"[0-9a-f]{56}([0-9a-f]{2}){0,32}"
    issued_words = "policy id and asset name in hex, lower case, without a dot"

    blockfrost_url: HttpUrl = ""
    """A Blockfrost service: the address up to, not including, `/blocks/…`. The public service's ends in
    `/api/v0`."""
    project_id: SecretStr = SecretStr("")
    """Blockfrost's key; better given as an environment variable."""
    ogmios_url: WebSocketUrl = ""
    """Ogmios at your own node, with `kupo_url`. It is asked first; `blockfrost_url` may be left out then, or
    be the second service."""
    kupo_url: HttpUrl = ""
    """Kupo at your own node."""
    other_blockfrost_urls: tuple[HttpUrl, ...] = ()
    """More Blockfrost services. What moves money is then asked of two, which must say the same; transactions
    go to all."""
    other_project_ids: tuple[SecretStr, ...] = ()
    """Their keys in the same order, "" for none; or leave all out."""
    testnet: CardanoTestnet = CardanoTestnet.PREPROD
    """`preprod` or `preview`: which one `network = "test"` means. A service of another network is refused."""
    reference_script: OutputRef = ""
    """The output that carries the validator, `<transaction id>#<index>`. "": each claim and refund carries
    it, which costs more."""
    zero_time: int = Field(0, ge=0)
    """Unix seconds of the first slot, on `dev` alone: those of the public networks are known."""
    poll_interval: float = Field(5.0, ge=0.05, le=300)
    max_fee: DecimalText = "2"
    """The highest fee of one transaction, whole ADA."""
    time_to_live: int = Field(1_200, ge=60, le=SECONDS_PER_DAY)
    """Seconds after which a transaction of ours that was not included can no longer be."""
    rollback_margin: int = Field(1_200, ge=0, le=SECONDS_PER_DAY)
    """Seconds beyond that in which a roll-back might still bring a lock into a block."""

    @property
    def urls(self) -> tuple[str, ...]:
        """The services that show the chain."""
        named = (self.blockfrost_url, self.kupo_url, self.ogmios_url, *self.other_blockfrost_urls)
        return tuple(url for url in named if url)

    @model_validator(mode="after")
    def _whole_services(self) -> CardanoSection:
        if bool(self.ogmios_url) is not bool(self.kupo_url):
            raise ValueError("ogmios_url and kupo_url go together: give both or neither")
        if self.other_project_ids and len(self.other_project_ids) != len(self.other_blockfrost_urls):
            raise ValueError(
                'give one of other_project_ids for each of other_blockfrost_urls, or "" for none'
            )
        return self

    def network_name(self, network: Network) -> str:
        """See `ChainSection.network_name`."""
        return self.testnet.value if network is Network.TEST else network.value

    def default_timing(self, network: Network) -> TimingConfig:  # noqa: ARG002 - all networks alike
        """See `ChainSection.default_timing`."""
        return timing_from(timing.PUBLIC)


class CardanoFamily:
    """See `bridge.chains.family.ChainFamily`."""

    name = "cardano"
    section = CardanoSection
    tools = CardanoTools()
    wallet_keys = CardanoKeys()

    def traits(self, instance: Instance) -> Traits:  # noqa: ARG002 - the same for all
        """See `ChainFamily.traits`."""
        return TRAITS

    def account(self, instance: Instance, key: SecretKey) -> Address:
        """See `ChainFamily.account`."""
        from relayers.cardano.adapter import account_of

        return account_of(settings_of(instance), key.reveal())

    def open_port(self, instance: Instance, key: SecretKey) -> ChainPort:
        """See `ChainFamily.open_port`."""
        from relayers.cardano.adapter import open_port

        return open_port(settings_of(instance), key.reveal())

    def wallet_builder(self, instance: Instance) -> WalletBuilder:
        """See `ChainFamily.wallet_builder`: it needs the wallet's outputs."""
        from relayers.cardano.wallet import CardanoWallet

        return CardanoWallet(settings_of(instance))


def settings_of(instance: Instance) -> CardanoSettings:
    """Return what the adapter and wallets need."""
    section = section_of(instance, CardanoSection)
    network = {
        Network.MAIN: CardanoNetwork.MAINNET,
        Network.TEST: CardanoNetwork(section.testnet.value),
        Network.DEV: CardanoNetwork.DEV,
    }
    keys = [key.get_secret_value() for key in section.other_project_ids]
    others = zip_longest(section.other_blockfrost_urls, keys, fillvalue="")
    return CardanoSettings(
        chain=instance.chain,
        blockfrost_url=section.blockfrost_url,
        network=network[instance.network],
        project_id=section.project_id.get_secret_value(),
        ogmios_url=section.ogmios_url,
        kupo_url=section.kupo_url,
        reference_script=section.reference_script,
        assets=instance.assets,
        zero_time=section.zero_time,
        time_to_live=section.time_to_live,
        rollback_margin=section.rollback_margin,
        max_fee=to_units(section.max_fee, section.native_decimals),
        timeout=section.rpc_timeout,
        poll_interval=section.poll_interval,
        other_blockfrosts=tuple(others),
        max_head_age=instance.oldest_head(OLDEST_HEAD),
    )


FAMILY = CardanoFamily()
