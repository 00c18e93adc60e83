"""Stellar behind `ChainPort`: Horizon to read and send, a gate and a claimable balance for each lock."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from stellar_sdk import Keypair, StrKey

from bridge.chains.actions import Action, ApproveAction, ClaimAction, CloseAction, SwapAction
from bridge.chains.errors import ActionRefusedError, BadAddressError, PortError
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
)
from relayers.stellar import fees, htlc, recognition, wallet
from relayers.stellar.assets import stroops, to_stellar
from relayers.stellar.authorizer import StellarAuthorizer
from relayers.stellar.building import MAKE_CHANNELS, TRUST, Builder
from relayers.stellar.channels import Sequences
from relayers.stellar.closing import Closing
from relayers.stellar.holdings import line_of, require_receiver, spendable
from relayers.stellar.horizon import Horizon
from relayers.stellar.locks import Locks
from relayers.stellar.settings import StellarSettings
from relayers.stellar.traits import TRAITS
from relayers.stellar.transactions import Transactions
from relayers.stellar.watch import Watch

_LOCK_OPERATIONS = 6
_CLAIM_OPERATIONS = 2
_REFUND_OPERATIONS = 1
_AUTHORIZED_CLAIM_OPERATIONS = 4
_WAY_BACK_OPERATIONS = 1


def open_port(settings: StellarSettings, key: bytes) -> StellarPort:
    """Return the port of the account of `key` (32-byte seed). Nothing is contacted before the first use."""
    return StellarPort(settings, key)


class StellarPort:
    """One Stellar network and one account of ours; a `bridge.chains.port.ChainPort`."""

    traits = TRAITS
    max_claims = TRAITS.max_claims
    contract = Address("")

    def __init__(self, settings: StellarSettings, key: bytes) -> None:
        self._settings = settings
        self.chain = settings.chain
        self._key = Keypair.from_raw_ed25519_seed(key)
        self._horizon = Horizon(settings.horizon_url, settings.request_timeout)
        self._watch = Watch(self._horizon, settings)
        self._locks = Locks(self._horizon, self._watch, settings)
        self._sequences = Sequences(self._horizon, self._key, settings.channels)
        self._builder = Builder(self._horizon, settings, self._key, self._locks, self._sequences)
        self._transactions = Transactions(self._horizon)
        self._closing = Closing(self._horizon, settings, self._key, self._locks, self._builder)
        self._authorizer = StellarAuthorizer(
            self._horizon, settings, self._key, self._locks, self._builder, self._check
        )
        self.authorizer: Authorizer | None = self._authorizer
        self._checked = False
        self.account = Address(self._key.public_key)

    def __repr__(self) -> str:
        return f"StellarPort({self.account}, {self._settings!r})"

    # ------------------------------------------------------------------ reading

    async def tip(self) -> Tip:
        """Return the newest ledger; its close time is the clock that deadlines are compared with."""
        await self._check()
        return await self._horizon.tip()

    async def scan(self, recent_blocks: Sequence[BlockRef], max_blocks: int) -> Scan:
        """See `ChainPort.scan`. A Horizon behind the ring on the same chain yields nothing."""
        await self._check()
        return await self._watch.scan(recent_blocks, max_blocks)

    async def read_lock(
        self, lock_id: LockId, terms: LockTerms, *, since: BlockHeight | None = None, agreed: bool = False
    ) -> LockStatus:
        """Tell how the lock with exactly these terms stands. OPEN can be relied on: the gate, its signers and
        the balance were compared, and the issuer can neither freeze nor take back."""
        await self._check()
        if lock_id != self.lock_id(terms):
            return LockStatus.ABSENT
        own = self._builder.gate_key(terms).public_key if terms.sender == self.account else None
        status = await self._locks.status(terms, own, since)
        if status is LockStatus.OPEN and terms.sender != self.account and terms.asset.contract:
            issuer = to_stellar(terms.asset).issuer or ""
            if recognition.issuer_problem(await self._horizon.account(issuer)):
                return LockStatus.ABSENT
        return status

    async def revealed(self, terms: LockTerms) -> Preimage | None:
        """Return the preimage if any transaction on a gate of these terms has shown it, even a failed one."""
        await self._check()
        own = self._builder.gate_key(terms).public_key if terms.sender == self.account else None
        for gate in await self._locks.find(terms, own):
            preimage = await self._locks.revealed(gate)
            if preimage is not None:
                return preimage
        return None

    async def balance(self, address: Address, asset: Asset) -> Amount:
        """Return what an account may spend, in stroops: XLM beyond its reserve, or an issued asset.

        Raises `CannotReceiveError` for an issued asset that the address could not be paid a stroop of. Our
        own account is not asked that: its set-up actions open what lacks.
        """
        await self._check()
        account = await self._horizon.account(address)
        if asset.contract and address != self.account:
            require_receiver(account, address, asset, 1)
        if account is None:
            return Amount(0)
        if not asset.contract:
            ledger = await self._horizon.newest_ledger()
            return Amount(max(0, spendable(account, int(ledger["base_reserve_in_stroops"]))))
        line = line_of(account, asset)
        return Amount(0 if line is None else stroops(line["balance"]) - stroops(line["selling_liabilities"]))

    async def fees(self, asset: Asset) -> FeeEstimate:
        """Return the expected cost in stroops. A lock's deposit is part of it: it goes to the claimer. Of
        an authorised claim the way back of the deposit is part, which we pay for too."""
        await self._check()
        market = fees.read_market(await self._horizon.fee_stats(), self._settings.caps)
        issued = int(bool(asset.contract))
        deposit = (htlc.GATE_RESERVES + issued) * htlc.BASE_RESERVE
        for_user = market.charged * (_AUTHORIZED_CLAIM_OPERATIONS + 1 + _WAY_BACK_OPERATIONS + issued + 1)
        return FeeEstimate(
            lock=Amount(deposit + market.charged * (_LOCK_OPERATIONS + issued + 1)),
            claim=Amount(market.charged * (_CLAIM_OPERATIONS + 1)),
            refund=Amount(market.charged * (_REFUND_OPERATIONS + 1)),
            minimum=Amount(0 if issued else htlc.MIN_NEW_ACCOUNT),
            gasless_claim=Amount(for_user),
            authorized_claim=Amount(for_user),
        )

    async def setup_actions(self, assets: Sequence[Asset]) -> tuple[ApproveAction, ...]:
        """Return what is still missing: channel accounts, and a trustline for each issued asset."""
        await self._check()
        actions = []
        if await self._sequences.missing():
            actions.append(ApproveAction(MAKE_CHANNELS))
        account = await self._horizon.account(self.account)
        for asset in assets:
            has_line = account is not None and line_of(account, asset) is not None
            if asset.contract and not has_line and to_stellar(asset).issuer != self.account:
                actions.append(ApproveAction(TRUST + asset.contract.encode()))
        return tuple(actions)

    # ------------------------------------------------------------------ sending

    async def next_sequence(self) -> int | None:
        """Return the lowest sequence that no included transaction has used; with channels see `channels`."""
        await self._check()
        return await self._sequences.next()

    async def prepare(self, action: Action, sequence: int | None, fee: FeeLevel) -> SignedTx:
        """Check, price and sign. See `ChainPort.prepare`.

        CLOSE and a CLAIM with an authorisation use the gate's own sequence, none of ours (`sequence` may be
        None, the signed transaction's is), and are the same inner transaction whenever they are made: with a
        higher `fee` they replace what was sent before.
        """
        await self._check()
        if isinstance(action, SwapAction | CloseAction):
            htlc.check(action.terms, self.chain)
        if isinstance(action, CloseAction):
            return await self._closing.prepare(action.terms, fee)
        if isinstance(action, ClaimAction) and action.authorization:
            return await self._authorizer.prepare(action, fee)
        if sequence is None:
            raise ActionRefusedError("a Stellar transaction needs a sequence", "take it from next_sequence")
        return await self._builder.prepare(action, sequence, fee)

    async def broadcast(self, tx: SignedTx) -> BroadcastResult:
        """Send stored bytes; sending them again is harmless."""
        await self._check()
        return await self._transactions.broadcast(tx)

    async def tx_status(self, tx: SignedTx, *, agreed: bool = False) -> TxStatus:
        """Tell where a transaction is."""
        await self._check()
        return await self._transactions.status(tx)

    # ------------------------------------------------------------------ pure

    def lock_id(self, terms: LockTerms) -> LockId:
        """Return our name for a lock with these terms."""
        htlc.check(terms, self.chain)
        return htlc.lock_id(terms, self._settings.passphrase)

    def parse_address(self, text: str) -> Address:
        """Return the address. Raises `BadAddressError`."""
        text = text.strip()
        if StrKey.is_valid_med25519_public_key(text):
            raise BadAddressError(
                "multiplexed addresses (M…) cannot hold a lock", "give the account's own address (G…)"
            )
        if not StrKey.is_valid_ed25519_public_key(text):
            raise BadAddressError(
                f"{text[:60]!r} is not a Stellar address", "it is G and 55 capital letters and digits"
            )
        return Address(text)

    def unsigned(self, purpose: Purpose, terms: LockTerms, preimage: Preimage | None = None) -> UnsignedTx:
        """Return what the user's wallet makes its transaction of (`relayers.stellar.wallet`)."""
        if preimage is not None and not preimage.opens(terms.hashlock):
            raise ActionRefusedError("the preimage does not open the hashlock", "wait for the right one")
        known = self._watch.gates(self.lock_id(terms))
        gate = known[-1] if known else None
        return wallet.recipe(purpose, terms, preimage, self._settings.passphrase, gate)

    async def hints(self) -> AsyncIterator[None]:
        """Yield on every new ledger."""
        await self._check()
        async for _ in self._horizon.new_ledgers():
            yield

    async def close(self) -> None:
        """Close the connections."""
        await self._horizon.close()

    async def _check(self) -> None:
        """Once: does Horizon serve the right network, and can our assets' issuers be relied on?"""
        if self._checked:
            return
        passphrase = await self._horizon.passphrase()
        if passphrase != self._settings.passphrase:
            raise PortError(
                f"Horizon serves the network {passphrase!r}, not {self._settings.passphrase!r}",
                "correct the Horizon URL or the passphrase",
            )
        for asset in self._settings.assets:
            if asset.contract:
                issuer = to_stellar(asset).issuer or ""
                problem = recognition.issuer_problem(await self._horizon.account(issuer))
                if problem:
                    raise PortError(
                        f"{asset.symbol} cannot be dealt in: {problem}", "remove it from the assets"
                    )
        self._checked = True
