"""What an operation is to the emulator, and the table of those that it knows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from stellar_sdk import xdr

from relayers.stellar.devnet.entries import Account, UnsupportedFeatureError
from relayers.stellar.devnet.ledger import LedgerTxn
from relayers.stellar.devnet.reserves import ReserveOutcome
from relayers.stellar.devnet.results import OperationFailedError, OperationRefusedError, OuterCode

if TYPE_CHECKING:
    from relayers.stellar.devnet.soroban.transaction import SorobanPart


class Threshold(IntEnum):
    """Which of the account's thresholds an operation must meet; the value indexes `Account.thresholds`."""

    LOW = 0
    MEDIUM = 1
    HIGH = 2


@dataclass(frozen=True)
class Context:
    """Where an operation stands: its source, its transaction's source and sequence, its index there."""

    source: bytes
    tx_source: bytes
    tx_sequence: int
    index: int
    soroban: SorobanPart | None = None
    """The transaction's Soroban data and what became of it."""


@dataclass(frozen=True)
class Rules:
    """How one kind of operation behaves.

    `check` looks at the operation alone, `apply` changes the ledger and returns the details of its success;
    both end a failing operation by raising `OperationFailedError` or `OperationRefusedError`.
    """

    apply: Callable[[LedgerTxn, Any, Context], dict[str, Any] | None]
    check: Callable[[Any, Context], None] = lambda _body, _context: None
    threshold: Callable[[Any], Threshold] = lambda _body: Threshold.MEDIUM
    supported: bool = True
    """False for operations that the protocol has abolished."""


RULES: dict[xdr.OperationType, Rules] = {}


def rules_of(kind: xdr.OperationType) -> Rules:
    """Return the rules of a kind of operation. Raises `UnsupportedFeatureError`."""
    found = RULES.get(kind)
    if found is None:
        raise UnsupportedFeatureError(f"{kind.name} is not emulated")
    return found


def charge(outcome: ReserveOutcome, low_reserve: str) -> None:
    """End the operation if a reserve could not be paid; `low_reserve` is its own code for that."""
    if outcome is ReserveOutcome.LOW_RESERVE:
        raise OperationFailedError(low_reserve)
    if outcome is ReserveOutcome.TOO_MANY_SUBENTRIES:
        raise OperationRefusedError(OuterCode.opTOO_MANY_SUBENTRIES)
    if outcome is ReserveOutcome.TOO_MANY_SPONSORING:
        raise OperationRefusedError(OuterCode.opTOO_MANY_SPONSORING)


def source_account(txn: LedgerTxn, context: Context) -> Account:
    """Load the operation's source, which was seen to exist."""
    return txn.existing_account(context.source)


def low(_body: Any) -> Threshold:
    """The operation needs the low threshold."""
    return Threshold.LOW
