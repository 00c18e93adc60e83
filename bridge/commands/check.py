"""`rainbow check`: what is reachable, funded and misconfigured, each with a hint."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import typer

from bridge import config as configuration
from bridge.chains.endpoints.reports import Examinable
from bridge.chains.errors import PortError, PortUnavailableError
from bridge.chains.port import ChainPort
from bridge.chains.upkeep import KeepsAlive
from bridge.commands.older_locks import HINT, described, without_contract
from bridge.commands.output import ConfigFile, Exit, Json, plain, speaking
from bridge.commands.runtime import KeyRing, price_source
from bridge.config import Network, Settings, to_text, to_units
from bridge.keys.keystore import KeystoreError, check_private
from bridge.protocol.legs import UNPROVEN
from bridge.protocol.types import Asset, ChainId, SwapId
from bridge.wiring.ports import open_port

if TYPE_CHECKING:
    from bridge.chains.config import ChainSection
    from bridge.store import Store
    from bridge.store.repositories.identities import ChainIdentity

PATIENCE = 15.0
"""Seconds given to each chain."""


NAMED_SECRETS = 5
"""The most unreadable secrets that the report names."""


class Level(StrEnum):
    """How a check ended. Only FAIL makes the exit code 1."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Finding(msgspec.Struct, frozen=True):
    """One line of the report."""

    what: str
    level: Level
    detail: str
    hint: str = ""


_COLOURS = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "bold red"}


def check(config: ConfigFile = None, as_json: Json = False) -> None:
    """Check configuration, keys, database, chains, balances, clocks and prices. Changes nothing.

    Exit code 0: all well (perhaps with warnings); 1: something failed; 3: the configuration is unreadable.
    """
    with speaking(as_json) as output:
        settings = configuration.load(config)
        findings = list(_findings(settings))
        failed = [finding for finding in findings if finding.level is Level.FAIL]
        output.result(
            {"ok": not failed, "network": settings.network.value, "findings": msgspec.to_builtins(findings)},
            *map(_line, findings),
            f"{len(failed)} failed of {len(findings)} checks",
        )
        if failed:
            raise typer.Exit(int(Exit.FAILED))


def _line(finding: Finding) -> str:
    hint = f"\n      → {plain(finding.hint)}" if finding.hint else ""
    level = f"[{_COLOURS[finding.level]}]{finding.level.value:<4}[/]"
    return f"{level}  [bold]{finding.what}[/]: {plain(finding.detail)}{hint}"


def _findings(settings: Settings) -> Iterator[Finding]:
    yield Finding("configuration", Level.OK, f"network {settings.network.value}")
    yield from _api(settings)
    yield from _database(settings)
    yield from _prices(settings)
    ring = KeyRing(settings)
    yield _key("storage key", settings.keys.storage, ring.storage)
    yield from _secrets(settings, ring)
    yield from _promises(settings, ring)
    yield _key("quotes key", settings.keys.quotes, ring.quotes)
    for chain, section in settings.enabled_chains().items():
        finding = _key(f"{chain} key", section.keystore, partial(ring.chain, chain))
        yield finding
        if finding.level is Level.FAIL:
            continue
        yield from asyncio.run(_chain(settings, chain, ring))


def _api(settings: Settings) -> Iterator[Finding]:
    if settings.network is not Network.DEV and settings.api.host not in {"127.0.0.1", "::1", "localhost"}:
        yield Finding(
            "api", Level.WARN, f"listens on {settings.api.host} without TLS", "put a TLS proxy in front of it"
        )
    if not settings.pairs:
        yield Finding("pairs", Level.WARN, "nothing is on offer", "add [[pairs]]")


def _key(what: str, path: Path, open_key: Callable[[], object]) -> Finding:
    try:
        check_private(path)
        open_key()
    except KeystoreError as error:
        return Finding(what, Level.FAIL, str(error), error.hint)
    return Finding(what, Level.OK, str(path))


def _database(settings: Settings) -> Iterator[Finding]:
    from bridge.store import Store, StoreError

    url = settings.database_url()
    shown = "PostgreSQL" if url.startswith("postgres") else url.removeprefix("sqlite:///")
    if url.startswith("sqlite") and not Path(shown).exists():
        yield Finding("database", Level.WARN, f"{shown} does not exist yet", "`rainbow db upgrade` makes it")
        return
    try:
        store = Store.open(url, migrate=False)
    except StoreError as error:
        hint = error.hint or "check database.url"
        if "revision" in str(error):
            hint = "`rainbow db upgrade`"
        yield Finding("database", Level.FAIL, str(error), hint)
        return
    try:
        yield Finding("database", Level.OK, f"{shown}, up to date")
        for chain in settings.enabled_chains():
            yield from unread_items(store, chain)
            yield from unproven_spends(store, chain)
            yield from older_locks(store, chain, settings.chains.get(chain))
        yield from older_than_its_chains(store, settings.journal_path())
    finally:
        store.close()


def unread_items(store: Store, chain: ChainId) -> Iterator[Finding]:
    """Say what stands in the blocks of a chain that this software could not read."""
    with store.reading() as tx:
        count = tx.set_aside.count(chain)
        oldest = tx.set_aside.open(chain, limit=1)
    for item in oldest:
        detail = f"{count} items could not be read; the oldest is {item.item} in block {item.block.height}"
        hint = (
            f"{item.reason}: look for a newer version; our locks are asked for directly meanwhile. What does "
            f"not concern us ends with POST /v1/admin/chains/{chain}/unread/{item.id}/dismiss"
        )
        yield Finding(f"{chain} items", Level.WARN, detail, hint)


def unproven_spends(store: Store, chain: ChainId) -> Iterator[Finding]:
    """Name the locks of ours that were spent in a way that nobody can prove."""
    with store.reading() as tx:
        swaps = [stored.swap for stored in tx.swaps.open(chain)]
    for swap in swaps:
        for leg in (swap.source, swap.destination):
            if leg.terms.chain == chain and leg.state in UNPROVEN:
                lock = f"the {leg.role.value} lock {leg.lock_id} of swap {swap.id}"
                detail = f"{lock} was spent, and nobody can prove how"
                hint = (
                    "compare with another node and a block explorer; nothing is given back before a proof, "
                    f"or before you say what you found: POST /v1/admin/swaps/{swap.id}/settle"
                )
                yield Finding(f"{chain} locks", Level.FAIL, detail, hint)


def older_locks(store: Store, chain: ChainId, section: ChainSection) -> Iterator[Finding]:
    """Name the swaps that only the release before this one can finish."""
    if swaps := without_contract(store, chain, section):
        yield Finding(f"{chain} locks", Level.FAIL, described(swaps, chain), HINT)


def _store(settings: Settings, secrets_key: bytes | None = None) -> Store | None:
    """Open the database; None where there is none that can be used: `_database` says why."""
    from bridge.store import Store, StoreError

    url = settings.database_url()
    if url.startswith("sqlite") and not Path(url.removeprefix("sqlite:///")).exists():
        return None
    try:
        return Store.open(url, secrets_key=secrets_key, migrate=False)
    except StoreError:
        return None


def _secrets(settings: Settings, ring: KeyRing) -> Iterator[Finding]:
    """Open the canary, and every stored secret, with the storage key."""
    from bridge.store import StoreError

    what, hint = "secrets", "use the key that sealed them; the chain heals a secret when it shows it again"
    try:
        store = _store(settings, ring.storage().reveal())
    except KeystoreError:
        return  # another line of the report says so
    if store is None:
        return
    try:
        with store.reading() as tx:
            opens, foreign = tx.secrets.opens_canary(), tx.secrets.unreadable()
    except StoreError as error:
        yield Finding(what, Level.FAIL, str(error), error.hint)
        return
    finally:
        store.close()
    if opens is False:
        yield Finding(what, Level.FAIL, "the storage key is not the one this database was made with", hint)
    elif foreign:
        named = ", ".join(foreign[:NAMED_SECRETS])
        yield Finding(what, Level.FAIL, f"{len(foreign)} cannot be read: hashlocks {named}", hint)
    else:
        yield Finding(what, Level.OK, "the storage key opens all")


def _promises(settings: Settings, ring: KeyRing) -> Iterator[Finding]:
    """Tell whether the configuration fits the swaps that are open."""
    from bridge.wiring.continuity import keyed_identities

    store = _store(settings)
    if store is None:
        return
    try:
        yield from promises(store, settings, keyed_identities(settings, ring.chain))
    finally:
        store.close()


def promises(store: Store, settings: Settings, present: Mapping[ChainId, ChainIdentity]) -> Iterator[Finding]:
    """Name what has changed in the configuration though open swaps depend on it."""
    from bridge.wiring.continuity import conflicts

    with store.reading() as tx:
        found = conflicts(tx, settings, present)
    for conflict in found:
        yield Finding(f"{conflict.chain} swaps", Level.FAIL, conflict.problem, conflict.hint)


def older_than_its_chains(store: Store, journal: Path) -> Iterator[Finding]:
    """Yield what shows that the database is older than the chains or than its journal."""
    from bridge.engine.journal import Journal, JournalError

    hint = "docs/operations/restore.md says what to do"
    with store.reading() as tx:
        unknown = tx.unknown_locks.unresolved()
        restoring = tx.restorations.going_on()
    proved = [lock for lock in unknown if lock.proved]
    if proved:
        chains = ", ".join(sorted({lock.chain for lock in proved}))
        text = f"{len(proved)} locks of our accounts on {chains} belong to no swap here"
        yield Finding("unknown locks", Level.FAIL, text, hint)
    if len(unknown) > len(proved):
        text = f"{len(unknown) - len(proved)} locks name our accounts, and anybody can have made them"
        yield Finding("unknown locks", Level.WARN, text, hint)
    if restoring:
        text = f"{len(restoring)} lost swaps are being restored"
        yield Finding("lost swaps", Level.WARN, text, hint)
    try:
        report = Journal(journal).read()
    except JournalError as error:
        yield Finding("journal", Level.FAIL, str(error), error.hint)
        return
    for trouble in report.damage:
        yield Finding("journal", Level.FAIL, f"{journal}: {trouble}", hint)
    with store.reading() as tx:
        known = {lost.swap_id for lost in restoring}
        lost = [
            entry.swap_id
            for entry in report.entries
            if entry.swap_id not in known and tx.swaps.get(SwapId(entry.swap_id)) is None
        ]
    if lost:
        text = f"{len(lost)} swaps of the journal are not in the database"
        yield Finding("journal", Level.FAIL, text, "start `rainbow api`: it restores them")
    elif report.entries:
        yield Finding("journal", Level.OK, f"{journal}: {len(report.entries)} swaps")


def _prices(settings: Settings) -> Iterator[Finding]:
    from bridge.desk.prices import PriceUnavailableError

    source = price_source(settings)
    try:
        source.refresh()
    except PriceUnavailableError as error:
        yield Finding("prices", Level.FAIL, str(error), error.hint)
        return
    left_out: dict[str, str] = {}
    for key in sorted(settings.priced_assets()):
        try:
            left_out |= {f"{key} of {name}": why for name, why in source.price(key).left_out.items()}
        except PriceUnavailableError as error:
            yield Finding("prices", Level.FAIL, str(error), error.hint)
            return
    for what, why in left_out.items():
        yield Finding(
            "prices", Level.WARN, f"{what}: {why}", "look at this feed; the others agree without it"
        )
    if settings.prices.source == "static" and settings.network is Network.MAIN:
        yield Finding("prices", Level.WARN, "a static table on main", 'use source = "http" with a live feed')
    else:
        yield Finding("prices", Level.OK, settings.prices.source)


async def _chain(settings: Settings, chain: ChainId, ring: KeyRing) -> list[Finding]:
    what = chain
    section = settings.chains.get(chain)
    urls = section.nodes_key
    if not section.urls:
        return [Finding(what, Level.FAIL, f"no {urls}", f"fill in chains.{what}.{urls}")]
    try:
        port = open_port(settings, chain, ring.chain(chain))
    except PortError as error:
        return [Finding(what, Level.FAIL, str(error), error.hint or f"check [chains.{what}]")]
    try:
        async with asyncio.timeout(PATIENCE):
            return await _ask(settings, chain, port)
    except PortUnavailableError as error:
        hint = error.hint or f"start the node, or correct chains.{what}.{urls}"
        failed = Finding(f"{what} node", Level.FAIL, str(error), hint)
        return [failed, *await _endpoints(settings, chain, port)]
    except PortError as error:
        failed = Finding(f"{what} node", Level.FAIL, str(error), error.hint)
        return [failed, *await _endpoints(settings, chain, port)]
    except TimeoutError:
        said = f"no answer within {PATIENCE:.0f} s"
        failed = Finding(f"{what} node", Level.FAIL, said, "is it synchronising?")
        return [failed, *await _endpoints(settings, chain, port)]
    finally:
        await port.close()


async def _ask(settings: Settings, chain: ChainId, port: ChainPort) -> list[Finding]:
    """Ask a chain; the port itself refuses another network and a missing contract."""
    what = chain
    tip = await port.tip()
    assets = [entry for entry in settings.assets if entry.chain == chain]
    native = settings.native_asset(chain)
    fees = await port.fees(native)
    found = [Finding(f"{what} node", Level.OK, f"height {tip.block.height}, block {tip.block.id[:18]}…")]
    found += await _endpoints(settings, chain, port)
    off = int(time.time()) - tip.block.time
    allowed = section_skew(settings, chain)
    if settings.network is not Network.DEV and off > allowed:
        hint = "the node is behind, or a clock is wrong"
        found.append(Finding(f"{what} clock", Level.FAIL, f"the newest block is {off} s old", hint))
    elif -off > allowed:
        level = Level.WARN if settings.network is Network.DEV else Level.FAIL
        found.append(Finding(f"{what} clock", level, f"the newest block is {-off} s ahead", "set the clock"))
    else:
        found.append(Finding(f"{what} clock", Level.OK, f"newest block {off} s old"))
    for entry in assets:
        asset = entry.asset
        balance = await port.balance(port.account, asset)
        shown = f"{to_text(balance, asset.decimals)} {asset.symbol} at {port.account}"
        keep = to_units(entry.keep, asset.decimals)
        needed = max(keep, 10 * max(fees.lock, fees.claim, fees.refund)) if asset == native else 1
        if balance < needed:
            hint = f"send {asset.symbol} to {port.account}"
            level = Level.FAIL if asset == native else Level.WARN
            found.append(Finding(f"{what} balance", level, shown, hint))
        else:
            found.append(Finding(f"{what} balance", Level.OK, shown))
    found += await _upkeep(what, port, [entry.asset for entry in assets])
    missing = await port.setup_actions([entry.asset for entry in assets if entry.contract])
    if missing:
        text = f"{len(missing)} set-up actions (token approvals, trustlines) are missing"
        found.append(Finding(f"{what} approvals", Level.WARN, text, "the relayer makes them when it starts"))
    return found


async def _upkeep(what: str, port: ChainPort, assets: list[Asset]) -> list[Finding]:
    """Tell of what the chain forgets unless somebody pays for it."""
    if not isinstance(port, KeepsAlive):
        return []
    kept = await port.upkeep(assets)
    bad = [
        Finding(
            f"{what} upkeep",
            Level.WARN,
            f"{each.what}: {each.trouble}",
            "see the chain's page in docs/chains",
        )
        for each in kept
        if each.trouble
    ]
    lives = [each.seconds for each in kept if each.seconds is not None]
    days = min(lives, default=0) // 86_400
    return bad or [Finding(f"{what} upkeep", Level.OK, f"everything lives {days} days yet, and is renewed")]


async def _endpoints(settings: Settings, chain: ChainId, port: ChainPort) -> list[Finding]:
    """Tell of each endpoint that may not be asked, and whether a second one could contradict the first."""
    if not isinstance(port, Examinable):
        return []
    what = f"{chain} endpoint"
    try:
        async with asyncio.timeout(PATIENCE):
            reports = await port.examine()
    except TimeoutError:
        return [Finding(what, Level.FAIL, f"no answer within {PATIENCE:.0f} s", "is it synchronising?")]
    bad = [(report.name, report.trouble) for report in reports if report.trouble is not None]
    # One that works is enough to go on: the others are for the operator to look at.
    level = Level.FAIL if len(bad) == len(reports) else Level.WARN
    found = [Finding(what, level, f"{name} {trouble.reason}", trouble.hint) for name, trouble in bad]
    if len(reports) == 1 and settings.network is not Network.DEV:
        key = f"chains.{chain}.{settings.chains.get(chain).nodes_key}"
        hint = f"add a second one, of somebody else, to {key}: two must agree before money moves"
        found.append(Finding(what, Level.WARN, "only one is configured: nobody can contradict it", hint))
    elif not bad:
        found.append(Finding(what, Level.OK, f"{len(reports)} of {len(reports)} in good standing"))
    return found


def section_skew(settings: Settings, chain: ChainId) -> int:
    """Return how far a chain's newest block may be from our clock: the skew and twenty block intervals."""
    timing = settings.chains.timing_config(chain)
    return timing.clock_skew + 20 * timing.block_interval
