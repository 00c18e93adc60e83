"""A little Stellar world in memory: accounts with names, transactions in one line, ledgers on command."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from decimal import Decimal

from stellar_sdk import (
    Account,
    Asset,
    BumpSequence,
    ChangeTrust,
    CreateAccount,
    FeeBumpTransactionEnvelope,
    Keypair,
    Payment,
    TransactionBuilder,
    TransactionEnvelope,
)
from stellar_sdk.operation import Operation

from bridge.protocol.types import Address, Amount, LockTerms, Preimage, UnixSeconds
from bridge.protocol.types import Asset as SwapAsset
from relayers.stellar.devnet import entries
from relayers.stellar.devnet.entries import Account as AccountEntry
from relayers.stellar.devnet.fee_bump import Frame
from relayers.stellar.devnet.network import StandaloneNetwork
from relayers.stellar.devnet.queue import Submitted
from relayers.stellar.settings import XLM
from tests import instances
from tests.unit.stellar import gates
from tests.unit.stellar.gates import Gate

Envelope = TransactionEnvelope | FeeBumpTransactionEnvelope
START = 1_700_000_000
PREIMAGE = Preimage(b"thirty-two bytes of one preimage")


def keypair(name: str) -> Keypair:
    return Keypair.from_raw_ed25519_seed(hashlib.sha256(name.encode()).digest())


class LedgerWorld:
    """A network on which every account named in the constructor has 1000 XLM."""

    def __init__(self, *names: str, max_operations: int = 1000) -> None:
        self.network = StandaloneNetwork(genesis_time=START, max_operations=max_operations)
        self.passphrase = self.network.passphrase
        self.keys = {name: keypair(name) for name in names}
        self.root = self.network.root_key
        for key in self.keys.values():
            self.apply(self.root, [CreateAccount(key.public_key, "1000")])

    def __getattr__(self, name: str) -> Keypair:
        try:
            key: Keypair = self.__dict__["keys"][name]
        except KeyError:
            raise AttributeError(name) from None
        return key

    @property
    def now(self) -> int:
        return self.network.header.close_time

    def entry(self, key: Keypair | str) -> AccountEntry | None:
        raw = (Keypair.from_public_key(key) if isinstance(key, str) else key).raw_public_key()
        found: AccountEntry | None = self.network.state.peek(entries.account(raw))
        return found

    def xlm(self, key: Keypair | str) -> int:
        found = self.entry(key)
        return 0 if found is None else found.balance

    def line(self, key: Keypair, asset: Asset) -> entries.TrustLine | None:
        wanted = entries.asset_id(asset.to_xdr_object())
        found: entries.TrustLine | None = self.network.state.peek(
            entries.trustline(key.raw_public_key(), wanted)
        )
        return found

    def balance_exists(self, balance_id: str) -> bool:
        raw = bytes.fromhex(balance_id[8:])
        return self.network.state.peek(entries.claimable_balance(raw)) is not None

    def build(
        self,
        source: Keypair,
        operations: Sequence[Operation],
        *signers: Keypair,
        preimage: Preimage | None = None,
        fee: int = 100,
        until: int = 0,
    ) -> TransactionEnvelope:
        entry = self.entry(source)
        sequence = entry.sequence if entry is not None else 0
        builder = TransactionBuilder(Account(source.public_key, sequence), self.passphrase, base_fee=fee)
        for operation in operations:
            builder.append_operation(operation)
        envelope = builder.add_time_bounds(0, until).build()
        for signer in {each.public_key: each for each in (source, *signers)}.values():
            envelope.sign(signer)
        if preimage is not None:
            envelope.sign_hashx(preimage.reveal())
        return envelope

    def submit(self, envelope: Envelope) -> tuple[Submitted, Frame]:
        return self.network.submit(envelope.to_xdr_object())

    def close(self, seconds: int = 5, at: int | None = None) -> None:
        self.network.close(self.now + seconds if at is None else at)

    def send(self, envelope: Envelope, at: int | None = None) -> tuple[str, ...]:
        """Submit and close a ledger; return the codes, of the refusal or of the ledger."""
        status, frame = self.submit(envelope)
        if status is not Submitted.PENDING:
            return (status.value, *frame.result.names) if status is Submitted.ERROR else (status.value,)
        self.close(at=at)
        applied = self.network.transaction(frame.contents_hash)
        return ("DROPPED",) if applied is None else applied.result.names

    def apply(self, source: Keypair, operations: Sequence[Operation], *signers: Keypair) -> None:
        codes = self.send(self.build(source, operations, *signers))
        assert codes[0] == "txSUCCESS", codes

    # Locks

    def issue(self, issuer: Keypair, code: str, *holders: Keypair, amount: str = "100") -> SwapAsset:
        asset = Asset(code, issuer.public_key)
        for holder in holders:
            self.apply(holder, [ChangeTrust(asset)])
            if amount != "0":
                self.apply(issuer, [Payment(holder.public_key, asset, amount)])
        return SwapAsset(instances.STELLAR, code, 7, f"{code}:{issuer.public_key}")

    def terms(
        self,
        sender: Keypair,
        recipient: Keypair,
        *,
        preimage: Preimage = PREIMAGE,
        asset: SwapAsset = XLM,
        amount: str = "10",
        lifetime: int = 10_000,
    ) -> LockTerms:
        return LockTerms(
            instances.STELLAR,
            Address(""),
            Address(sender.public_key),
            Address(recipient.public_key),
            asset,
            Amount(int(Decimal(amount).scaleb(7))),
            preimage.hashlock(),
            UnixSeconds(self.now + lifetime),
        )

    def lock_envelope(self, terms: LockTerms, gate: Keypair, sender: Keypair) -> TransactionEnvelope:
        sequence = gates.gate_sequence(self.network.header.sequence)
        operations = gates.lock_operations(
            terms, gate.public_key, sequence, self.passphrase, gates.deposit(terms)
        )
        return self.build(sender, operations, gate)

    def lock(self, terms: LockTerms, sender: Keypair, gate: Keypair | None = None) -> Gate:
        """Lock with a gate account."""
        envelope = self.lock_envelope(terms, gate or keypair("gate"), sender)
        codes = self.send(envelope)
        assert codes[0] == "txSUCCESS", codes
        operations = envelope.transaction.operations
        made, bumped = operations[0], next(each for each in operations if isinstance(each, BumpSequence))
        assert isinstance(made, CreateAccount)
        balance_id = envelope.transaction.get_claimable_balance_id(len(operations) - 1)
        return Gate(terms, made.destination, bumped.bump_to, balance_id, gates.deposit(terms))

    def claim(self, gate: Gate, recipient: Keypair, preimage: Preimage = PREIMAGE) -> tuple[str, ...]:
        return self.send(self.build(recipient, gates.claim_operations(gate), preimage=preimage))

    def refund(self, gate: Gate, sender: Keypair, at: int | None = None) -> tuple[str, ...]:
        return self.send(self.build(sender, gates.refund_operations(gate)), at=at)

    def reclaim(self, gate: Gate, payer: Keypair, at: int | None = None) -> tuple[str, ...]:
        inner = gates.reclaim_transaction(gate.terms, gate.address, gate.sequence, self.passphrase)
        return self.send(gates.bump(inner, payer, 200), at=at)

    def pass_gate_sequence(self) -> None:
        """Close so many ledgers that the gates made before can be merged."""
        for _ in range(gates.SEQUENCE_LEDGERS + 1):
            self.close(1)
