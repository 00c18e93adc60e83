"""The address book on disk: replaced whole, so that it is never half written."""

from __future__ import annotations

from pathlib import Path

import structlog

from chain.network.core.addresses import AddressBook
from chain.network.core.peers import Chance

log = structlog.get_logger("zion.network")

FILE = "peers.dat"
MAX_FILE_BYTES = 64 * 2**20


def load_book(directory: Path, chance: Chance, now: int) -> AddressBook:
    """Read the file; begin with an empty book if there is none or it is damaged (it is kept aside then)."""
    path = directory / FILE
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ValueError("the file is too large")
        return AddressBook.load(path.read_bytes(), chance, now)
    except FileNotFoundError:
        return AddressBook(chance)
    except (OSError, ValueError) as error:
        log.warning("the known addresses of peers cannot be read", file=str(path), error=str(error))
        try:
            path.replace(path.with_suffix(".damaged"))
        except OSError:
            log.warning("the damaged file could not be moved", file=str(path))
        return AddressBook(chance)


def save_book(directory: Path, book: AddressBook) -> None:
    """Write the file; a full disk costs the addresses learnt since the last time, nothing else."""
    partial = directory / f"{FILE}.new"
    try:
        partial.write_bytes(book.save())
        partial.replace(directory / FILE)
    except OSError as error:
        log.warning("the known addresses of peers cannot be written", error=str(error))
