"""What is said to the HTLC contract, by our own account or by a user's wallet. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from eth_account.signers.local import LocalAccount

from bridge.chains.actions import (
    ClaimAction,
    CooperativeRefundAction,
    LockAction,
    RefundAction,
    action_of,
)
from bridge.chains.errors import ActionRefusedError
from bridge.chains.port import UnsignedTx
from bridge.protocol.types import Amount, LockId, LockTerms, Preimage, Purpose
from relayers.evm import erc20, gas, htlc
from relayers.evm.terms import Place, to_contract

WALLET_FORMAT = "eth_sendTransaction"
"""Fills in nonce and fees, signs and sends each of `transactions` in order: the arguments of
eth_sendTransaction."""

_WALLET_GAS_FACTOR = 2
"""Wallets estimate for themselves; the hint is for those that do not, and unused gas is not paid."""


class Message(msgspec.Struct, frozen=True):
    """A contract call: receiver, calldata ("0x…") and ether sent along (wei)."""

    to: str
    data: str
    value: int = 0


class Authorization(msgspec.Struct, frozen=True):
    """A recipient's leave for `relayer` to claim one lock and keep at most `max_fee` of it (the asset's
    smallest unit), until `expiry` (Unix seconds). `signature` is the wallet's own: 65 bytes, or what a smart
    wallet makes of it; b"" while it is still to be signed."""

    relayer: str
    max_fee: Amount
    nonce: int
    expiry: int
    signature: bytes = b""


class HtlcContract(msgspec.Struct, frozen=True):
    """The HTLC contract of one instance; every method refuses locks that lie elsewhere.

    `gas_hints`: gas means the same as on Ethereum, so that wallets can be told how much to expect.
    """

    place: Place
    gas_hints: bool = True

    @property
    def chain_id(self) -> int:
        """The network's own number (EIP-155)."""
        return self.place.chain_id

    @property
    def address(self) -> str:
        """The contract's address, which is the same on every network (CREATE2)."""
        return self.place.contract

    def lock_id(self, terms: LockTerms) -> LockId:
        """Return the contract's id of a lock with these terms, "0x…"."""
        return LockId("0x" + htlc.lock_id(self.chain_id, self.address, self._here(terms)).hex())

    def is_open(self, terms: LockTerms) -> Message:
        """Return the view call that answers 1 while the lock is open."""
        return self._message(htlc.encode_is_open(self._terms(terms)))

    def lock(self, terms: LockTerms) -> Message:
        """Return the lock; its sender must send it, after an approval if it is of a token."""
        return self._message(htlc.encode_lock(self._terms(terms)))

    def claim(self, terms: LockTerms, preimage: Preimage) -> Message:
        """Return the claim, for anyone to send. Raises `ActionRefusedError` for a wrong preimage."""
        return self._message(htlc.encode_claim(self._terms(terms), _opening(terms, preimage)))

    def claim_batch(self, claims: Sequence[tuple[LockTerms, Preimage]]) -> Message:
        """Return one claim of several locks of one recipient and one asset, with preimages of 32 bytes, for
        anyone to send. The contract leaves out those that are not open."""
        ours = [(self._terms(terms), preimage.reveal()) for terms, preimage in claims]
        return self._message(htlc.encode_claim_batch(ours))

    def claim_for(
        self, terms: LockTerms, preimage: Preimage, authorization: Authorization, fee: int
    ) -> Message:
        """Return the claim that the recipient signed for, for the relayer named in it to send: the sender of
        the message keeps `fee`. Raises `ActionRefusedError` for a wrong preimage."""
        call = htlc.encode_claim_for(
            self._terms(terms),
            _opening(terms, preimage),
            fee=fee,
            max_fee=authorization.max_fee,
            nonce=authorization.nonce,
            expiry=authorization.expiry,
            signature=authorization.signature,
        )
        return self._message(call)

    def claim_for_typed_data(self, terms: LockTerms, authorization: Authorization) -> dict[str, Any]:
        """Return what the recipient signs for `claim_for` (the signature in `authorization` is not looked
        at)."""
        return htlc.claim_for_typed_data(
            self.chain_id,
            self.address,
            self._terms(terms),
            relayer=authorization.relayer,
            max_fee=authorization.max_fee,
            nonce=authorization.nonce,
            expiry=authorization.expiry,
        )

    def used_nonces(self, signer: str, word: int) -> Message:
        """Return the view call that answers which of the nonces `word` * 256 + bit the signer has used."""
        return self._message(htlc.encode_used_nonces(signer, word))

    def refund(self, terms: LockTerms) -> Message:
        """Return the refund, for anyone to send once the deadline has come."""
        return self._message(htlc.encode_refund(self._terms(terms)))

    def cooperative_refund(self, terms: LockTerms, recipient: LocalAccount, expiry: int) -> Message:
        """Return the refund that the recipient agrees to before the deadline, signed, valid until `expiry`.

        Its nonce is the lock's id: one lock, one cooperative refund. If the same terms were ever locked
        again, a signature that still lies around could not give that lock back.
        """
        if terms.recipient != str(recipient.address):
            raise ActionRefusedError("only the recipient can give a lock back", "wait for the deadline")
        ours = self._terms(terms)
        nonce = int(self.lock_id(terms), 16)
        typed = htlc.cooperative_refund_typed_data(
            self.chain_id, self.address, ours, nonce=nonce, expiry=expiry
        )
        signature = bytes(recipient.sign_typed_data(full_message=typed).signature)
        call = htlc.encode_cooperative_refund(ours, nonce=nonce, expiry=expiry, signature=signature)
        return self._message(call)

    def approve(self, token: str, amount: int) -> Message:
        """Return the approval that lets the contract take `amount` of a token from its sender."""
        return Message(token, erc20.approve(self.address, amount))

    def for_wallet(
        self,
        purpose: Purpose,
        terms: LockTerms,
        preimage: Preimage | None,
        granted: int | None = None,
    ) -> UnsignedTx:
        """Return transactions for `eth_sendTransaction`, to be sent in order: before a token's lock comes
        its approval.

        `payload["transactions"]` holds dicts with chainId, to, data, value and gas (where there are
        `gas_hints`) as "0x…" quantities, and `from` for a lock, which only its sender can make.
        `granted` is the allowance that the sender has given already; None: not known, taken for none. Tokens
        like USDT change one only by way of zero.
        """
        expected = gas.expected(terms.asset, terms.lane)
        what = f"{terms.amount} × 10^-{terms.asset.decimals} {terms.asset.symbol}"
        match action_of(purpose, terms, preimage):
            case LockAction():
                steps = [(self.lock(terms), expected.lock)]
                token, granted = terms.asset.contract, granted or 0
                if token and granted < terms.amount:
                    amounts = [0, terms.amount] if granted else [terms.amount]
                    steps[:0] = [(self.approve(token, amount), gas.APPROVE) for amount in amounts]
                summary = f"lock {what} for {terms.recipient} until {terms.deadline}"
            case ClaimAction(preimage=opening):
                steps = [(self.claim(terms, opening), expected.claim)]
                summary = f"claim {what} for {terms.recipient}"
            case RefundAction():
                steps = [(self.refund(terms), expected.refund)]
                summary = f"refund {what} to {terms.sender}"
            case CooperativeRefundAction():
                raise ActionRefusedError(
                    f"a wallet has nothing to sign for {purpose}", "ask for another purpose"
                )
        sender = {"from": terms.sender} if purpose is Purpose.LOCK else {}
        transactions: list[dict[str, Any]] = [
            {
                **sender,
                "chainId": hex(self.chain_id),
                "to": message.to,
                "data": message.data,
                "value": hex(message.value),
                **({"gas": hex(units * _WALLET_GAS_FACTOR)} if self.gas_hints else {}),
            }
            for message, units in steps
        ]
        return UnsignedTx(WALLET_FORMAT, summary, {"transactions": transactions})

    def _terms(self, terms: LockTerms) -> htlc.EvmLockTerms:
        ours = self._here(terms)
        if terms.contract.lower() != self.address.lower():
            raise ActionRefusedError(
                f"the lock lies in {terms.contract!r}, not in {self.address} on {self.place.chain}",
                "has the HTLC contract been redeployed? Use the configuration the swap was made with",
            )
        return ours

    def _here(self, terms: LockTerms) -> htlc.EvmLockTerms:
        chain = self.place.chain
        if terms.chain != chain or terms.asset.chain != chain:
            raise ActionRefusedError(
                f"the lock is of {terms.asset.key} on {terms.chain}, and this is {chain}",
                "ask the chain that the lock lies on",
            )
        return to_contract(terms)

    def _message(self, call: htlc.Call) -> Message:
        return Message(self.address, "0x" + call.data.hex(), call.value)


def _opening(terms: LockTerms, preimage: Preimage) -> bytes:
    if not preimage.opens(terms.hashlock):
        raise ActionRefusedError("the preimage does not open this lock", "use the swap's own preimage")
    return preimage.reveal()
