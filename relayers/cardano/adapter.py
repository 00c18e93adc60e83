"""Cardano behind `ChainPort`: unspent outputs instead of sequences, and a time to live on everything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

from pycardano import (
    PaymentSigningKey,
    Transaction,
    TransactionWitnessSet,
    VerificationKeyWitness,
)
from pycardano.serialization import NonEmptyOrderedSet

from bridge.chains.actions import Action, ApproveAction, ClaimAction, LockAction, SwapAction
from bridge.chains.endpoints.agreed_status import agreed_status
from bridge.chains.endpoints.agreement import Agreed
from bridge.chains.endpoints.reports import Report
from bridge.chains.errors import ActionRefusedError, PortError
from bridge.chains.port import (
    Authorizer,
    BroadcastResult,
    FeeEstimate,
    FeeLevel,
    LockStatus,
    Scan,
    SignedTx,
    Tip,
    TxStatus,
    UnsignedTx,
)
from bridge.protocol.types import (
    Address,
    Amount,
    Asset,
    BlockHeight,
    BlockRef,
    LockId,
    LockTerms,
    Preimage,
    Purpose,
    UnixSeconds,
)
from relayers.cardano import htlc, sent_txs, wallet
from relayers.cardano.building import LEAST_TOKEN_DEPOSIT, least_ada
from relayers.cardano.chain_view import ChainMovedError
from relayers.cardano.fees import estimate
from relayers.cardano.payer_outputs import PayerOutputs
from relayers.cardano.script import validator_address
from relayers.cardano.services import Service, open_services
from relayers.cardano.settings import CardanoSettings
from relayers.cardano.tokens import Tokens
from relayers.cardano.traits import TRAITS

T = TypeVar("T")


def open_port(settings: CardanoSettings, key: bytes) -> CardanoPort:
    """Return the port of the account of `key` (a 32-byte ed25519 seed). Nothing is contacted yet."""
    return CardanoPort(settings, key)


def account_of(settings: CardanoSettings, key: bytes) -> Address:
    """Return the address of a key (32 bytes) on the settings' network."""
    public = PaymentSigningKey(key).to_verification_key()
    return htlc.canonical(public.hash().payload, settings.address_network)


class CardanoPort:
    """One Cardano network and one account of ours; a `bridge.chains.port.ChainPort`.

    There are no sequences: a transaction is replaced by nothing and expires by itself. What keeps two of ours
    from spending the same output is `PayerOutputs`; a rebuilt lock is safe because the old one has expired
    for good.
    """

    traits = TRAITS
    max_claims = TRAITS.max_claims
    """Far below what a transaction can hold (build/bench/cardano.json), but more saves hardly anything."""
    authorizer: Authorizer | None = None

    def __init__(self, settings: CardanoSettings, key: bytes) -> None:
        if len(key) != 32:
            raise PortError("a Cardano key has 32 bytes", "give the ed25519 seed of the account")
        self._key = PaymentSigningKey(key)
        self._settings = settings
        self.chain = settings.chain
        network = settings.address_network
        self.contract = validator_address(network)
        self.account = account_of(settings, key)
        self._pool = open_services(settings)
        self._tokens = Tokens(self._pool.clients)
        self._payer = PayerOutputs(self.account)
        self._building = asyncio.Lock()

    def __repr__(self) -> str:
        return f"CardanoPort({self.account}, {self._settings!r})"

    # ------------------------------------------------------------------ reading

    async def tip(self) -> Tip:
        """Return the head; the chain's clock is its slot's time."""
        head = await self._head()
        return Tip(head, head.time)

    async def scan(self, recent_blocks: Sequence[BlockRef], max_blocks: int) -> Scan:
        """See `ChainPort.scan`. A service that lags behind the ring yields nothing, and no orphans."""
        return await self._read(lambda service: service.history.scan(recent_blocks, max_blocks))

    async def read_lock(
        self, lock_id: LockId, terms: LockTerms, *, since: BlockHeight | None = None, agreed: bool = False
    ) -> LockStatus:
        """Tell what became of the lock with exactly these terms; `agreed`: two services say so, where two are
        configured."""
        if lock_id != self.lock_id(terms):
            await self._head()
            return LockStatus.ABSENT

        async def look(service: Service) -> LockStatus:
            return await service.drafting.status(terms, self.account, since)

        if not agreed:
            return await self._read(look)
        said = await self._pool.agree(look, moved=ChainMovedError)
        return said.answer if isinstance(said, Agreed) else LockStatus.UNKNOWN

    async def balance(self, address: Address, asset: Asset) -> Amount:
        """Return what lies in blocks at an address, in smallest units; tokens bind some of the ada."""
        utxos = await self._read(lambda service: service.view.utxos(address))
        if not asset.contract:
            return Amount(sum(output.lovelace for output in utxos))
        return Amount(sum(output.tokens.get(asset.contract, 0) for output in utxos))

    async def fees(self, asset: Asset) -> FeeEstimate:
        """Return the expected fees; a lock of tokens also binds a deposit, which goes with the tokens. A lock
        of ada must hold what the ledger asks of every output of its size."""
        await self._tokens.check(asset)
        parameters = await self._read(lambda service: service.drafting.parameters())
        by_reference = bool(self._settings.reference_script)
        if asset.contract:
            return estimate(parameters, LEAST_TOKEN_DEPOSIT, 0, by_reference=by_reference)
        least = least_ada(parameters, self._settings.address_network)
        return estimate(parameters, 0, least, by_reference=by_reference)

    async def setup_actions(self, assets: Sequence[Asset]) -> tuple[ApproveAction, ...]:
        """Return nothing: native tokens need no approval. Raises `PortError` for one that has other decimals
        (see `Tokens.check`)."""
        await self._tokens.check(*assets)
        return ()

    # ------------------------------------------------------------------ sending

    async def next_sequence(self) -> int | None:
        """Return None: there are no sequences here (and say so if the service is down)."""
        await self._head()
        return None

    async def prepare(self, action: Action, sequence: int | None, fee: FeeLevel) -> SignedTx:
        """Build on a fresh view, evaluate, and sign. See `ChainPort.prepare`. Fees are fixed by the ledger:
        bidding more buys nothing."""
        if not isinstance(action, SwapAction):
            raise ActionRefusedError(
                f"there is no {action.purpose} on Cardano",
                "there is no sequence to use up: a transaction of ours expires by itself",
            )
        if isinstance(action, ClaimAction):
            self._check_batch(action)
        if isinstance(action, LockAction):
            await self._tokens.check(action.terms.asset)
        async with self._building:
            signed_height = (await self._head()).height
            draft = await self._read(lambda service: service.drafting.draft(action, self._payer))
            tx = sign(draft.tx, self._key)
            expires = self._settings.time_of(draft.ttl)
            self._payer.promise(draft.spends, expires)
        margin = self._settings.rollback_margin if action.purpose is Purpose.LOCK else 0
        return SignedTx(
            tx_id=tx.id.payload.hex(),
            raw=tx.to_cbor(),
            account=self.account,
            sequence=None,
            fee={"fee": draft.fee, "locks": draft.locks},
            max_cost=Amount(draft.max_cost),
            valid_until_time=UnixSeconds(expires + margin),
            signed_height=signed_height,
        )

    def _check_batch(self, action: ClaimAction) -> None:
        """Raise `ActionRefusedError` if a claim and its `others` make no batch."""
        if len(action.others) >= self.max_claims:
            raise ActionRefusedError(f"a batch has at most {self.max_claims} claims", "make several batches")
        paid = action.terms.recipient, action.terms.asset
        if any((other.terms.recipient, other.terms.asset) != paid for other in action.others):
            raise ActionRefusedError("a batch has one recipient and one asset", "make a batch for each")

    async def broadcast(self, tx: SignedTx) -> BroadcastResult:
        """Send stored bytes to every service; sending them again is harmless."""
        return await self._pool.broadcast(lambda service: sent_txs.send(service.view, tx), ChainMovedError)

    async def tx_status(self, tx: SignedTx, *, agreed: bool = False) -> TxStatus:
        """Tell where a transaction is. REPLACED: an output that it spends was spent by another one."""

        async def look(service: Service) -> TxStatus:
            return await sent_txs.status(service.view, tx, self.account)

        if not agreed:
            return await self._read(look)
        return await agreed_status(self._pool, look, ChainMovedError)

    # ------------------------------------------------------------------ pure

    def lock_id(self, terms: LockTerms) -> LockId:
        """Return the id of a lock with these terms, hex."""
        return htlc.id_of(terms, self._settings)

    def parse_address(self, text: str) -> Address:
        """Return the address without a stake part of the same payment key. Raises `BadAddressError`."""
        return htlc.parse_address(text, self._settings.address_network)

    def unsigned(self, purpose: Purpose, terms: LockTerms, preimage: Preimage | None = None) -> UnsignedTx:
        """Return what `relayers.cardano.wallet` completes for a user's wallet."""
        return wallet.intent(purpose, terms, preimage, self._settings)

    async def hints(self) -> AsyncIterator[None]:
        """Yield on every new head, polled."""
        seen = (await self._head()).id
        while True:
            await asyncio.sleep(self._settings.poll_interval)
            head = (await self._head()).id
            if head != seen:
                seen = head
                yield

    async def examine(self) -> tuple[Report, ...]:
        """Look at every service, for `rainbow check`."""
        return await self._pool.examine()

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.close()

    # ------------------------------------------------------------------ helpers

    async def _read(self, work: Callable[[Service], Awaitable[T]]) -> T:
        """Do `work` with one service, and again while the chain moves under the reading."""
        return await self._pool.reread(work, ChainMovedError)

    async def _head(self) -> BlockRef:
        return await self._read(lambda service: service.view.head())


def sign(tx: Transaction, key: PaymentSigningKey) -> Transaction:
    """Return the transaction with the witness of a key added."""
    witness = VerificationKeyWitness(key.to_verification_key(), key.sign(tx.transaction_body.hash()))
    held: TransactionWitnessSet = tx.transaction_witness_set
    held.vkey_witnesses = NonEmptyOrderedSet([*(held.vkey_witnesses or []), witness])
    return Transaction(tx.transaction_body, held, tx.valid, tx.auxiliary_data)
