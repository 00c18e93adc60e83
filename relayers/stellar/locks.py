"""Finding locks on the ledger and telling how they stand."""

from __future__ import annotations

from collections.abc import Sequence

from stellar_sdk import StrKey

from bridge.chains.port import LockStatus
from bridge.chains.preimages import opening
from bridge.protocol.types import BlockHeight, LockTerms, Preimage, TxId
from relayers.stellar import htlc, recognition
from relayers.stellar.assets import stroops, to_stellar
from relayers.stellar.envelopes import UnreadableError, read_envelope
from relayers.stellar.horizon import PAGE, Horizon, Record, unix_time
from relayers.stellar.htlc import Gate, lock_id
from relayers.stellar.preimages import find_preimage, opening_in_bytes
from relayers.stellar.settings import StellarSettings
from relayers.stellar.watch import Watch, end_in

LONGEST_LOCK = 30 * 86_400
"""Seconds: no lock was made longer before its deadline. Terms come from a quote, which knows the deadline,
and a swap lasts hours or days."""
_FIRST_LEDGERS = 2
"""A Horizon whose history begins with this ledger or the one before it has all of it: 1 is genesis."""


class Locks:
    """Reads locks from a Horizon server."""

    def __init__(self, horizon: Horizon, watch: Watch, settings: StellarSettings) -> None:
        self._horizon = horizon
        self._watch = watch
        self._settings = settings
        self._passphrase = settings.passphrase

    async def standing(self, terms: LockTerms, own_gate: str | None = None) -> Gate | None:
        """Return a lock with exactly these terms that can be claimed now: its gate is ready, its balance
        there."""
        return next(iter(await self.all_standing(terms, own_gate)), None)

    async def all_standing(self, terms: LockTerms, own_gate: str | None = None) -> list[Gate]:
        """Return such locks, all that the first way of looking for gates finds; each is compared in
        everything."""
        for look in (self._own_gate_account, self._by_balance, self._by_signer):
            found = []
            for account in await look(terms, own_gate):
                gate = await self._standing_gate(terms, account)
                if gate is not None:
                    self._watch.remember(gate)
                    found.append(gate)
            if found:
                return found
        return []

    # Horizon looks for signers that are accounts only, not for hash(x): hence these three ways.

    async def _own_gate_account(self, _terms: LockTerms, own_gate: str | None) -> list[Record]:
        """The gate that we would have made."""
        account = None if own_gate is None else await self._horizon.account(own_gate)
        return [] if account is None else [account]

    async def _by_balance(self, terms: LockTerms, _own_gate: str | None) -> list[Record]:
        """Who shares a claimable balance of that amount with the sender. Nobody but the sender can make
        these, for it pays their reserves: a stranger's flood hides nothing."""
        asset = to_stellar(terms.asset)
        balances = await self._horizon.claimable_balances(terms.sender, terms.sender, asset)
        others = {
            str(claimant["destination"])
            for balance in balances
            if stroops(balance["amount"]) == terms.amount
            for claimant in balance["claimants"]
        }
        accounts = [await self._horizon.account(each) for each in sorted(others - {terms.sender})]
        return [each for each in accounts if each is not None and _is_gate_for(terms, each)]

    async def _by_signer(self, terms: LockTerms, _own_gate: str | None) -> list[Record]:
        """The accounts that have the recipient as a signer, and the hashlock: also without their balance."""
        signed = await self._horizon.accounts_with_signer(terms.recipient)
        return [each for each in signed if _is_gate_for(terms, each)]

    async def _standing_gate(self, terms: LockTerms, account: Record) -> Gate | None:
        if not recognition.gate_stands(terms, account, self._passphrase):
            return None
        address = str(account["account_id"])
        balances = await self._horizon.claimable_balances(address, terms.sender, to_stellar(terms.asset))
        for balance in balances:
            if recognition.balance_stands(terms, address, balance):
                sequence, balance_id = int(account["sequence"]), str(balance["id"])
                return Gate(terms, address, sequence, balance_id, _native_balance(account))
        return None

    async def of_party(self, address: str) -> list[Gate]:
        """Return all standing locks that an account sent or is to receive, from the present state alone: the
        gates that have it as a signer, and those that share a claimable balance with it."""
        found: dict[str, Gate] = {}
        for account in await self._horizon.accounts_with_signer(address):
            for balance in await self._horizon.balances_for(str(account["account_id"])):
                self._add_standing(found, account, balance)
        for balance in await self._horizon.balances_for(address):
            for claimant in balance["claimants"]:
                gate = None
                if claimant["destination"] != address:
                    gate = await self._horizon.account(claimant["destination"])
                if gate is not None:
                    self._add_standing(found, gate, balance)
        return list(found.values())

    def _add_standing(self, found: dict[str, Gate], account: Record, balance: Record) -> None:
        terms = recognition.terms_shown(account, balance, self._settings)
        address = str(account["account_id"])
        if (
            terms is not None
            and recognition.gate_stands(terms, account, self._passphrase)
            and recognition.balance_stands(terms, address, balance)
        ):
            gate = Gate(
                terms, address, int(account["sequence"]), str(balance["id"]), _native_balance(account)
            )
            found[gate.balance_id] = gate

    async def find(self, terms: LockTerms, own_gate: str | None = None) -> list[Gate]:
        """Return the locks with these terms that were ever made, as far as they can be found, newest last:
        among those seen, in the history of the gates that stand, of `own_gate` if the gate's key is ours,
        and of the sender."""
        found = {gate.balance_id: gate for gate in self._watch.gates(lock_id(terms, self._passphrase))}
        if not found:
            histories = await self._gate_histories(terms, own_gate)
            for record in histories or await self._sender_history(terms):
                gate = self._watch.gate_in(record)
                if gate is not None and gate.terms == terms:
                    self._watch.remember(gate)
                    found[gate.balance_id] = gate
        return list(found.values())

    async def _gate_histories(self, terms: LockTerms, own_gate: str | None) -> list[Record]:
        gates = [] if own_gate is None else [own_gate]
        for look in (self._by_balance, self._by_signer):
            gates += [str(each["account_id"]) for each in await look(terms, own_gate)]
        found: list[Record] = []
        for each in dict.fromkeys(gates):
            found += await self._horizon.account_transactions(each, 1)
        return found if any(self._makes(record, terms) for record in found) else []

    async def _sender_history(self, terms: LockTerms) -> list[Record]:
        pages = self._settings.history_pages
        return await self._horizon.account_transactions(terms.sender, pages, newest_first=True)

    def _makes(self, record: Record, terms: LockTerms) -> bool:
        gate = self._watch.gate_in(record)
        return gate is not None and gate.terms == terms

    async def status(
        self, terms: LockTerms, own_gate: str | None = None, since: BlockHeight | None = None
    ) -> LockStatus:
        """Tell how the lock with these terms stands; of several equal ones the best: an open one, and one
        whose fate is not proven before one that was refunded."""
        if await self.standing(terms, own_gate) is not None:
            return LockStatus.OPEN
        fates = [await self._fate(gate) for gate in await self.find(terms, own_gate)]
        for status in (
            LockStatus.OPEN,
            LockStatus.CLAIMED,
            LockStatus.SPENT,
            LockStatus.UNKNOWN,
            LockStatus.REFUNDED,
        ):
            if status in fates:
                return status
        return LockStatus.ABSENT if await self._is_complete(terms, since) else LockStatus.UNKNOWN

    async def _is_complete(self, terms: LockTerms, since: BlockHeight | None) -> bool:
        """Tell whether the history that was looked through, Horizon's and of it the pages of the sender's,
        reaches back to where a lock with these terms could first have been made."""
        elder = await self._horizon.elder_ledger()
        if since is not None:
            first: int = since + 1
            covered = elder <= first
        else:
            first = 0
            covered = elder <= _FIRST_LEDGERS or await self._closed_before(elder, terms)
        if not covered:
            return False
        records = await self._sender_history(terms)
        if len(records) < self._settings.history_pages * PAGE:
            return True
        oldest = records[-1]
        return oldest["ledger"] < first or unix_time(oldest["created_at"]) < terms.deadline - LONGEST_LOCK

    async def _closed_before(self, elder: int, terms: LockTerms) -> bool:
        ledger = await self._horizon.ledger(elder)
        return ledger is not None and ledger.time < terms.deadline - LONGEST_LOCK

    async def refundable(self, terms: LockTerms, own_gate: str | None = None) -> Gate | None:
        """Return a lock with these terms whose balance is still there, with or without its gate."""
        gate = await self.standing(terms, own_gate)
        if gate is not None:
            return gate
        for gate in await self.find(terms, own_gate):
            if await self._horizon.claimable_balance(gate.balance_id) is not None:
                return gate
        return None

    async def claimable(self, terms: LockTerms) -> Gate | None:
        """Return a lock with these terms that its recipient can still claim."""
        return next(iter(await self.claimables(terms)), None)

    async def claimables(self, terms: LockTerms, own_gate: str | None = None) -> list[Gate]:
        """Return all locks with these terms that their recipient can still claim.

        Beside those that stand in full, one counts whose gate has used its sequence (a claim of the gate's
        own that failed): it is no longer as it was agreed, but R and the preimage can still open it.
        """
        found = {gate.balance_id: gate for gate in await self.all_standing(terms, own_gate)}
        for gate in [] if found else await self.find(terms, own_gate):
            there = await self._horizon.claimable_balance(gate.balance_id) is not None
            account = await self._horizon.account(gate.address) if there else None
            if account is not None and recognition.signers_stand(gate, account, self._passphrase):
                found[gate.balance_id] = gate
        return list(found.values())

    async def _fate(self, gate: Gate) -> LockStatus:
        if await self._horizon.claimable_balance(gate.balance_id) is not None:
            return await self._unspent_fate(gate)
        history = await self._horizon.balance_transactions(gate.balance_id)
        for record in reversed(history):
            end = end_in(record, gate)
            if end is not None:
                return end.status
        # Made and gone, and the history does not tell how; or the transaction that made it is gone too.
        return LockStatus.UNKNOWN if history else LockStatus.ABSENT

    async def _unspent_fate(self, gate: Gate) -> LockStatus:
        """Tell how a lock stands whose balance is there though its gate is not as a new one would be."""
        account = await self._horizon.account(gate.address)
        if account is None:
            # Its balance outlives a gate that was reclaimed: the sender's refund is left. Any other who
            # merged the gate did so with R and the preimage.
            reclaim = htlc.reclaim_transaction(gate.terms, gate.address, gate.sequence, self._passphrase)
            record = await self._horizon.transaction(TxId(reclaim.hash_hex()))
            reclaimed = record is not None and record["successful"]
            return LockStatus.OPEN if reclaimed else LockStatus.SPENT
        if not recognition.signers_stand(gate, account, self._passphrase):
            return LockStatus.SPENT
        # A claim of the gate's own has failed and used its sequence: R and the preimage still open it.
        return LockStatus.OPEN if recognition.line_is_free(gate.terms, account) else LockStatus.UNKNOWN

    async def revealed(self, gate: Gate) -> Preimage | None:
        """Return the preimage if any transaction on the gate has shown it, even a failed one.

        The claim itself is found by the balance, however much dust others have sent to the gate; failed
        ones among the gate's newest transactions.
        """
        ended = await self._horizon.balance_transactions(gate.balance_id)
        found = preimage_in(ended, gate.terms.hashlock)
        if found is not None:
            return found
        pages = self._settings.history_pages
        records = await self._horizon.account_transactions(gate.address, pages, newest_first=True)
        return preimage_in(records, gate.terms.hashlock)


def preimage_in(records: Sequence[Record], hashlock: bytes) -> Preimage | None:
    """Return the preimage of `hashlock` from the signatures of recorded transactions, or None."""
    for record in records:
        try:
            found = find_preimage(read_envelope(record).envelope, hashlock)
        except UnreadableError as error:
            found = opening(hashlock, opening_in_bytes(error.raw, {hashlock}))
        if found is not None:
            return found
    return None


def _is_gate_for(terms: LockTerms, account: Record) -> bool:
    """Tell whether an account has the hashlock as a signer: worth a closer look."""
    wanted = StrKey.encode_sha256_hash(terms.hashlock)
    return any(each["key"] == wanted for each in account["signers"])


def _native_balance(account: Record) -> int:
    return next(stroops(each["balance"]) for each in account["balances"] if each["asset_type"] == "native")
