"""From an action to instructions, their price, a signed transaction; the same unsigned for wallets. Pure."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import msgspec
from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.null_signer import NullSigner
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction

from bridge.protocol.types import LockTerms, Preimage, Purpose
from relayers.port import Action, ActionRefused, FeeEstimate, FeeLevel, PortUnavailable, UnsignedTx
from relayers.solana import program, terms
from relayers.solana.settings import SolanaFees

WALLET_FORMAT = "solana-transaction-v0"

SIGNATURE_FEE = 5_000
"""Lamports per signature (DEFAULT_TARGET_LAMPORTS_PER_SIGNATURE)."""

UNIT_LIMITS = {Purpose.LOCK: 20_000, Purpose.CLAIM: 10_000, Purpose.REFUND: 10_000, Purpose.APPROVE: 60_000}
"""Compute units asked for: about twice what the program and two compute budget instructions use."""

TOKEN_UNITS = 70_000
"""On top for tokens: an associated account may have to be made, and its address be searched for."""

URGENT = frozenset({Purpose.CLAIM, Purpose.REFUND, Purpose.COOPERATIVE_REFUND})
MICRO = 1_000_000


class Plan(msgspec.Struct, frozen=True):
    """Instructions, the native units that they move or put down beside the fee, and the units to ask for.

    `amount` leaves the account for the lock, `deposit` is the rent that it may have to pay.
    """

    instructions: tuple[Instruction, ...]
    units: int
    amount: int = 0
    deposit: int = 0


class Rents(msgspec.Struct, frozen=True):
    """Lamports that make an account of a size rent-exempt."""

    sol_vault: int
    token_vault: int
    token_account: int
    empty: int

    def of_lock(self, is_token: bool) -> int:
        """Return what a lock puts down; the sender gets it back when the lock is spent."""
        return self.token_vault + self.token_account if is_token else self.sol_vault


def plan(of_program: Pubkey, action: Action, account: Pubkey, rents: Rents) -> Plan:
    """Return what `account` has to send for an action. Raises `ActionRefused` for what it cannot do."""
    if action.purpose is Purpose.APPROVE:
        mint = Pubkey.from_bytes(action.payload)
        made = program.make_token_account(account, account, mint)
        return Plan((made,), UNIT_LIMITS[Purpose.APPROVE], deposit=rents.token_account)
    if action.purpose is Purpose.CANCEL:
        raise ActionRefused(
            "a Solana transaction cannot be cancelled: it has no sequence",
            "it expires by itself within 150 blocks",
        )
    if action.terms is None or action.purpose in {Purpose.ANCHOR, Purpose.CLOSE}:
        raise ActionRefused(f"this {action.purpose} cannot be made on Solana", "the action is incomplete")
    if action.terms.contract != str(of_program):
        raise ActionRefused(
            f"the lock is of program {action.terms.contract}, not of ours", "correct the terms or the program"
        )
    vault = terms.to_program(action.terms)
    is_token = vault.mint is not None
    made_account = rents.token_account if is_token else 0
    match action.purpose:
        case Purpose.LOCK:
            if vault.sender != account:
                raise ActionRefused("this lock is another account's to make", "its sender must sign it")
            amount = 0 if is_token else vault.amount
            instructions = program.lock(of_program, vault)
            return _plan(Purpose.LOCK, instructions, is_token, amount, rents.of_lock(is_token))
        case Purpose.CLAIM:
            secret = action.preimage
            if secret is None or not secret.opens(vault.hashlock):
                raise ActionRefused("the preimage does not open this lock", "use the swap's own preimage")
            instructions = program.claim(of_program, vault, secret.reveal(), account)
            return _plan(Purpose.CLAIM, instructions, is_token, 0, made_account)
        case Purpose.REFUND:
            instructions = program.refund(of_program, vault, account)
            return _plan(Purpose.REFUND, instructions, is_token, 0, made_account)
        case Purpose.COOPERATIVE_REFUND:
            if vault.recipient != account:
                raise ActionRefused("only the recipient may give a lock back early", "wait for the deadline")
            instructions = program.refund(of_program, vault, account, cooperative=True)
            return _plan(Purpose.REFUND, instructions, is_token, 0, made_account)
        case _:
            raise ActionRefused(f"{action.purpose} is nothing to do on Solana", "report this as a mistake")


def _plan(
    purpose: Purpose, instructions: Sequence[Instruction], is_token: bool, amount: int, deposit: int
) -> Plan:
    units = UNIT_LIMITS[purpose] + (TOKEN_UNITS if is_token else 0)
    return Plan(tuple(instructions), units, amount, deposit)


def price(market: int, level: FeeLevel, purpose: Purpose, fees: SolanaFees) -> int:
    """Return micro-lamports per compute unit; each further attempt bids twice the one before.

    Raises `PortUnavailable` where the limit forbids to go on."""
    cap = fees.urgent_maximum if purpose in URGENT else fees.maximum
    offer = max(market, fees.minimum) << level.attempt
    floor = 0 if level.previous is None else level.previous["unit_price"] + 1
    if floor > cap:
        raise PortUnavailable(
            f"a {purpose} would bid more than the limit of {cap} micro-lamports per unit",
            "wait for lower fees or raise the limit in the configuration",
        )
    return min(max(offer, floor), cap)


def fee_of(units: int, unit_price: int, signatures: int = 1) -> int:
    """Return lamports: the base fee and the priority fee, rounded up as the runtime does."""
    return signatures * SIGNATURE_FEE + -(-units * unit_price // MICRO)


def estimate(is_token: bool, unit_price: int, rents: Rents) -> FeeEstimate:
    """Return expected costs. A lock's includes the rent that it puts down until it is spent; a token claim's
    and refund's the account that may have to be made for its payee."""
    extra = TOKEN_UNITS if is_token else 0
    lock, claim, refund = (
        fee_of(UNIT_LIMITS[purpose] + extra, unit_price)
        for purpose in (Purpose.LOCK, Purpose.CLAIM, Purpose.REFUND)
    )
    made = rents.token_account if is_token else 0
    return FeeEstimate(lock=lock + rents.of_lock(is_token), claim=claim + made, refund=refund + made)


def sign(key: Keypair, made: Plan, unit_price: int, blockhash: Hash) -> VersionedTransaction:
    """Return the plan as a signed version 0 transaction."""
    budget = [set_compute_unit_limit(made.units), set_compute_unit_price(unit_price)]
    message = MessageV0.try_compile(key.pubkey(), [*budget, *made.instructions], [], blockhash)
    return VersionedTransaction(message, [key])


def for_wallet(
    of_program: Pubkey, purpose: Purpose, lock_terms: LockTerms, preimage: Preimage | None, unit_price: int
) -> UnsignedTx:
    """Return a LOCK, CLAIM or REFUND for the user's wallet: base64, version 0, signatures and blockhash zero.

    The wallet (or whoever hands it over) puts in a recent blockhash: one lives for about a minute only. A
    LOCK and a REFUND are paid by the sender, a CLAIM by the recipient. The `instructions` (data in base64)
    are for the wallets of others, and for those who compose transactions of their own.
    """
    if lock_terms.contract != str(of_program):
        raise ActionRefused("the lock is of another program", "correct the terms")
    vault = terms.to_program(lock_terms)
    payer = vault.recipient if purpose is Purpose.CLAIM else vault.sender
    no_rents = Rents(0, 0, 0, 0)
    made = plan(of_program, Action(purpose, lock_terms, preimage=preimage), payer, no_rents)
    budget = [set_compute_unit_limit(made.units), set_compute_unit_price(unit_price)]
    parts = [*budget, *made.instructions]
    message = MessageV0.try_compile(payer, parts, [], Hash.default())
    unsigned = VersionedTransaction(message, [NullSigner(payer)])
    summary = f"{purpose.value} {lock_terms.amount} {lock_terms.asset.symbol} (smallest units) on Solana"
    payload = {
        "transaction": base64.b64encode(bytes(unsigned)).decode(),
        "version": 0,
        "fee_payer": str(payer),
        "instructions": [_described(instruction) for instruction in parts],
    }
    return UnsignedTx(WALLET_FORMAT, summary, payload)


def _described(instruction: Instruction) -> dict[str, Any]:
    return {
        "program": str(instruction.program_id),
        "accounts": [
            {"address": str(meta.pubkey), "signer": meta.is_signer, "writable": meta.is_writable}
            for meta in instruction.accounts
        ],
        "data": base64.b64encode(instruction.data).decode(),
    }


def with_blockhash(transaction: str, blockhash: str) -> VersionedTransaction:
    """Return an unsigned base64 transaction with a recent blockhash put in, ready for `sign_message`."""
    message = VersionedTransaction.from_bytes(base64.b64decode(transaction)).message
    assert isinstance(message, MessageV0)  # noqa: S101 - `for_wallet` makes no others
    fresh = MessageV0(
        message.header,
        message.account_keys,
        Hash.from_string(blockhash),
        message.instructions,
        message.address_table_lookups,
    )
    return VersionedTransaction.populate(
        fresh, [Signature.default()] * message.header.num_required_signatures
    )
