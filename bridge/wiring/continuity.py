"""Does the configuration still fit what this bridge has promised?

A swap that is open names a contract, an account of ours and an asset on each of its chains. If one of them is
changed in the configuration meanwhile, or the chain is taken out, locks are left behind that nobody watches,
claims or refunds. So that is looked at whenever a process starts, and refused with the swaps named. What each
chain's name has meant so far is kept in the database, so that a chain's name always means one network: blocks
of two networks under one name would look like a reorganisation of everything.

See docs/operations/changes.md for what an operator does instead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import msgspec
import structlog

from bridge.chains.port import ChainPort
from bridge.config import ConfigError, Settings
from bridge.keys.keystore import SecretKey
from bridge.protocol.legs import UNLOCKED
from bridge.protocol.types import Address, ChainId, LockTerms, SwapId
from bridge.store import Store, Transaction
from bridge.store.repositories.identities import ChainIdentity, OpenSwap
from bridge.wiring.ports import open_port
from kernels.errors import RainbowError

log = structlog.get_logger("store")

NAMED = 20
"""The most swaps that a message names."""

HINT = "docs/operations/changes.md says how each change is made without losing a swap"
BY = "configuration"
"""Who changed an identity, in the audit trail."""


class Conflict(msgspec.Struct, frozen=True):
    """What does not fit: `problem` for people, with the swaps that it concerns named; `hint` what to do."""

    chain: ChainId
    problem: str
    hint: str

    def __str__(self) -> str:
        return f"{self.problem}; {self.hint}"


def identity_of(settings: Settings, chain: ChainId, contract: Address, account: Address) -> ChainIdentity:
    """Return what the configuration says of a chain. `account`: "" where the process holds no key."""
    return ChainIdentity(chain, settings.chains.get(chain).network_name(settings.network), contract, account)


def keyed_identities(
    settings: Settings, key_of: Callable[[ChainId], SecretKey]
) -> dict[ChainId, ChainIdentity]:
    """Return what the configuration says of each enabled chain whose section and key can be used."""
    ports: list[ChainPort] = []
    for chain in settings.enabled_chains():
        try:
            ports.append(open_port(settings, chain, key_of(chain)))
        except RainbowError:
            continue  # the relayer, and `rainbow check`, say why
    found = {port.chain: identity_of(settings, port.chain, port.contract, port.account) for port in ports}

    async def close() -> None:
        for port in ports:
            await port.close()

    asyncio.run(close())
    return found


def keyless_identities(
    settings: Settings, ports: Mapping[ChainId, ChainPort]
) -> dict[ChainId, ChainIdentity]:
    """Return what the configuration says of the chains of these ports, whose accounts are made up."""
    return {chain: identity_of(settings, chain, port.contract, Address("")) for chain, port in ports.items()}


def conflicts(
    tx: Transaction,
    settings: Settings,
    present: Mapping[ChainId, ChainIdentity],
    only: ChainId | None = None,
) -> list[Conflict]:
    """Return all that does not fit, of one chain or of all. `present`: by enabled chain what the
    configuration says of it, without those whose section or key cannot be used: that is told elsewhere."""
    swaps = tx.identities.open_swaps()
    chains = {*tx.identities.chains(), *_chains_of(swaps), *present}
    found: list[Conflict] = []
    for chain in sorted(chains if only is None else {only}):
        found += _of_chain(tx, settings, chain, present.get(chain), swaps)
    return found


def refuse_conflicts(
    store: Store,
    settings: Settings,
    present: Mapping[ChainId, ChainIdentity],
    only: ChainId | None = None,
) -> None:
    """Raise `ConfigError` with all that does not fit."""
    with store.reading() as tx:
        found = conflicts(tx, settings, present, only)
    if found:
        raise ConfigError([str(each) for each in found], HINT)


def take_up(store: Store, settings: Settings, identity: ChainIdentity) -> None:
    """Note what a chain is from now on, if everything fits. Raises `ConfigError`."""
    with store.transaction() as tx:
        found = conflicts(tx, settings, {identity.chain: identity}, identity.chain)
        if not found:
            _note(tx, identity)
    if found:
        raise ConfigError([str(each) for each in found], HINT)


def _note(tx: Transaction, identity: ChainIdentity) -> None:
    known = tx.identities.newest(identity.chain)
    if known is not None and _same(known, identity):
        return
    tx.identities.append(identity)
    if known is not None:
        changed = "; ".join(
            f"{name} {getattr(known, name) or 'none'} → {getattr(identity, name) or 'none'}"
            for name in ("contract", "account")
            if getattr(known, name) != getattr(identity, name)
        )
        tx.audit.append(BY, "chain_identity", identity.chain, changed)
        log.warning("chain_identity_changed", chain=identity.chain, change=changed)


def _same(known: ChainIdentity, identity: ChainIdentity) -> bool:
    return msgspec.structs.replace(known, first_seen_ms=0) == identity


def _chains_of(swaps: Iterable[OpenSwap]) -> set[ChainId]:
    return {terms.chain for swap in swaps for terms in _terms(swap)}


def _terms(swap: OpenSwap) -> tuple[LockTerms, LockTerms]:
    return swap.source.terms, swap.destination.terms


# -- one chain -------------------------------------------------------------------------------------------


def _of_chain(
    tx: Transaction,
    settings: Settings,
    chain: ChainId,
    present: ChainIdentity | None,
    swaps: Sequence[OpenSwap],
) -> Iterator[Conflict]:
    here = [swap for swap in swaps if any(terms.chain == chain for terms in _terms(swap))]
    sections = dict(settings.chains.items())
    if chain not in sections or not sections[chain].enabled:
        if here:
            state = "is switched off" if chain in sections else "has no section any more"
            yield Conflict(
                chain,
                f"chains.{chain} {state}, and {_named(here)} need it",
                "switch it on again and pause it until they are over",
            )
        return
    yield from _assets(settings, chain, here)
    if present is None:
        return
    known = tx.identities.newest(chain)
    if known is not None and known.network != present.network:
        yield Conflict(
            chain,
            f"chains.{chain} is now another network ({present.network}; this database knows it as "
            f"{known.network})",
            "give the other network a section with another name, or a data_dir of its own",
        )
    yield from _contract(chain, present, here)
    yield from _account(chain, present, here)
    if known is not None and known.network == present.network and _moved(known, present):
        restoring = tx.restorations.going_on()
        if restoring:
            yield Conflict(
                chain,
                f"the contract or account of chains.{chain} has changed while {len(restoring)} lost swaps "
                "are being restored",
                "put the old one back until `rainbow check` names no lost swaps any more",
            )


def _moved(known: ChainIdentity, present: ChainIdentity) -> bool:
    return known.contract != present.contract or present.account not in {"", known.account}


def _contract(chain: ChainId, present: ChainIdentity, swaps: Sequence[OpenSwap]) -> Iterator[Conflict]:
    def differs(terms: LockTerms) -> bool:
        # Terms without a contract are those of `bridge.commands.older_locks`.
        return bool(terms.contract) and terms.contract != present.contract

    for old, left in _by(chain, swaps, lambda terms: terms.contract if differs(terms) else ""):
        yield Conflict(
            chain,
            f"chains.{chain}.contract is now {present.contract or 'none'}, and {_named(left)} have their "
            f"locks in {old}",
            f"put {old} back until they are over; the new contract may have a section of another name "
            "meanwhile",
        )


def _account(chain: ChainId, present: ChainIdentity, swaps: Sequence[OpenSwap]) -> Iterator[Conflict]:
    if not present.account:
        return
    left: dict[Address, list[OpenSwap]] = {}
    for swap in swaps:
        ours = {
            swap.source.terms.chain: swap.source.terms.recipient,
            swap.destination.terms.chain: swap.destination.terms.sender,
        }[chain]
        if ours != present.account:
            left.setdefault(ours, []).append(swap)
    for old, behind in left.items():
        yield Conflict(
            chain,
            f"the key of chains.{chain} is now that of {present.account}, and {_named(behind)} can be "
            f"claimed or refunded by {old} alone",
            f"put the keystore of {old} back until they are over",
        )


def _assets(settings: Settings, chain: ChainId, swaps: Sequence[OpenSwap]) -> Iterator[Conflict]:
    listed = settings.assets_by_key()

    def unlisted(terms: LockTerms) -> str:
        return "" if listed.get(terms.asset.key) == terms.asset else terms.asset.key

    for key, left in _by(chain, swaps, unlisted):
        now = (
            "is listed with another contract or other decimals" if key in listed else "is not listed any more"
        )
        yield Conflict(
            chain,
            f"assets: {key} {now}, and {_named(left)} are in it",
            "list it as it was; `enabled = false` in [[pairs]] stops selling it",
        )
    if settings.prices.source != "static":
        return
    unlocked = [swap for swap in swaps if swap.destination.state in UNLOCKED]
    for key, left in _by(
        chain, unlocked, lambda terms: "" if terms.asset.key in settings.prices.static else terms.asset.key
    ):
        yield Conflict(
            chain,
            f"prices.static has no price for {key} any more, and {_named(left)} cannot be locked without",
            "keep its price until they are over",
        )


def _by(
    chain: ChainId, swaps: Iterable[OpenSwap], what: Callable[[LockTerms], str]
) -> Iterator[tuple[str, list[OpenSwap]]]:
    """Yield the swaps with a leg on a chain of which `what` says something, by what it says."""
    found: dict[str, list[OpenSwap]] = {}
    for swap in swaps:
        said = {what(terms) for terms in _terms(swap) if terms.chain == chain} - {""}
        for each in said:
            found.setdefault(each, []).append(swap)
    yield from sorted(found.items())


def _named(swaps: Sequence[OpenSwap]) -> str:
    names: list[SwapId] = [swap.id for swap in swaps]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{len(names)} open swaps ({', '.join(names[:NAMED])}{more})"
