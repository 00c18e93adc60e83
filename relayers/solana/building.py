"""From an action to instructions, what they cost, and a signed transaction. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from bridge.chains.actions import (
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
from bridge.chains.errors import ActionRefusedError
from bridge.chains.port import FeeEstimate
from bridge.protocol.types import Amount, ChainId, Purpose
from relayers.solana import program, terms
from relayers.solana.fees import fee_of

UNIT_LIMITS = {Purpose.LOCK: 20_000, Purpose.CLAIM: 10_000, Purpose.REFUND: 10_000, Purpose.APPROVE: 60_000}
"""Compute units asked for: about twice what the program and two compute budget instructions use."""

TOKEN_UNITS = 70_000
"""On top for tokens: an associated account may have to be made, and its address be searched for."""


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


def plan(of_program: Pubkey, chain: ChainId, action: Action, account: Pubkey, rents: Rents) -> Plan:
    """Return what `account` has to send to `chain` for an action. Raises `ActionRefusedError` for what it
    cannot do."""
    match action:
        case ApproveAction(payload=payload):
            made = program.make_token_account(account, account, Pubkey.from_bytes(payload))
            return Plan((made,), UNIT_LIMITS[Purpose.APPROVE], deposit=rents.token_account)
        case CancelAction():
            raise ActionRefusedError(
                "a Solana transaction cannot be cancelled: it has no sequence",
                "it expires by itself within 150 blocks",
            )
        case AnchorAction() | CloseAction():
            raise ActionRefusedError(
                f"there is no {action.purpose} on Solana",
                "the log is anchored on ZION; rents come back alone",
            )
    return _spend_or_lock(of_program, chain, action, account, rents)


def _spend_or_lock(
    of_program: Pubkey, chain: ChainId, action: SwapAction, account: Pubkey, rents: Rents
) -> Plan:
    if action.terms.contract != str(of_program):
        raise ActionRefusedError(
            f"the lock is of program {action.terms.contract}, not of ours", "correct the terms or the program"
        )
    vault = terms.to_program(action.terms, chain)
    is_token = vault.mint is not None
    made_account = rents.token_account if is_token else 0
    match action:
        case LockAction():
            if vault.sender != account:
                raise ActionRefusedError("this lock is another account's to make", "its sender must sign it")
            amount = 0 if is_token else vault.amount
            instructions = program.lock(of_program, vault)
            return _plan(Purpose.LOCK, instructions, is_token, amount, rents.of_lock(is_token))
        case ClaimAction(preimage=secret):
            if not secret.opens(vault.hashlock):
                raise ActionRefusedError(
                    "the preimage does not open this lock", "use the swap's own preimage"
                )
            instructions = program.claim(of_program, vault, secret.reveal(), account)
            return _plan(Purpose.CLAIM, instructions, is_token, 0, made_account)
        case RefundAction():
            instructions = program.refund(of_program, vault, account)
            return _plan(Purpose.REFUND, instructions, is_token, 0, made_account)
        case CooperativeRefundAction():
            if vault.recipient != account:
                raise ActionRefusedError(
                    "only the recipient may give a lock back early", "wait for the deadline"
                )
            instructions = program.refund(of_program, vault, account, cooperative=True)
            return _plan(Purpose.REFUND, instructions, is_token, 0, made_account)


def _plan(
    purpose: Purpose, instructions: Sequence[Instruction], is_token: bool, amount: int, deposit: int
) -> Plan:
    units = UNIT_LIMITS[purpose] + (TOKEN_UNITS if is_token else 0)
    return Plan(tuple(instructions), units, amount, deposit)


def estimate(is_token: bool, ordinary: int, urgent: int, rents: Rents) -> FeeEstimate:
    """Return expected costs at unit prices for locks (`ordinary`) and for claims and refunds (`urgent`).

    A lock's includes the rent that it puts down until it is spent, its deposit; a token refund's and a
    claim's for a user the account that may have to be made for its payee. Less SOL than opens an account
    cannot be paid to everybody.
    """
    extra = TOKEN_UNITS if is_token else 0
    lock = fee_of(UNIT_LIMITS[Purpose.LOCK] + extra, ordinary)
    claim, refund = (
        fee_of(UNIT_LIMITS[purpose] + extra, urgent) for purpose in (Purpose.CLAIM, Purpose.REFUND)
    )
    made = rents.token_account if is_token else 0
    return FeeEstimate(
        lock=Amount(lock + rents.of_lock(is_token)),
        claim=Amount(claim),
        refund=Amount(refund + made),
        minimum=Amount(0 if is_token else rents.empty),
        gasless_claim=Amount(claim + made),
        deposit=Amount(rents.of_lock(is_token)),
    )


def sign(key: Keypair, made: Plan, unit_price: int, blockhash: Hash) -> VersionedTransaction:
    """Return the plan as a signed version 0 transaction."""
    budget = [set_compute_unit_limit(made.units), set_compute_unit_price(unit_price)]
    message = MessageV0.try_compile(key.pubkey(), [*budget, *made.instructions], [], blockhash)
    return VersionedTransaction(message, [key])
