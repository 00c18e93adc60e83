"""Finding locks on the ledger and telling how they stand."""

from __future__ import annotations

from collections.abc import Sequence

from stellar_sdk import StrKey, xdr

from bridge.protocol.types import LockTerms, Preimage
from relayers.port import LockStatus
from relayers.stellar import recognition
from relayers.stellar.assets import stroops
from relayers.stellar.horizon import Horizon, Record
from relayers.stellar.htlc import Gate, lock_id
from relayers.stellar.preimages import find_preimage
from relayers.stellar.watch import Watch, claims_in


class Locks:
    """Reads locks from a Horizon server."""

    def __init__(self, horizon: Horizon, watch: Watch, passphrase: str, history_pages: int) -> None:
        self._horizon = horizon
        self._watch = watch
        self._passphrase = passphrase
        self._history_pages = history_pages

    async def standing(self, terms: LockTerms) -> Gate | None:
        """Return a lock with exactly these terms that can be claimed now: its gate is ready, its balance
        there."""
        return next(iter(await self.all_standing(terms)), None)

    async def all_standing(self, terms: LockTerms) -> list[Gate]:
        """Return all such locks. Gates are found by their hash(x) signer and compared in everything."""
        found = []
        for account in await self._horizon.accounts_with_signer(StrKey.encode_sha256_hash(terms.hashlock)):
            if not recognition.gate_stands(terms, account, self._passphrase):
                continue
            address = str(account["account_id"])
            for balance in await self._horizon.claimable_balances(address, terms.sender):
                if recognition.balance_stands(terms, address, balance):
                    gate = Gate(
                        terms,
                        address,
                        int(account["sequence"]),
                        str(balance["id"]),
                        _native_balance(account),
                    )
                    self._watch.remember(gate)
                    found.append(gate)
                    break
        return found

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
        terms = recognition.terms_shown(account, balance)
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
        among those seen, in the history of the gates with this hashlock, of `own_gate` if the gate's key is
        ours, and of the sender."""
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
        signed = await self._horizon.accounts_with_signer(StrKey.encode_sha256_hash(terms.hashlock))
        gates = [str(each["account_id"]) for each in signed]
        if own_gate is not None and own_gate not in gates:
            gates.append(own_gate)
        found: list[Record] = []
        for each in gates:
            found += await self._horizon.account_transactions(each, 1)
        return found if any(self._makes(record, terms) for record in found) else []

    async def _sender_history(self, terms: LockTerms) -> list[Record]:
        pages = self._history_pages
        return await self._horizon.account_transactions(terms.sender, pages, newest_first=True)

    def _makes(self, record: Record, terms: LockTerms) -> bool:
        gate = self._watch.gate_in(record)
        return gate is not None and gate.terms == terms

    async def status(self, terms: LockTerms, own_gate: str | None = None) -> LockStatus:
        """Tell how the lock with these terms stands; of several equal ones the best: an open one."""
        if await self.standing(terms) is not None:
            return LockStatus.OPEN
        fates = [await self._fate(gate) for gate in await self.find(terms, own_gate)]
        for status in (LockStatus.OPEN, LockStatus.CLAIMED, LockStatus.REFUNDED):
            if status in fates:
                return status
        return LockStatus.ABSENT

    async def refundable(self, terms: LockTerms, own_gate: str | None = None) -> Gate | None:
        """Return a lock with these terms whose balance is still there, with or without its gate."""
        gate = await self.standing(terms)
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
        found = {gate.balance_id: gate for gate in await self.all_standing(terms)}
        for gate in [] if found else await self.find(terms, own_gate):
            there = await self._horizon.claimable_balance(gate.balance_id) is not None
            if there and await self._horizon.account(gate.address) is not None:
                found[gate.balance_id] = gate
        return list(found.values())

    async def _fate(self, gate: Gate) -> LockStatus:
        if await self._horizon.claimable_balance(gate.balance_id) is not None:
            # The balance outlives a reclaimed gate: then only the refund is left of it.
            return LockStatus.OPEN
        for record in reversed(await self._horizon.balance_transactions(gate.balance_id)):
            if not record["successful"]:
                continue
            envelope = xdr.TransactionEnvelope.from_xdr(record["envelope_xdr"])
            claimers = [who for who, balance_id in claims_in(envelope) if balance_id == gate.balance_id]
            if gate.address in claimers and find_preimage(envelope, gate.terms.hashlock) is not None:
                return LockStatus.CLAIMED
            if claimers:
                return LockStatus.REFUNDED
        return LockStatus.ABSENT  # the transaction that made it is gone too

    async def revealed(self, gate: Gate) -> Preimage | None:
        """Return the preimage if any transaction on the gate has shown it, be it a failed one.

        The claim itself is found by the balance, however much dust others have sent to the gate; failed
        ones among the gate's newest transactions.
        """
        ended = await self._horizon.balance_transactions(gate.balance_id)
        found = preimage_in(ended, gate.terms.hashlock)
        if found is not None:
            return found
        pages = self._history_pages
        records = await self._horizon.account_transactions(gate.address, pages, newest_first=True)
        return preimage_in(records, gate.terms.hashlock)


def preimage_in(records: Sequence[Record], hashlock: bytes) -> Preimage | None:
    """Return the preimage of `hashlock` from the signatures of recorded transactions, or None."""
    for record in records:
        found = find_preimage(xdr.TransactionEnvelope.from_xdr(record["envelope_xdr"]), hashlock)
        if found is not None:
            return found
    return None


def _native_balance(account: Record) -> int:
    return next(stroops(each["balance"]) for each in account["balances"] if each["asset_type"] == "native")
