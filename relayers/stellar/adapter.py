"""Stellar behind `ChainPort`: locks are entries of our contract, read and sent through Stellar RPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from stellar_sdk import Keypair, StrKey

from bridge.chains.actions import Action, ApproveAction, SwapAction
from bridge.chains.endpoints.agreed_status import agreed_status
from bridge.chains.endpoints.agreement import Agreed
from bridge.chains.endpoints.json_rpc import OneEndpoint
from bridge.chains.endpoints.reports import Report
from bridge.chains.endpoints.selection import Rules
from bridge.chains.errors import ActionRefusedError, BadAddressError
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
from bridge.chains.upkeep import Kept
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
from relayers.stellar import contract, estimates, keeping, receivers, wallet
from relayers.stellar.accounts import (
    MIN_NEW_ACCOUNT,
    read_holder,
)
from relayers.stellar.assets import is_contract, is_issued, to_stellar
from relayers.stellar.building import MAKE_CHANNELS, TRUST, Builder
from relayers.stellar.channels import Sequences
from relayers.stellar.identity import identify
from relayers.stellar.ledgers import ANCESTRY, ChainMovedError, read_tip
from relayers.stellar.locks import Locks
from relayers.stellar.policy import asset_problem, check_asset
from relayers.stellar.rpc import LAG_LEDGERS, ask, open_rpc
from relayers.stellar.sending import Transactions
from relayers.stellar.settings import StellarSettings
from relayers.stellar.traits import TRAITS
from relayers.stellar.watch import Watch

_POLLS_BEFORE_RETRY = 20


def open_port(settings: StellarSettings, key: bytes) -> StellarPort:
    """Return the port of the account of `key` (32-byte seed). Nothing is contacted before the first use."""
    return StellarPort(settings, key)


class StellarPort:
    """One Stellar network, one contract and one account of ours; a `bridge.chains.port.ChainPort`."""

    traits = TRAITS
    max_claims = TRAITS.max_claims
    authorizer: Authorizer | None = None

    def __init__(self, settings: StellarSettings, key: bytes) -> None:
        self._settings = settings
        self.chain = settings.chain
        self._key = Keypair.from_raw_ed25519_seed(key)
        self._rpc = open_rpc(
            settings.rpc_urls,
            settings.request_timeout,
            settings.chain,
            rules=Rules(lag=LAG_LEDGERS, max_age=settings.max_head_age),
            identify=lambda one: identify(one, settings),
            ancestry=ANCESTRY,
        )
        self._watch = Watch(self._rpc, settings)
        self._sequences = Sequences(self._key, settings.channels)
        self._builder = Builder(settings, self._key, self._sequences)
        self._transactions = Transactions()
        self._estimates = estimates.Estimates(settings, self._key.public_key)
        self.contract = Address(settings.contract)
        self.account = Address(self._key.public_key)

    def __repr__(self) -> str:
        return f"StellarPort({self.account}, {self._settings!r})"

    # ------------------------------------------------------------------ reading

    async def tip(self) -> Tip:
        """Return the newest ledger; its close time is the clock that deadlines are compared with."""
        return await self._watch.tip()

    async def scan(self, recent_blocks: Sequence[BlockRef], max_blocks: int) -> Scan:
        """See `ChainPort.scan`. An endpoint behind the ring on the same chain yields nothing."""
        return await self._watch.scan(recent_blocks, max_blocks)

    async def read_lock(
        self, lock_id: LockId, terms: LockTerms, *, since: BlockHeight | None = None, agreed: bool = False
    ) -> LockStatus:
        """Tell how the lock with exactly these terms stands; see `Locks.status`. Raises `ActionRefusedError`
        for one of another contract, which says nothing here."""
        contract.check_here(terms, self._settings)
        if lock_id != self.lock_id(terms):
            await self._rpc.pinned(read_tip)  # say so only when an endpoint answers
            return LockStatus.ABSENT

        async def look(one: OneEndpoint) -> LockStatus:
            status = await Locks(one, self._settings).status(terms, since)
            if status is not LockStatus.OPEN or terms.sender == self.account:
                return status
            # Nothing is locked against it while its issuer has powers that nobody has accepted.
            problem = await asset_problem(one, terms.asset, self._settings)
            return LockStatus.UNKNOWN if problem else LockStatus.OPEN

        if not agreed:
            return await self._rpc.reread(look, ChainMovedError)
        answer = await self._rpc.agree(look, moved=ChainMovedError)
        return answer.answer if isinstance(answer, Agreed) else LockStatus.UNKNOWN

    async def balance(self, address: Address, asset: Asset) -> Amount:
        """Return what an account may spend, in stroops: XLM beyond its reserve, or an issued asset.

        Raises `CannotReceiveError` for an issued asset that the address could not be paid a stroop of. Our
        own account is not asked that: its set-up actions open what lacks.
        """

        async def look(one: OneEndpoint) -> int:
            if is_issued(asset) and address != self.account:
                await receivers.check_receiver(one, address, asset, 1, self._settings)
            return await receivers.held(one, address, asset, self._settings)

        return Amount(await self._rpc.pinned(look))

    async def check_receiver(self, address: Address, asset: Asset) -> None:
        """See `ChecksReceivers`: no account (for issued assets), no trustline, one that is not authorised or
        is full, a wish for memos; no contract, or one of an asset. An account that XLM itself would create is
        fine: `FeeEstimate.minimum`."""

        async def look(one: OneEndpoint) -> None:
            amount = 1 if asset.contract else MIN_NEW_ACCOUNT
            await receivers.check_receiver(one, address, asset, amount, self._settings)

        await self._rpc.pinned(look)

    async def fees(self, asset: Asset) -> FeeEstimate:
        """Return the expected cost in stroops; see `Estimates`."""
        return await self._rpc.pinned(lambda one: self._estimates.of(one, asset))

    async def setup_actions(self, assets: Sequence[Asset]) -> tuple[ApproveAction, ...]:
        """Return what is still missing: channel accounts, a trustline for each issued asset; and what must be
        kept from being archived now (docs/decisions/0147)."""

        async def look(one: OneEndpoint) -> tuple[ApproveAction, ...]:
            actions = []
            if await self._sequences.missing(one):
                actions.append(ApproveAction(MAKE_CHANNELS))
            for asset in assets:
                await check_asset(one, asset, self._settings)
                if not is_issued(asset) or to_stellar(asset).issuer == self.account:
                    continue
                if (await read_holder(one, self.account, asset)).line is None:
                    actions.append(ApproveAction(TRUST + asset.contract.encode()))
            if keeping.due(await keeping.look(one, self._settings)):
                tip, _ = await read_tip(one)
                actions.append(ApproveAction(keeping.payload(tip.block.height)))
            return tuple(actions)

        return await self._rpc.pinned(look)

    async def upkeep(self, assets: Sequence[Asset]) -> tuple[Kept, ...]:
        """See `KeepsAlive`: the contract's code and instance, and what it holds of each asset."""

        async def look(one: OneEndpoint) -> tuple[Kept, ...]:
            told = [each.told() for each in await keeping.look(one, self._settings)]
            return tuple(each for each in told if each is not None)

        return await self._rpc.pinned(look)

    async def examine(self) -> tuple[Report, ...]:
        """Look at every endpoint now; for `rainbow check`."""
        return await self._rpc.examine()

    # ------------------------------------------------------------------ sending

    async def next_sequence(self) -> int | None:
        """Return the lowest sequence that no included transaction has used; with channels see `channels`."""
        return await self._rpc.pinned(self._sequences.next)

    async def prepare(self, action: Action, sequence: int | None, fee: FeeLevel) -> SignedTx:
        """Check, simulate, price and sign. See `ChainPort.prepare`."""
        if isinstance(action, SwapAction):
            contract.check(action.terms, self._settings)
        if sequence is None:
            raise ActionRefusedError("a Stellar transaction needs a sequence", "take it from next_sequence")
        return await self._rpc.reread(
            lambda one: self._builder.prepare(one, action, sequence, fee), ChainMovedError
        )

    async def broadcast(self, tx: SignedTx) -> BroadcastResult:
        """Send stored bytes to all endpoints; sending them again is harmless."""
        return await self._rpc.broadcast(lambda one: self._transactions.send(one, tx))

    async def tx_status(self, tx: SignedTx, *, agreed: bool = False) -> TxStatus:
        """Tell where a transaction is."""

        async def look(one: OneEndpoint) -> TxStatus:
            return await self._transactions.status(one, tx)

        if not agreed:
            return await self._rpc.reread(look, ChainMovedError)
        return await agreed_status(self._rpc.pool, look, ChainMovedError)

    # ------------------------------------------------------------------ pure

    def lock_id(self, terms: LockTerms) -> LockId:
        """Return the id that the contract gives a lock with these terms, hex."""
        contract.check_instance(terms, self._settings)
        return contract.lock_id(terms, self._settings.passphrase)

    def parse_address(self, text: str) -> Address:
        """Return the address. Raises `BadAddressError`."""
        text = text.strip()
        if StrKey.is_valid_med25519_public_key(text):
            raise BadAddressError(
                "multiplexed addresses (M…) cannot hold a lock", "give the account's own address (G…)"
            )
        if text == self.contract:
            raise BadAddressError("this is the contract that holds the locks", "give your own account")
        if not StrKey.is_valid_ed25519_public_key(text) and not is_contract(text):
            raise BadAddressError(
                f"{text[:60]!r} is not a Stellar address",
                "it is G (or C, a smart account's) and 55 capital letters and digits",
            )
        return Address(text)

    def unsigned(self, purpose: Purpose, terms: LockTerms, preimage: Preimage | None = None) -> UnsignedTx:
        """Return the contract call that a wallet makes its transaction of (`wallet`)."""
        contract.check(terms, self._settings)
        return wallet.draft(purpose, terms, preimage, self._settings)

    async def hints(self) -> AsyncIterator[None]:
        """Yield on every new ledger. Stellar RPC pushes nothing: it is asked."""
        seen = None
        for _ in range(_POLLS_BEFORE_RETRY):
            height = await self._rpc.pinned(_newest)
            if height != seen:
                if seen is not None:
                    yield
                seen = height
            await asyncio.sleep(self._settings.poll_interval)

    async def close(self) -> None:
        """Close the connections."""
        await self._rpc.close()


async def _newest(one: OneEndpoint) -> int:
    return int((await ask(one, "getHealth"))["latestLedger"])
