"""How a claim is sent: alone, in a batch with others that wait, or for a fee that the recipient signed."""

from __future__ import annotations

from collections.abc import Sequence

from bridge.chains.actions import ClaimAction
from bridge.chains.errors import ActionRefusedError, BadAuthorizationError, InsufficientFundsError
from bridge.chains.port import FeeLevel, SignedTx
from bridge.protocol.types import LockTerms, Preimage, Purpose
from relayers.evm import access, blocks, gas
from relayers.evm.authorizing import decode
from relayers.evm.building import Builder, Priced
from relayers.evm.messages import Authorization, HtlcContract
from relayers.evm.rpc import Call, Rpc, quantity, sound

MAX_CLAIMS = 20
"""A claim of ether costs 31,446 gas alone and 7,996 as one of 20 (`make bench-gas`); 50 would make it 7,307,
for more money that hangs on one transaction. 20 take 160,000 to 270,000 gas: little beside a block of 60
million or the 16.7 million that EIP-7825 allows a transaction."""

_BATCHED_PREIMAGE = 32
"""Bytes: the contract's batch functions take preimages of this length alone."""

_TIME_TO_LAND = 600
"""Seconds for which an authorisation must still be valid, or the claim could fail on its way: five times what
`timing.MAINNET` allows for inclusion, for some replacements."""


class Claims:
    """Prepares claims for one account."""

    def __init__(self, rpc: Rpc, contract: HtlcContract, builder: Builder, account: str) -> None:
        self._rpc = rpc
        self._contract = contract
        self._builder = builder
        self._account = account

    async def prepare(self, action: ClaimAction, sequence: int, level: FeeLevel) -> SignedTx:
        """Return the signed transaction of a claim.

        With an authorisation that is still good it takes the fee out of the amount; the fee is never a reason
        not to claim, so without one, or when the contract would not accept it, this is an ordinary claim.
        """
        terms = action.terms
        if action.authorization:
            tx = await self._for_fee(action, sequence, level)
            if tx is not None:
                return tx
        standing = await self._standing(action) if action.others else []
        match standing:
            case []:
                message = self._contract.claim(terms, action.preimage)
            case [(only, preimage)]:
                message = self._contract.claim(only, preimage)
            case _:
                message = self._contract.claim_batch(standing)
        most = gas.ceiling(Purpose.CLAIM, terms, self._account)
        priced = await self._builder.price(
            message,
            None,
            Purpose.CLAIM,
            level,
            list_may_pay=access.may_pay(Purpose.CLAIM, terms, self._account),
            most=most and most * max(1, len(standing)),
        )
        return self._builder.sign(message, priced, sequence)

    # ------------------------------------------------------------------ several at once

    async def _standing(self, action: ClaimAction) -> list[tuple[LockTerms, Preimage]]:
        """Return the locks that are open now and can be claimed together; none if the action's own has to go
        alone (the others wait then), or if none is left."""
        terms = action.terms
        fitting = _together(terms, [action, *action.others])
        wanted = [terms, *(other for other, _ in fitting if other != terms)]
        is_open = dict(zip(wanted, await self._are_open(wanted), strict=True))
        if is_open[terms] and terms not in (other for other, _ in fitting):
            return []  # its preimage has another length, or is wrong
        return [claim for claim in fitting if is_open[claim[0]]][:MAX_CLAIMS]

    async def _are_open(self, locks: Sequence[LockTerms]) -> list[bool]:
        calls = [
            Call("eth_call", ({"to": message.to, "data": message.data}, "latest"))
            for message in map(self._contract.is_open, locks)
        ]
        return [bool(quantity(sound(result))) for result in await self._rpc.batch(calls)]

    # ------------------------------------------------------------------ for a fee

    async def _for_fee(self, action: ClaimAction, sequence: int, level: FeeLevel) -> SignedTx | None:
        """Return the claim that pays us out of the amount, None if it cannot be made or does not pay.

        A token's fee is what was signed (its worth in ether is not known here), ether's what the transaction
        costs, and no more than was signed.
        """
        terms = action.terms
        try:
            signed = decode(action.authorization)
        except BadAuthorizationError:
            return None
        most = min(signed.max_fee, terms.amount)
        if most == 0 or signed.relayer != self._account or not await self._lasts(signed):
            return None
        message = self._contract.claim_for(terms, action.preimage, signed, most)
        try:
            priced = await self._builder.price(
                message,
                None,
                Purpose.CLAIM,
                level,
                list_may_pay=True,
                most=gas.authorized_ceiling(terms),
            )
        except (ActionRefusedError, InsufficientFundsError):
            return None  # used, withdrawn, no longer the wallet's key: the ordinary claim is simulated next
        if terms.asset.contract:
            return self._builder.sign(message, priced, sequence)
        ordinary = await self._ordinary(action, level) or priced
        more = (priced.expected - ordinary.expected) * priced.price + priced.data_fee - ordinary.data_fee
        if most <= more:
            return None  # it would cost us more than it brings
        # The recipient pays what the claim costs, not what it is estimated at.
        saved = gas.given_back(priced.expected, terms.lane) * priced.price
        fee = min(most, priced.expected_cost - saved)
        message = self._contract.claim_for(terms, action.preimage, signed, fee)
        return self._builder.sign(message, priced, sequence)

    async def _ordinary(self, action: ClaimAction, level: FeeLevel) -> Priced | None:
        """Return what an ordinary claim of this lock would be sent with; None if it cannot be made (a
        contract may refuse one payment and take another)."""
        message = self._contract.claim(action.terms, action.preimage)
        try:
            return await self._builder.price(message, None, Purpose.CLAIM, level)
        except ActionRefusedError:
            return None

    async def _lasts(self, signed: Authorization) -> bool:
        return signed.expiry >= (await blocks.read_heads(self._rpc)).latest.time + _TIME_TO_LAND


def _together(terms: LockTerms, actions: Sequence[ClaimAction]) -> list[tuple[LockTerms, Preimage]]:
    """Return the claims that one batch can hold, each lock once: of the recipient, the asset and the contract
    of `terms`, with the right preimage of 32 bytes. Those that carry an authorisation of their own wait for
    their turn; the first one's was looked at before."""
    claims: dict[LockTerms, Preimage] = {}
    for action in actions:
        lock, preimage = action.terms, action.preimage
        if action.authorization and lock != terms:
            continue
        same = (lock.chain, lock.contract, lock.recipient, lock.asset) == (
            terms.chain,
            terms.contract,
            terms.recipient,
            terms.asset,
        )
        size = len(preimage.reveal())
        if same and size == _BATCHED_PREIMAGE and preimage.opens(lock.hashlock):
            claims.setdefault(lock, preimage)
    return list(claims.items())
