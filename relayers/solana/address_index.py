"""The transactions that name an address, as one endpoint lists them: asked for once, and remembered."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from bridge.chains.endpoints.json_rpc import Calls, RpcError
from relayers.solana.blocks import CONFIRMED, ChainMovedError

PAGE = 1000
"""The most signatures that getSignaturesForAddress gives at once."""
_MOST_KEPT = 200_000
"""Entries that were listed and are still ahead of a scan: some 60 MB. Beyond, they are listed again."""
CURSOR_NOT_FOUND = -32020
"""Agave since pull request 7937: the transaction of a cursor is not in this node's history."""


class AddressIndex:
    """Asks for pages of getSignaturesForAddress: newest first.

    What is *finalized* is asked for once: it is kept until a scan has passed it, and the newest of it is
    where the node may stop the next time. (One that is only confirmed may be rolled back and come again in
    a later block: stopping there would overlook it.) It is one endpoint's word: each has its own index.
    """

    def __init__(self, rpc: Calls, address: str) -> None:
        self._rpc = rpc
        self._address = address
        self._kept: list[dict[str, Any]] = []
        """Finalized entries, oldest first, without a gap from above slot `_from` to `_until`."""
        self._from = -1
        self._until = ""

    async def between(self, floor: int, first: int, last: int) -> list[dict[str, Any]]:
        """Return those in slots `first`…`last`, oldest first, failed ones too, from a node that has confirmed
        slot `floor` (-32016, hence `PortUnavailableError`, from one that has not)."""
        if not self._until or first <= self._from:
            self._forget()
        try:
            fresh = await self._newer_than_kept(floor, first)
        except RpcError as error:
            if error.code != CURSOR_NOT_FOUND or not self._until:
                raise
            # It was restarted from a snapshot, or another node is behind its URL: its history begins again.
            self._forget()
            fresh = await self._newer_than_kept(floor, first)
        if not self._until:
            self._from = first - 1
        # A node before that pull request lists all again where it lacks the cursor.
        already = {entry["signature"] for entry in self._kept}
        fresh = [entry for entry in fresh if entry["signature"] not in already]
        # Up to the first that is not: nodes behind one URL may differ, and what is below the cursor is never
        # listed again.
        finalized = list(itertools.takewhile(_is_final, fresh))
        known = [*self._kept, *fresh]
        self._kept = [entry for entry in (*self._kept, *finalized) if entry["slot"] >= first]
        self._from = max(self._from, first - 1)
        if finalized:
            self._until = str(finalized[-1]["signature"])
        if len(self._kept) > _MOST_KEPT:
            self._forget()
        return [entry for entry in known if first <= entry["slot"] <= last]

    def _forget(self) -> None:
        self._kept, self._from, self._until = [], -1, ""

    async def _newer_than_kept(self, floor: int, first: int) -> list[dict[str, Any]]:
        found, _ = await listed(self._rpc, self._address, floor, lowest=first, until=self._until)
        return found[::-1]


def _is_final(entry: Mapping[str, Any]) -> bool:
    return entry.get("confirmationStatus") == "finalized"


async def listed(
    rpc: Calls,
    address: str,
    floor: int,
    *,
    lowest: int = 0,
    until: str = "",
    most_pages: int | None = None,
) -> tuple[list[dict[str, Any]], bool]:
    """Return the transactions that name an address, newest first, down to slot `lowest` (or a little further)
    and to the signature `until`, without that one; and whether these are all, and not only `most_pages`.

    Raises `RpcError` -32020 when the node does not have `until`, `ChainMovedError` when it loses what it has
    just listed.
    """
    found: list[dict[str, Any]] = []
    options: dict[str, Any] = {"limit": PAGE, "commitment": CONFIRMED, "minContextSlot": floor}
    if until:
        options["until"] = until
    pages = 0
    while most_pages is None or pages < most_pages:
        page: Sequence[dict[str, Any]] = await _page(rpc, address, options)
        found += page
        pages += 1
        if len(page) < PAGE or page[-1]["slot"] < lowest:
            return found, True
        options["before"] = page[-1]["signature"]
    return found, False


async def _page(rpc: Calls, address: str, options: dict[str, Any]) -> Sequence[dict[str, Any]]:
    try:
        page: Sequence[dict[str, Any]] = await rpc.call("getSignaturesForAddress", address, options)
    except RpcError as error:
        if error.code == CURSOR_NOT_FOUND and "before" in options:
            raise ChainMovedError from error
        raise
    return page
