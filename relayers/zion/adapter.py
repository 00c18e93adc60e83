"""ZION behind `ChainPort`: scan by block ids, native HTLCs, every rule checked before anything is signed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

from bridge.chains.actions import Action, AnchorAction, ApproveAction, CancelAction, CloseAction, SwapAction
from bridge.chains.anchors import AnchorEvidence
from bridge.chains.endpoints.agreement import Agreed
from bridge.chains.endpoints.reports import Report
from bridge.chains.endpoints.selection import Rules
from bridge.chains.errors import ActionRefusedError, BadAddressError, PortError, PortUnavailableError
from bridge.chains.port import (
    Authorizer,
    BroadcastOutcome,
    BroadcastResult,
    FeeEstimate,
    FeeLevel,
    LockStatus,
    Scan,
    SignedTx,
    Tip,
    TxState,
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
    TxId,
    UnixSeconds,
)
from chain.rules.address import decode_address, encode_address
from chain.rules.errors import AddressError, WalletError
from chain.rules.locks import LockState
from chain.rules.params import MIN_FEE
from chain.rules.records import PAYS_AMOUNT, SPENDS_LOCK, ZERO20, Kind, Transaction
from chain.service.messages import AccountView, LockView, NodeInfo, TransactionPlace
from chain.wallet.keys import Key
from chain.wallet.transactions import sign
from relayers.zion import anchors, blocks, fees, htlc
from relayers.zion.nodes import Asks, Node, NodeRefusedError, Nodes
from relayers.zion.rules import check_funds, check_lock
from relayers.zion.settings import ZionSettings
from relayers.zion.traits import TRAITS

T = TypeVar("T")

_POLLS_BEFORE_RETRY = 20
"""After so many polls `hints` ends, so that its caller comes back and the WebSocket is tried again."""

_LOCK_STATUS = {
    LockState.OPEN.value: LockStatus.OPEN,
    LockState.CLAIMED.value: LockStatus.CLAIMED,
    LockState.REFUNDED.value: LockStatus.REFUNDED,
}
_BROADCAST = {
    "nonce_too_low": BroadcastOutcome.SEQUENCE_USED,
    "fee_too_low": BroadcastOutcome.UNDERPRICED,
    "replacement_underpriced": BroadcastOutcome.UNDERPRICED,
    # Somebody else's spend of the same lock waits in the pool and bids more.
    "lock_spend_pending": BroadcastOutcome.UNDERPRICED,
    "mempool_full": BroadcastOutcome.UNDERPRICED,
}


def open_port(settings: ZionSettings, key: bytes) -> ZionPort:
    """Return the port of the account of `key` (32 bytes). Nothing is contacted before the first use."""
    return ZionPort(settings, key)


class ZionPort:
    """One ZION network and one account of ours; a `bridge.chains.port.ChainPort`."""

    traits = TRAITS
    max_claims = TRAITS.max_claims
    authorizer: Authorizer | None = None
    contract = Address("")

    def __init__(self, settings: ZionSettings, key: bytes) -> None:
        try:
            self._key = Key.from_secret(key)
        except WalletError as error:
            raise PortError(error.message, error.hint) from None
        self._settings = settings
        self.chain = settings.chain
        rules = Rules(max_age=settings.max_head_age)
        self._nodes = Nodes(settings.rpc_urls, settings.timeout, rules=rules, identify=self._identify)
        self.account = Address(self._key.address)

    def __repr__(self) -> str:
        return f"ZionPort({self.account}, {self._settings!r})"

    # ------------------------------------------------------------------ reading

    async def tip(self) -> Tip:
        """Return the head and the median time past, which the next block's deadlines are compared with."""
        return await self._reread_if_moved(self._tip)

    async def scan(self, recent_blocks: Sequence[BlockRef], max_blocks: int) -> Scan:
        """See `ChainPort.scan`. A node behind the ring on the same chain yields nothing, and no orphans."""
        return await self._reread_if_moved(lambda node: self._scan(node, recent_blocks, max_blocks))

    async def _tip(self, node: Asks) -> Tip:
        info = await node.ask(lambda client: client.get_info())
        return Tip(await blocks.read_head(node, info), UnixSeconds(info.median_time))

    async def _scan(self, node: Asks, recent_blocks: Sequence[BlockRef], max_blocks: int) -> Scan:
        info = await node.ask(lambda client: client.get_info())
        if recent_blocks and info.best_id == recent_blocks[-1].id:
            return Scan((), (), (), Tip(recent_blocks[-1], UnixSeconds(info.median_time)))
        head = await blocks.read_head(node, info)
        tip = Tip(head, UnixSeconds(info.median_time))
        orphaned: tuple[BlockRef, ...] = ()
        first, last, parent = head.height, head.height, head.parent
        if recent_blocks:
            recent_blocks = await blocks.anchored(node, recent_blocks, head)
            index = await blocks.common_ancestor(node, recent_blocks, head)
            if index is None:
                return Scan((), (), (), tip)
            orphaned = tuple(reversed(recent_blocks[index + 1 :]))
            first, parent = BlockHeight(recent_blocks[index].height + 1), recent_blocks[index].id
            last = BlockHeight(min(head.height, recent_blocks[index].height + max_blocks))
        views = await blocks.read_headers(node, first, last)
        refs = blocks.linked(views, parent)
        if len(refs) != last - first + 1 or (refs and last == head.height and refs[-1] != head):
            raise blocks.ChainMovedError
        events, count = await blocks.read_events(node, refs, self._settings.native)
        return Scan(orphaned, tuple(refs[:count]), tuple(events), tip)

    async def read_lock(
        self, lock_id: LockId, terms: LockTerms, *, since: BlockHeight | None = None, agreed: bool = False
    ) -> LockStatus:
        """Tell what became of the lock with exactly these terms. Nodes forget nothing, but one that has not
        come as far as `since` yet cannot know of it."""
        if lock_id != self.lock_id(terms):
            return LockStatus.ABSENT
        if agreed:
            said = await self._nodes.agree(lambda node: self._lock_status(node, lock_id, since))
            return said.answer if isinstance(said, Agreed) else LockStatus.UNKNOWN
        return await self._reread_if_moved(lambda node: self._lock_status(node, lock_id, since))

    async def _lock_status(self, node: Asks, lock_id: LockId, since: BlockHeight | None) -> LockStatus:
        # The height first: the node may take blocks in between the two calls.
        behind = since is not None and (await node.ask(lambda client: client.get_info())).height <= since
        lock = await node.ask(lambda client: client.get_lock(lock_id))
        if lock is None:
            return LockStatus.UNKNOWN if behind else LockStatus.ABSENT
        return _LOCK_STATUS.get(lock.state, LockStatus.UNKNOWN)

    async def balance(self, address: Address, asset: Asset) -> Amount:
        """Return the confirmed balance in smallest units."""
        if asset.contract or asset.chain != self.chain:
            raise PortError(
                f"{self.chain} has no asset {asset.symbol} at {asset.contract!r}", "its one asset is ZION"
            )
        return Amount((await self._account(address)).balance)

    async def fees(self, asset: Asset) -> FeeEstimate:
        """Return the fee that suffices for the next block: it is the same for every purpose."""
        fee = max((await self._nodes.ask(lambda node: node.estimate_fee())).next_block, MIN_FEE)
        return FeeEstimate(lock=Amount(fee), claim=Amount(fee), refund=Amount(fee))

    async def setup_actions(self, assets: Sequence[Asset]) -> tuple[ApproveAction, ...]:
        """Return nothing: the native coin needs no approval."""
        return ()

    # ------------------------------------------------------------------ sending

    async def next_sequence(self) -> int | None:
        """Return the account's nonce, counting confirmed transactions only."""
        return (await self._account(self.account)).nonce

    async def pending_sequence(self) -> int:
        """Return the nonce after everything of the account that the node's pool holds without a gap.

        Above `next_sequence` plus our own open intents it means that somebody else signs for this account,
        or that an older backup was restored.
        """
        return (await self._account(self.account)).pending_nonce

    async def prepare(self, action: Action, sequence: int | None, fee: FeeLevel) -> SignedTx:
        """Check against the chain's rules on a fresh view, price and sign. See `ChainPort.prepare`."""
        if sequence is None:
            raise ActionRefusedError("a ZION transaction needs a nonce", "take it from next_sequence")
        market, account = await asyncio.gather(
            self._nodes.ask(lambda node: node.estimate_fee()), self._account(self.account)
        )
        offer = fees.bid(market.next_block, fee, action.purpose, self._settings)
        tx = self._transaction(action, sequence, offer)
        spent = tx.amount if tx.kind in PAYS_AMOUNT else 0
        earned = tx.amount if tx.kind in SPENDS_LOCK and tx.recipient == self._key.key_hash else 0
        check_funds(account.balance, spent, earned, offer)
        if isinstance(action, SwapAction):
            info, lock = await asyncio.gather(self._info(), self._ask_lock(self.lock_id(action.terms)))
            check_lock(action.purpose, action.terms, lock, info.median_time)
        signed = sign(self._key, tx, tx.witness.aux)
        return SignedTx(
            tx_id=TxId(signed.txid.hex()),
            raw=signed.raw,
            account=self.account,
            sequence=sequence,
            fee={"fee": offer},
            max_cost=Amount(offer),
        )

    def _transaction(self, action: Action, nonce: int, fee: int) -> Transaction:
        chain_id, sender = self._settings.chain_id, self._key.key_hash
        match action:
            case CancelAction():
                return Transaction(Kind.TRANSFER, chain_id, nonce, 1, fee, sender, sender)
            case AnchorAction(root=root, size=size):
                if len(root) != 32:
                    raise ActionRefusedError("an anchor is a 32-byte root", "give the log's root")
                return Transaction(Kind.ANCHOR, chain_id, nonce, size, fee, sender, ZERO20, root)
            case ApproveAction() | CloseAction():
                raise ActionRefusedError(
                    f"there is no {action.purpose} on ZION", "its locks need no approval and leave no deposit"
                )
        return htlc.transaction(action, self._settings, sender=sender, nonce=nonce, fee=fee)

    async def broadcast(self, tx: SignedTx) -> BroadcastResult:
        """Send stored bytes; sending them again is harmless."""
        return await self._nodes.broadcast(lambda node: self._send(node, tx))

    async def _send(self, node: Asks, tx: SignedTx) -> BroadcastResult:
        try:
            answer = await node.ask(lambda client: client.submit(tx.raw))
        except NodeRefusedError as error:
            outcome = _BROADCAST.get(error.reason, BroadcastOutcome.REJECTED)
            return BroadcastResult(outcome, error.with_hint)
        if answer.txid != tx.tx_id:
            raise PortUnavailableError("the ZION node took some other transaction", "use another node")
        return BroadcastResult(BroadcastOutcome.ALREADY_KNOWN if answer.known else BroadcastOutcome.ACCEPTED)

    async def tx_status(self, tx: SignedTx, *, agreed: bool = False) -> TxStatus:
        """Tell where a transaction is. Never FAILED: what is invalid is in no ZION block."""
        if not agreed:
            return await self._reread_if_moved(lambda node: self._tx_status(node, tx))
        return await self._nodes.agreed_status(lambda node: self._tx_status(node, tx), blocks.ChainMovedError)

    async def _tx_status(self, node: Asks, tx: SignedTx) -> TxStatus:
        # The height and the nonce first: what is included between the calls must not look lost or replaced.
        height = (await node.ask(lambda client: client.get_info())).height
        account = await node.ask(lambda client: client.get_account(tx.account))
        found = await node.ask(lambda client: client.get_transaction(tx.tx_id))
        if found.status is TransactionPlace.INCLUDED and found.block_id is not None:
            block_id = found.block_id
            try:
                view = await node.ask(lambda client: client.get_header(block_id))
            except NodeRefusedError as error:
                raise blocks.ChainMovedError from error
            if not view.main_chain:
                raise blocks.ChainMovedError
            return TxStatus(TxState.INCLUDED, blocks.read_header(view), view.confirmations)
        if found.status is TransactionPlace.MEMPOOL:
            return TxStatus(TxState.PENDING)
        if tx.sequence is not None and account.nonce > tx.sequence:
            return TxStatus(TxState.REPLACED, reason=f"nonce {tx.sequence} was used by another transaction")
        behind = tx.signed_height is not None and height < tx.signed_height
        return TxStatus(TxState.UNSURE if behind else TxState.UNKNOWN)

    # ------------------------------------------------------------------ pure

    async def anchor_evidence(
        self, tx_id: TxId, *, since: BlockHeight | None, most: int
    ) -> AnchorEvidence | None:
        """See `bridge.chains.anchors.AnchorReader`."""
        return await self._reread_if_moved(lambda node: anchors.read_evidence(node, tx_id, since, most))

    def lock_id(self, terms: LockTerms) -> LockId:
        """Return the id the chain gives a lock with these terms, hex."""
        return LockId(htlc.id_of(terms, self._settings).hex())

    def parse_address(self, text: str) -> Address:
        """Return the lower-case "zion1…" form. Raises `BadAddressError`."""
        try:
            key_hash = decode_address(text)
        except AddressError as error:
            raise BadAddressError(error.message, error.hint or "copy the whole address again") from None
        if key_hash == ZERO20:
            raise BadAddressError("this address belongs to nobody", "give an address you hold the key of")
        return Address(encode_address(key_hash))

    def unsigned(self, purpose: Purpose, terms: LockTerms, preimage: Preimage | None = None) -> UnsignedTx:
        """Return the transaction a wallet completes and signs for this purpose; see `htlc.for_wallet`."""
        return htlc.for_wallet(purpose, terms, preimage, self._settings, MIN_FEE)

    async def hints(self) -> AsyncIterator[None]:
        """Yield on every new head, pushed or polled; ends now and then: call it again."""
        async for _ in self._nodes.heads():
            yield
        yield  # whatever happened while the line was down has not been announced
        seen = ""
        for _ in range(_POLLS_BEFORE_RETRY):
            best = (await self._info()).best_id
            if best != seen:
                seen = best
                yield
            await asyncio.sleep(self._settings.poll_interval)

    async def examine(self) -> tuple[Report, ...]:
        """Look at every node, for `rainbow check`."""
        return await self._nodes.examine()

    async def close(self) -> None:
        """Close the connections."""
        await self._nodes.close()

    # ------------------------------------------------------------------ helpers

    async def _reread_if_moved(self, read: Callable[[Node], Awaitable[T]]) -> T:
        """Read all of it from one node, and again while the chain moves under the reading."""
        return await self._nodes.reread(read, blocks.ChainMovedError)

    async def _info(self) -> NodeInfo:
        return await self._nodes.ask(lambda node: node.get_info())

    async def _account(self, address: str) -> AccountView:
        return await self._nodes.ask(lambda node: node.get_account(address))

    async def _ask_lock(self, lock_id: LockId) -> LockView | None:
        return await self._nodes.ask(lambda node: node.get_lock(lock_id))

    async def _identify(self, node: Node) -> None:
        """Raise `PortError` for a node of another network."""
        info = await node.ask(lambda client: client.get_info())
        if info.chain_id != self._settings.chain_id:
            raise PortError(
                f"the ZION node is on the {info.network} network, not on {self._settings.network.value}",
                "correct the RPC URL or the network",
            )
