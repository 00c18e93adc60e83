"""One EVM network behind `ChainPort`: scans by hash continuity, simulates before every signature."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.address import (
    is_checksum_address,
    is_checksum_formatted_address,
    is_hex_address,
    to_checksum_address,
)

from bridge.chains.actions import (
    AccountAction,
    Action,
    AnchorAction,
    ApproveAction,
    CancelAction,
    ClaimAction,
    CloseAction,
    CooperativeRefundAction,
    LockAction,
    RefundAction,
    SwapAction,
)
from bridge.chains.endpoints.agreed_status import agreed_status
from bridge.chains.endpoints.agreement import Agreed
from bridge.chains.endpoints.reports import Report
from bridge.chains.endpoints.selection import Rules
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
    ChainId,
    LockId,
    LockTerms,
    Preimage,
    Purpose,
)
from relayers.evm import access, artifacts, erc20, gas
from relayers.evm.authorizing import EvmAuthorizer
from relayers.evm.blocks import ChainMovedError
from relayers.evm.building import Builder, RevertedError, Spending
from relayers.evm.claiming import Claims
from relayers.evm.estimates import estimate
from relayers.evm.hints import new_heads
from relayers.evm.identity import check_contract, check_network
from relayers.evm.known_locks import KnownLocks
from relayers.evm.messages import HtlcContract, Message
from relayers.evm.profiles import FeeModel
from relayers.evm.receivers import Receivers
from relayers.evm.rpc import OneEndpoint, Rpc, open_rpc, quantity
from relayers.evm.scanning import Scanner
from relayers.evm.settings import EvmSettings
from relayers.evm.spends import LockLook
from relayers.evm.terms import Place
from relayers.evm.tokens import Tokens
from relayers.evm.traits import TRAITS
from relayers.evm.transactions import Sender, read_status

_Unclaiming = LockAction | RefundAction | CooperativeRefundAction | AccountAction
"""Every action but a claim, which `claiming` sends."""

_ALREADY_OPEN = "AlreadyOpen"
"""The contract's error for terms that are locked already and for a lane that holds a lock."""

_COOPERATIVE_REFUND_VALIDITY = 3600
"""Seconds for which our signature under a cooperative refund is valid; each replacement is signed again."""


def open_port(settings: EvmSettings, key: bytes) -> EvmPort:
    """Return the port of the account of `key` (32 bytes). Nothing is contacted before the first use."""
    return EvmPort(settings, key)


class EvmPort:
    """One EVM network, its HTLC contract and one account of ours; a `bridge.chains.port.ChainPort`."""

    traits = TRAITS
    max_claims = TRAITS.max_claims

    def __init__(self, settings: EvmSettings, key: bytes) -> None:
        self.chain: ChainId = settings.chain
        self._settings = settings
        self._signer: LocalAccount = Account.from_key(key)
        self.account = Address(self._signer.address)
        self.contract = self.parse_address(_contract_address(settings))
        self._rpc = _open(settings, self.contract)
        self._sender = Sender(self._rpc, _open_private(settings), self.contract)
        self._place = Place(settings.chain, settings.chain_id, self.contract)
        self._htlc = HtlcContract(self._place, gas_hints=settings.fee_model is not FeeModel.ARBITRUM)
        self._builder = Builder(self._rpc, self._signer, settings)
        self._claims = Claims(self._rpc, self._htlc, self._builder, self.account)
        relayer = self.parse_address(settings.relayer) if settings.relayer else ""
        self.authorizer: Authorizer | None = EvmAuthorizer(self._rpc, self._htlc, self._signer, relayer)
        assets = {asset.contract.lower(): asset for asset in (settings.native, *settings.assets)}
        self._tokens = Tokens(self._rpc, self.account, self.contract)
        self._receivers = Receivers(self._rpc, self.contract, self.account, settings.assets)
        self._locks = KnownLocks()
        self._scanner = Scanner(
            self._rpc,
            self._place,
            assets,
            self._locks,
            reads_finalized=settings.reads_finalized,
            reads_calldata=settings.reads_calldata,
        )

    def __repr__(self) -> str:
        return f"EvmPort({self.account}, {self._settings!r})"

    # ------------------------------------------------------------------ reading

    async def tip(self) -> Tip:
        """Return the head; its timestamp is the clock that deadlines are compared with."""
        return (await self._scanner.heads()).tip

    async def scan(self, recent_blocks: Sequence[BlockRef], max_blocks: int) -> Scan:
        """See `ChainPort.scan`."""
        return await self._scanner.scan(recent_blocks, max_blocks)

    async def read_lock(
        self, lock_id: LockId, terms: LockTerms, *, since: BlockHeight | None = None, agreed: bool = False
    ) -> LockStatus:
        """Tell whether the lock with exactly these terms is open; if not, its newest spend since `since`
        (None: within `history_blocks`) tells how it ended."""
        if lock_id != self.lock_id(terms):
            return LockStatus.ABSENT
        self._locks.add(lock_id, terms.hashlock)
        look = LockLook(self._htlc, lock_id, terms, since, self._settings.history_blocks)
        if not agreed:
            return await self._rpc.pinned(look.at)
        agreement = await self._rpc.agree(look.at)
        return agreement.answer if isinstance(agreement, Agreed) else LockStatus.UNKNOWN

    async def balance(self, address: Address, asset: Asset) -> Amount:
        """Return ether in wei, or a token in its smallest unit."""
        if not asset.contract:
            return Amount(quantity(await self._rpc.call("eth_getBalance", address, "latest")))
        request = {"to": asset.contract, "data": erc20.balance_of(address)}
        return Amount(quantity(await self._rpc.call("eth_call", request, "latest")))

    async def fees(self, asset: Asset) -> FeeEstimate:
        """See `relayers.evm.estimates.estimate`. Raises `PortError` for a token that is not what the
        configuration says."""
        await self._tokens.check(asset)
        return await estimate(self._rpc, self._settings, self._htlc, self.account, asset)

    async def setup_actions(self, assets: Sequence[Asset]) -> tuple[ApproveAction, ...]:
        """See `Tokens.approvals`. Raises `PortError` for a token that is not what the configuration says."""
        return await self._tokens.approvals(assets)

    async def check_receiver(self, address: Address, asset: Asset) -> None:
        """See `Receivers.check`."""
        await self._receivers.check(address, asset)

    async def allowance(self, token: Asset, owner: str) -> int:
        """Return how much of a token the contract may take from an address."""
        (granted,) = await self._tokens.allowances([token], owner)
        return granted

    # ------------------------------------------------------------------ sending

    async def next_sequence(self) -> int | None:
        """Return the account's nonce, counting confirmed transactions only."""
        return quantity(await self._rpc.call("eth_getTransactionCount", self.account, "latest"))

    async def pending_sequence(self) -> int:
        """Return the nonce after everything of the account that the node's pool holds without a gap.

        Above `next_sequence` plus our own open intents it means that somebody else signs for this account,
        or that an older backup was restored.
        """
        return quantity(await self._rpc.call("eth_getTransactionCount", self.account, "pending"))

    async def prepare(self, action: Action, sequence: int | None, fee: FeeLevel) -> SignedTx:
        """Simulate, price and sign. See `ChainPort.prepare`."""
        if sequence is None:
            raise ActionRefusedError("a transaction needs a nonce", "take it from next_sequence")
        if isinstance(action, ClaimAction):
            return await self._claims.prepare(action, sequence, fee)
        terms = action.terms if isinstance(action, SwapAction) else None
        message, spending = await self._message(action)
        try:
            priced = await self._builder.price(
                message,
                spending,
                action.purpose,
                fee,
                list_may_pay=access.may_pay(action.purpose, terms, self.account),
                most=gas.ceiling(action.purpose, terms, self.account),
            )
        except RevertedError as refusal:
            if refusal.error == _ALREADY_OPEN and terms is not None and terms.lane:
                raise _busy(terms) from refusal
            raise
        return self._builder.sign(message, priced, sequence)

    async def broadcast(self, tx: SignedTx) -> BroadcastResult:
        """Send stored bytes; sending them again is harmless."""
        return await self._sender.broadcast(tx)

    async def tx_status(self, tx: SignedTx, *, agreed: bool = False) -> TxStatus:
        """Tell where a transaction is."""

        async def look(one: OneEndpoint) -> TxStatus:
            return await read_status(one, tx)

        if not agreed:
            return await self._rpc.reread(look, ChainMovedError)
        return await agreed_status(self._rpc.pool, look, ChainMovedError)

    async def _message(self, action: _Unclaiming) -> tuple[Message, Spending | None]:
        match action:
            case CancelAction():
                return Message(self.account, "0x"), None
            case ApproveAction(payload=payload, amount=amount):
                if len(payload) != 20:
                    raise ActionRefusedError(
                        "an approval names no token", "its payload is the token's address"
                    )
                return self._htlc.approve(to_checksum_address(payload), amount), None
            case LockAction(terms=terms):
                await self._tokens.check(terms.asset)
                if terms.sender != self.account:
                    raise ActionRefusedError("the lock names another sender", "a lock is made by its sender")
                spending = Spending(terms.asset, terms.amount) if terms.asset.contract else None
                return self._htlc.lock(terms), spending
            case RefundAction(terms=terms):
                return self._htlc.refund(terms), None
            case CooperativeRefundAction(terms=terms):
                expiry = (await self._scanner.heads()).tip.time + _COOPERATIVE_REFUND_VALIDITY
                return self._htlc.cooperative_refund(terms, self._signer, expiry), None
            case AnchorAction() | CloseAction():
                raise ActionRefusedError(
                    f"there is no {action.purpose} on {self.chain}",
                    "the log is anchored on ZION; locks leave nothing",
                )

    # ------------------------------------------------------------------ pure

    def lock_id(self, terms: LockTerms) -> LockId:
        """Return the id the contract gives a lock with these terms, "0x…"."""
        return self._htlc.lock_id(terms)

    def parse_address(self, text: str) -> Address:
        """Return the EIP-55 form. Raises `BadAddressError`, also when a mixed-case checksum is wrong."""
        text = text.strip()
        if not is_hex_address(text) or not text.startswith("0x"):
            raise BadAddressError(
                f"{text[:60]!r} is not an EVM address", 'write "0x" and 40 hexadecimal digits'
            )
        if is_checksum_formatted_address(text) and not is_checksum_address(text):
            raise BadAddressError(
                f"the checksum of {text} is wrong", "copy the address again; one character differs"
            )
        address = to_checksum_address(text)
        if int(address, 16) == 0:
            raise BadAddressError("the zero address belongs to nobody", "give an address you hold the key of")
        return Address(address)

    def unsigned(self, purpose: Purpose, terms: LockTerms, preimage: Preimage | None = None) -> UnsignedTx:
        """Return the transactions a wallet sends for this purpose; see `HtlcContract.for_wallet`."""
        return self._htlc.for_wallet(purpose, terms, preimage)

    def unsigned_lock(self, terms: LockTerms, granted: int) -> UnsignedTx:
        """Return the same for a lock whose sender has `granted` an allowance already."""
        return self._htlc.for_wallet(Purpose.LOCK, terms, None, granted)

    async def hints(self) -> AsyncIterator[None]:
        """Yield on every new head, from the WebSocket or by polling; ends now and then: call it again."""
        settings = self._settings
        async for _ in new_heads(self._rpc, settings.ws_url, settings.poll_interval, settings.timeout):
            yield

    async def examine(self) -> tuple[Report, ...]:
        """Look at every endpoint, for `rainbow check`."""
        return await self._rpc.examine()

    async def close(self) -> None:
        """Close the connections."""
        await self._sender.close()
        await self._rpc.close()


def _open(settings: EvmSettings, contract: str) -> Rpc:
    return open_rpc(
        settings.rpc_urls,
        settings.timeout,
        settings.chain,
        rules=Rules(max_age=settings.max_head_age),
        identify=lambda endpoint: check_contract(endpoint, settings, contract),
    )


def _open_private(settings: EvmSettings) -> Rpc | None:
    if not settings.send_urls:
        return None
    return open_rpc(
        settings.send_urls,
        settings.timeout,
        f"private {settings.chain}",
        identify=lambda endpoint: check_network(endpoint, settings),
    )


def _contract_address(settings: EvmSettings) -> str:
    try:
        return artifacts.contract_address(settings.contract, settings.chain_id)
    except artifacts.DeploymentError as error:
        raise PortError(str(error), "name the HTLC's address or the record of its deployment") from error


def _busy(terms: LockTerms) -> ActionRefusedError:
    return ActionRefusedError(
        f"lane {terms.lane} of {terms.sender} holds an open lock",
        "a lane holds one lock at a time: choose another one, or wait for that lock's claim or refund",
    )
