"""What has become of a lock: from its entry, which stands or does not, and from the contract's events."""

from __future__ import annotations

from typing import Any

from stellar_sdk import scval, xdr

from bridge.chains.endpoints.answers import Answer, EndpointError
from bridge.chains.endpoints.json_rpc import OneEndpoint
from bridge.chains.port import LockStatus
from bridge.protocol.types import BlockHeight, LockTerms
from relayers.stellar import assets, contract
from relayers.stellar.assets import is_token
from relayers.stellar.contract import NotOursError, Shown
from relayers.stellar.ledgers import FIRST_LEDGER, UNREADABLE, ChainMovedError, History, history_of
from relayers.stellar.receivers import held
from relayers.stellar.rpc import ask
from relayers.stellar.settings import StellarSettings
from relayers.stellar.simulation import view

SCAN_LEDGERS = 10_000
"""Ledgers that getEvents looks through for one request, whatever it is asked for, without a word about the
rest (stellar-rpc, methods/get_events.go, `LedgerScanLimit`)."""
MAX_EVENTS = 1_000
_PAGES = 50
"""Pages of the events of one lock; from more nothing is concluded."""


class Locks:
    """Reads the locks of one contract back from one endpoint. All raise `EndpointError` and
    `ChainMovedError`."""

    def __init__(self, one: OneEndpoint, settings: StellarSettings) -> None:
        self._one = one
        self._settings = settings

    async def status(self, terms: LockTerms, since: BlockHeight | None) -> LockStatus:
        """Tell what became of the lock with these terms, which was not made at height `since` or before.

        OPEN: it stands, and for an issued asset the contract holds that much and may pay it out. CLAIMED and
        REFUNDED are what the contract said. SPENT: it was made and is gone, and nothing proves how. ABSENT:
        it does not stand, and in the whole history from `since` on the contract says nothing of it. UNKNOWN:
        anything else.
        """
        standing, ledger = await self.stands(terms)
        if standing:
            return LockStatus.OPEN if await self._can_pay(terms) else LockStatus.UNKNOWN
        first = FIRST_LEDGER if since is None else since + 1
        shown, history, odd = await self._said(terms, first)
        if history.latest < ledger:
            raise ChainMovedError  # its events lag behind its state: what was spent just now is not in them
        if shown:
            return self._end(terms, shown[-1], bool(odd))
        if odd:
            return LockStatus.UNKNOWN
        return LockStatus.ABSENT if history.covers(first) else LockStatus.UNKNOWN

    async def stands(self, terms: LockTerms) -> tuple[bool, int]:
        """Tell whether the lock with these terms stands, archived or not, and as of which ledger."""
        lock = contract.lock_id(terms, self._settings.passphrase)
        got = await view(
            self._one, self._settings.contract, "get", [contract.id_value(lock)], self._settings.passphrase
        )
        if got.value is None:
            raise EndpointError(f"{self._one.name} gave no value", "use another endpoint", kind=Answer.WRONG)
        if got.value.type is xdr.SCValType.SCV_VOID:
            return False, got.ledger
        if not contract.same_terms(got.value, terms, self._settings.passphrase):
            # The id commits to the terms: it has no other.
            raise EndpointError(
                f"{self._one.name} shows a lock with other terms under its id",
                "use another endpoint",
                kind=Answer.WRONG,
            )
        return True, got.ledger

    async def _can_pay(self, terms: LockTerms) -> bool:
        """Tell whether the contract holds enough of an asset that its issuer could take or freeze, and is not
        frozen. A token's own word is taken for it: who lists a token trusts its code."""
        if not terms.asset.contract:
            return True
        passphrase, ours = self._settings.passphrase, scval.to_address(self._settings.contract)
        token = assets.token_address(terms.asset.contract, passphrase)
        if await held(self._one, terms.contract, terms.asset, self._settings) < terms.amount:
            return False
        if is_token(terms.asset):
            return True
        authorized = await view(self._one, token, "authorized", [ours], passphrase)
        return authorized.value is not None and scval.from_bool(authorized.value)

    async def _said(self, terms: LockTerms, first: int) -> tuple[list[Shown], History, str]:
        """Return what the contract said of a lock from ledger `first` on, oldest first, with the history that
        was looked through, and why anything of it could not be read."""
        lock = contract.lock_id(terms, self._settings.passphrase)
        history = await self._kept()
        start = max(first, history.oldest)
        said: list[Shown] = []
        odd = ""
        while start <= history.latest:
            end = min(start + SCAN_LEDGERS, history.latest + 1)
            for record in await self._events(contract.id_value(lock), start, end):
                try:
                    topics = [xdr.SCVal.from_xdr(each) for each in record["topic"]]
                    value = xdr.SCVal.from_xdr(record["value"])
                    shown = contract.read_event(topics, value, self._settings)
                except (NotOursError, *UNREADABLE) as error:
                    odd = f"an event cannot be read ({type(error).__name__})"
                    continue
                if shown.lock == lock:
                    said.append(shown)
            start = end
        # What was dropped while we read is not history that we have seen.
        return said, History(max(history.oldest, (await self._kept()).oldest), history.latest), odd

    async def _kept(self) -> History:
        health = await ask(self._one, "getHealth")
        return history_of(health)

    async def _events(self, lock: xdr.SCVal, start: int, end: int) -> list[dict[str, Any]]:
        """Return the events of a lock in the ledgers `start` up to but not including `end`."""
        wish: dict[str, Any] = {
            "filters": [
                {
                    "type": "contract",
                    "contractIds": [self._settings.contract],
                    "topics": [["*", lock.to_xdr(), "*", "*"]],
                }
            ]
        }
        found: list[dict[str, Any]] = []
        cursor = ""
        for _ in range(_PAGES):
            paging: dict[str, Any] = {"startLedger": start, "endLedger": end}
            paging["pagination"] = {"limit": MAX_EVENTS}
            if cursor:
                paging = {"pagination": {"limit": MAX_EVENTS, "cursor": cursor}}
            answer = await ask(self._one, "getEvents", **wish, **paging)
            page = answer["events"]
            found += [each for each in page if start <= int(each["ledger"]) < end]
            if len(page) < MAX_EVENTS or any(int(each["ledger"]) >= end for each in page):
                return found
            cursor = str(answer["cursor"])
        raise EndpointError(f"{self._one.name} has too many events of one lock", "an operator must look")

    @staticmethod
    def _end(terms: LockTerms, last: Shown, doubted: bool) -> LockStatus:
        if doubted:
            return LockStatus.SPENT
        if last.kind == "claim" and last.preimage is not None:
            return LockStatus.CLAIMED if last.preimage.opens(terms.hashlock) else LockStatus.SPENT
        return LockStatus.REFUNDED if last.kind == "refund" else LockStatus.SPENT
