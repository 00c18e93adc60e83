"""What has become of a lock: from its vault, which stands or does not, and from the vault's transactions."""

from __future__ import annotations

import base64
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from solders.pubkey import Pubkey

from bridge.chains.endpoints.json_rpc import MAX_BATCH, Calls, RpcError
from bridge.chains.errors import CannotReceiveError
from bridge.chains.port import LockStatus
from bridge.protocol.types import MAX_PREIMAGE_BYTES, BlockHeight, Preimage
from relayers.solana import blocks, history, program, transactions
from relayers.solana.address_index import CURSOR_NOT_FOUND, listed
from relayers.solana.cluster import Cluster
from relayers.solana.program import ClaimCall, LockCall, RefundCall, VaultTerms

_SEEN = 100_000
"""Vaults of which it is remembered which transactions made and ended them: some 30 MB."""

MAX_PAGES = 10
"""Pages of 1,000 signatures that are read of one vault: anybody may name it as often as they pay for."""


class SeenLocks:
    """The transactions that a scan has seen making and ending vaults: where to look first.

    It proves nothing: what they did is read again from the endpoint that is asked. But nobody can bury them
    under a vault's many other transactions.
    """

    def __init__(self) -> None:
        self._made: OrderedDict[Pubkey, str] = OrderedDict()
        self._ended: OrderedDict[Pubkey, str] = OrderedDict()

    def made(self, vault: Pubkey, signature: str) -> None:
        """Note which transaction made a vault."""
        self._note(self._made, vault, signature)

    def ended(self, vault: Pubkey, signature: str) -> None:
        """Note which transaction ended it."""
        self._note(self._ended, vault, signature)

    def newest(self, vault: Pubkey) -> tuple[str, ...]:
        """Return the signatures that are known of a vault, the last one first."""
        found = (places.get(vault) for places in (self._ended, self._made))
        return tuple(signature for signature in found if signature is not None)

    @staticmethod
    def _note(places: OrderedDict[Pubkey, str], vault: Pubkey, signature: str) -> None:
        places[vault] = signature
        places.move_to_end(vault)
        if len(places) > _SEEN:
            places.popitem(last=False)


class Locks:
    """Reads the locks of one program back from one endpoint. All raise `PortUnavailableError` and
    `blocks.ChainMovedError`."""

    def __init__(self, rpc: Calls, cluster: Cluster, of_program: Pubkey, seen: SeenLocks) -> None:
        self._rpc = rpc
        self._cluster = cluster
        self._program = of_program
        self._seen = seen

    async def status(self, terms: VaultTerms, since: BlockHeight | None) -> LockStatus:
        """Tell what became of the lock with these terms, which was not made at height `since` or before.

        OPEN: it stands, and its tokens, if it is of any, are there and not frozen. CLAIMED and REFUNDED are
        proved by what its transactions show. SPENT: it was made and is gone, and
        nothing proves how. ABSENT: the history is there without a hole from `since` on, and no transaction in
        it names the vault that could have made it. Else UNKNOWN.
        """
        # The vault before its history: what is spent between the two must not look absent.
        if await self.stands(terms):
            return await self._payable(terms)
        found = await self._from_history(terms)
        if found is LockStatus.OPEN:
            return await self._payable(terms) if await self.stands(terms) else LockStatus.SPENT
        if found is not LockStatus.ABSENT:
            return found
        head = await blocks.read_head(self._rpc, 0)
        complete = await history.reaches_back_to(self._rpc, _first(since), head)
        return LockStatus.ABSENT if complete else LockStatus.UNKNOWN

    async def _payable(self, terms: VaultTerms) -> LockStatus:
        """Return OPEN for a lock that stands, UNKNOWN if its mint's issuer has frozen its tokens."""
        if terms.mint is None:
            return LockStatus.OPEN
        vault = program.vault_address(self._program, terms)[0]
        try:
            holds = await self._cluster.tokens(vault, terms.mint)
        except CannotReceiveError:
            return LockStatus.UNKNOWN
        return LockStatus.OPEN if holds >= terms.amount else LockStatus.UNKNOWN

    async def stands(self, terms: VaultTerms) -> bool:
        """Tell whether there is a lock with these terms now."""
        found = await self._cluster.account(program.vault_address(self._program, terms)[0])
        if found is None or found["owner"] != str(self._program):
            return False
        return program.read_vault(base64.b64decode(found["data"][0])) == terms

    async def _from_history(self, terms: VaultTerms) -> LockStatus:
        """Return what the newest transaction of a vault that succeeded did with it: OPEN made it."""
        vault = program.vault_address(self._program, terms)[0]
        seen = await self._seen_transactions(vault)
        # A claim that opens the lock stays one, whatever comes after it.
        for executed in seen:
            own = [call for call in executed.calls if call.vault == vault]
            if _proved_end(terms, own, executed) is LockStatus.CLAIMED:
                return LockStatus.CLAIMED
        entries, whole = await self._listed(str(vault), seen[0].tx_id if seen else "")
        succeeded: list[Mapping[str, Any]] = [entry for entry in entries if entry["err"] is None]
        succeeded += [{"signature": one.tx_id, "slot": one.slot, "err": None} for one in seen]
        doubted = not whole
        # Anybody may send the vault a lamport a thousand times: many are read at once.
        for start in range(0, len(succeeded), MAX_BATCH):
            page = succeeded[start : start + MAX_BATCH]
            for executed in await transactions.read(self._rpc, self._program, page):
                own = [call for call in executed.calls if call.vault == vault and executed.succeeded]
                if executed.hidden and vault in executed.emptied:
                    return _proved_end(terms, own, executed)
                # What is not shown may have spent it, and made it before that.
                doubted |= executed.may_touch(vault)
                if own and isinstance(own[-1], ClaimCall):
                    return _proved_end(terms, own, executed)
                if own:
                    return LockStatus.SPENT if doubted else _proved_end(terms, own, executed)
        return LockStatus.UNKNOWN if doubted else LockStatus.ABSENT

    async def _listed(self, vault: str, until: str) -> tuple[list[dict[str, Any]], bool]:
        floor = self._cluster.floor
        try:
            return await listed(self._rpc, vault, floor, until=until, most_pages=MAX_PAGES)
        except RpcError as error:
            if error.code != CURSOR_NOT_FOUND or not until:
                raise
            return await listed(self._rpc, vault, floor, most_pages=MAX_PAGES)

    async def _seen_transactions(self, vault: Pubkey) -> list[transactions.Executed]:
        """Return what a scan has seen of a vault, the last one first, as far as this endpoint has it too."""
        found: list[transactions.Executed] = []
        for signature in self._seen.newest(vault):
            entry = {"signature": signature, "slot": 0, "err": None}
            try:
                found += await transactions.read(self._rpc, self._program, [entry])
            except blocks.ChainMovedError:
                continue  # it has left the chain, or this endpoint's history
        return [one for one in found if one.succeeded]


def _proved_end(terms: VaultTerms, own: list[program.Call], executed: transactions.Executed) -> LockStatus:
    """Return what the calls of one transaction prove to have become of a vault."""
    match own[-1] if own else None:
        case LockCall():
            return LockStatus.SPENT if executed.hidden else LockStatus.OPEN
        case ClaimCall(_, preimage):
            opens = len(preimage) <= MAX_PREIMAGE_BYTES and Preimage(preimage).opens(terms.hashlock)
            return LockStatus.CLAIMED if opens else LockStatus.SPENT
        case RefundCall(_, None):
            late = executed.time is not None and executed.time >= terms.deadline
            return LockStatus.REFUNDED if late else LockStatus.SPENT
        case RefundCall(_, recipient):
            return LockStatus.REFUNDED if recipient == terms.recipient else LockStatus.SPENT
        case None:
            return LockStatus.SPENT


def _first(since: BlockHeight | None) -> int:
    """Return the lowest height at which a lock can have been made; the genesis makes none."""
    return 0 if since is None else since + 1
