"""A chain as a plug-in: what a family of chains offers to the bridge.

A family is found by its entry point in the group `rainbow.chains` (`bridge.chains.registry`). The
configuration names instances of it: `family = "…"` in `[chains.<name>]`. All is asked for one `Instance`.
What is slow to import is imported inside the methods: a configuration is read without any chain's library.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from bridge.chains.config import ChainSection
from bridge.chains.issuer_powers import IssuerPower
from bridge.chains.local.devnet import Devnet
from bridge.chains.network import Network
from bridge.chains.port import ChainPort, WalletBuilder
from bridge.chains.traits import Traits
from bridge.keys.keystore import SecretKey
from bridge.protocol.types import Address, Amount, Asset, BlockHeight, ChainId

LOCKS = "locks"
"""The owner, in a ledger's books, of what lies in open locks."""


@dataclass(frozen=True)
class Instance:
    """One chain of a configuration: the operator's name for it, its section, and the assets on it."""

    chain: ChainId
    network: Network
    section: ChainSection
    assets: tuple[Asset, ...] = ()
    accepted: Mapping[str, frozenset[IssuerPower]] = field(default_factory=dict)
    """By an asset's contract: the powers of its issuer that the operator accepts."""

    def oldest_head(self, seconds: float) -> float:
        """Return after how many seconds an endpoint's newest block is too old: 0 (never) on a local chain,
        where blocks may come only when somebody asks for them."""
        return 0.0 if self.network is Network.DEV else seconds


class ChainFamily(Protocol):
    """A kind of chain, and how its instances are configured, opened and described."""

    @property
    def name(self) -> str:
        """The family's name in configurations: lower-case letters and digits."""
        ...

    @property
    def section(self) -> type[ChainSection]:
        """The configuration section of an instance."""
        ...

    @property
    def tools(self) -> FamilyTools | None:
        """What `rainbow devnet`, `init` and the demonstration use; None where a family has none of it."""
        ...

    def traits(self, instance: Instance) -> Traits:
        """Return what sets the instance apart. Pure."""
        ...

    def account(self, instance: Instance, key: SecretKey) -> Address:
        """Return a key's address on the instance, also where the section is not complete yet. Pure."""
        ...

    def open_port(self, instance: Instance, key: SecretKey) -> ChainPort:
        """Return the port of the account of `key`; nothing is contacted before its first use. Raises
        `PortError` for a section that makes no sense."""
        ...

    def wallet_builder(self, instance: Instance) -> WalletBuilder:
        """Return what makes transactions for a user's own wallet, on the user's side or for the API."""
        ...


# -- tools: optional -------------------------------------------------------------------------------------


class LocalChain(Devnet, Protocol):
    """A local chain whose node is a child process."""

    async def start(self) -> object:
        """Start the node, and on a fresh chain deploy what is needed."""
        ...

    def kill(self) -> None:
        """End the node at once, as `kill -9` does."""
        ...

    async def restart(self) -> None:
        """Start a killed node again, on the same port, with what it had stored."""
        ...


class Ledger(Protocol):
    """A chain as an auditor sees it: what accounts and locks hold, and what was paid in fees."""

    async def holdings(self, accounts: Mapping[str, Address], asset: Asset) -> Mapping[str, Amount]:
        """Return what each account (owner → address) holds of an asset and what lies in `LOCKS` (and, where
        there are, in deposits), smallest units."""
        ...

    async def fees_paid(self, payers: set[Address], first: BlockHeight, last: BlockHeight) -> Amount:
        """Return the native units that `payers` paid in the blocks `first` to `last`, both included."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


@dataclass(frozen=True)
class LocalAssets:
    """What a local chain deals in: its native coin, and a token where it has one."""

    native: Asset
    token: Asset | None = None

    @property
    def all(self) -> tuple[Asset, ...]:
        """Both, the coin first."""
        return (self.native,) if self.token is None else (self.native, self.token)


@dataclass(frozen=True)
class LocalInstance:
    """One local chain: its node, its assets, and how to reach it once it runs.

    `section` is what `[chains.<name>]` of a configuration says of it, `url` where it answers, `ledger` opens
    its books (given any port to read with).
    """

    chain: ChainId
    title: str
    node: LocalChain
    assets: LocalAssets
    url: str
    section: Callable[[], dict[str, Any]]
    ledger: Callable[[ChainPort], Ledger]


@dataclass(frozen=True)
class LocalPlan:
    """Where and how a local chain is to run. `port` 0 takes a free one, `block_time` is in seconds.

    `number` counts the instances of one family from 0: where networks differ by a number, each gets its own.
    """

    chain: ChainId
    directory: Path
    block_time: int = 1
    port: int = 0
    number: int = 0


@dataclass(frozen=True)
class InitOption:
    """Something `rainbow init` asks for an instance. `joins`: giving it is enough for the chain to join."""

    name: str
    help: str
    joins: bool = False


@dataclass(frozen=True)
class SampleOffer:
    """What `rainbow init` proposes for an instance's native coin; whole coins as decimal text.

    `keep` stays for fees, `price` is an example in the unit of all prices, `least` and `most` limit a swap
    that begins with it. A chain with expensive transactions sets `least_partner`: the least worth, in the
    unit of prices, that makes sense to swap into its coin.
    """

    keep: str
    price: str
    least: str
    most: int
    least_worth: str = "0"
    comment: str = ""


@dataclass(frozen=True)
class InitChoices:
    """The answers for one instance: the network, and option name → value for those that were given."""

    chain: ChainId
    network: Network
    number: int
    answers: Mapping[str, str] = field(default_factory=dict)

    def get(self, name: str, default: str = "") -> str:
        """Return an answer, or the default."""
        return self.answers.get(name, default)


class FamilyTools(Protocol):
    """What a family offers beside its adapter. A third party need not write any of it to be valid."""

    @property
    def title(self) -> str:
        """What a local node is called in a sentence: "a ZION node"."""
        ...

    @property
    def instance_name(self) -> str:
        """What the first instance is called when nobody names it."""
        ...

    @property
    def always_joins(self) -> bool:
        """Whether `rainbow init` writes the chain's section without being asked."""
        ...

    @property
    def init_options(self) -> Sequence[InitOption]:
        """What `rainbow init` asks for an instance."""
        ...

    def init_section(self, choices: InitChoices) -> str:
        """Return the commented text of `[chains.<name>]` with its timing, TOML."""
        ...

    def offer(self, choices: InitChoices) -> SampleOffer:
        """Return what `rainbow init` proposes for the native coin."""
        ...

    def local_assets(self, chain: ChainId, number: int = 0) -> LocalAssets:
        """Return what a local instance of this name and number deals in. Pure."""
        ...

    def local_chain(self, plan: LocalPlan) -> LocalInstance:
        """Make a local chain, not started yet. Raises `PortError` with a hint when the machine lacks it."""
        ...


SectionKind = TypeVar("SectionKind", bound=ChainSection)


def section_of(instance: Instance, kind: type[SectionKind]) -> SectionKind:
    """Return an instance's section as its family's own class. Raises TypeError for another family's."""
    if not isinstance(instance.section, kind):
        raise TypeError(f"chains.{instance.chain} is no {kind.__name__}")
    return instance.section
