"""What the scenarios of a database older than its chains share: receipts, backups and their return."""

from __future__ import annotations

import shutil
from pathlib import Path

from bridge.desk.acceptances import AcceptanceBook
from bridge.engine.journal import Journal
from bridge.keys.keystore import devnet_key
from bridge.keys.quote_signature import QuoteSigner
from bridge.protocol.pricing import Costs, Price, Rate
from bridge.protocol.quote import QuoteBody
from bridge.protocol.types import Address, Amount, Swap, SwapId, UnixSeconds
from bridge.store.records import SwapMeta
from tests.scenario.world import BridgeWorld, copy_database

SIGNER = QuoteSigner(devnet_key("quotes/signer"))


def quote_of(world: BridgeWorld, swap: Swap) -> QuoteBody:
    """Return a quote that sells this swap."""
    source, destination = swap.source.terms, swap.destination.terms
    now = UnixSeconds(world.now_ms // 1000)
    return QuoteBody(
        id=f"quote{swap.id.removeprefix('swap')}",
        source=source.asset,
        destination=destination.asset,
        price=Price(
            source=source.amount,
            destination=destination.amount,
            rate=Rate(1, 10),
            gross=destination.amount,
            spread=Amount(0),
            skew=Amount(0),
            costs=Costs(Amount(0), Amount(0), Amount(0)),
            rounding=Amount(0),
        ),
        rate="1",
        price_at=now,
        gasless=False,
        policy=swap.policy,
        source_deadline=source.deadline,
        destination_deadline=destination.deadline,
        source_contract=source.contract,
        destination_contract=destination.contract,
        source_account=Address("bridge"),
        destination_account=Address("bridge"),
        created=now,
        expires=now,
    )


def book_of(world: BridgeWorld, *, journal: bool = True) -> AcceptanceBook:
    """Return the acceptances of this world's API, started now."""
    return AcceptanceBook(
        world.store, SIGNER, Journal(world.folder / "accepted.journal") if journal else None
    )


def accept(world: BridgeWorld, swap_id: str, *, journal: bool = True) -> AcceptanceBook:
    """Sign the receipt of a swap of this world as its API does, and write it down."""
    swap, book = world.get(swap_id), book_of(world, journal=journal)
    with world.store.transaction() as tx:
        book.sign(tx, swap, quote_of(world, swap), SwapMeta(f"quote{swap_id.removeprefix('swap')}"))
    book.write_down(SwapId(swap_id))
    return book


def back_up(world: BridgeWorld, name: str = "backup.db") -> Path:
    """Take a backup of the database as it is now."""
    copy_database(world.folder / "bridge.db", world.folder / name)
    return world.folder / name


def put_back(world: BridgeWorld, backup: Path) -> None:
    """Put a backup in place of the database, and start the relayers again."""
    world.store.close()
    for file in world.folder.glob("bridge.db*"):
        file.unlink()
    shutil.copy(backup, world.folder / "bridge.db")
    world.process()
