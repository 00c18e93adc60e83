"""What a user's own wallet signs: LOCK, CLAIM or REFUND as an unsigned version 0 transaction.

`SolanaWallet` makes it ready, from an RPC of the user's choice: with a recent block's hash and a price for
today.
"""

from __future__ import annotations

import base64
from typing import Any

import msgspec
from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.hash import Hash
from solders.instruction import Instruction
from solders.message import MessageV0
from solders.null_signer import NullSigner
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from bridge.chains.actions import action_of
from bridge.chains.endpoints.json_rpc import record
from bridge.chains.errors import ActionRefusedError
from bridge.chains.port import FeeLevel, UnsignedTx
from bridge.protocol.types import ChainId, LockTerms, Preimage, Purpose
from relayers.solana import building, fees, terms
from relayers.solana.building import Plan, Rents
from relayers.solana.cluster import Cluster, Recent, written
from relayers.solana.explain import explain
from relayers.solana.locks import Locks, SeenLocks
from relayers.solana.open_rpc import open_rpc
from relayers.solana.program import VaultTerms
from relayers.solana.settings import SolanaSettings

WALLET_FORMAT = "solana-transaction-v0"
"""Signs `transaction` (base64, version 0) as it is and sends it before `last_valid_block_height`. Without a
`blockhash` it is the plain form: the wallet adds a recent one."""
PURPOSES = frozenset({Purpose.LOCK, Purpose.CLAIM, Purpose.REFUND})


class Draft(msgspec.Struct, frozen=True):
    """What is to be done, who pays for it, and in which words; still without a price and a block's hash."""

    purpose: Purpose
    payer: Pubkey
    vault: VaultTerms
    plan: Plan
    summary: str


def draft(
    of_program: Pubkey, chain: ChainId, purpose: Purpose, lock_terms: LockTerms, preimage: Preimage | None
) -> Draft:
    """Return the draft of a LOCK or REFUND, paid by the sender, or a CLAIM, paid by the recipient.

    Raises `ActionRefusedError` for anything else, and for terms or a preimage that do not fit.
    """
    if purpose not in PURPOSES:
        raise ActionRefusedError(
            f"a wallet cannot do {purpose.value} on Solana", "only lock, claim and refund"
        )
    vault = terms.to_program(lock_terms, chain)
    payer = vault.recipient if purpose is Purpose.CLAIM else vault.sender
    action = action_of(purpose, lock_terms, preimage)
    plan = building.plan(of_program, chain, action, payer, Rents(0, 0, 0, 0))
    summary = f"{purpose.value} {lock_terms.amount} {lock_terms.asset.symbol} (smallest units) on Solana"
    return Draft(purpose, payer, vault, plan, summary)


def unsigned(of: Draft, unit_price: int, blockhash: Hash) -> UnsignedTx:
    """Return a draft for a wallet: base64, version 0, its one signature zero.

    The `instructions` (data in base64) are for the wallets of others, and for those who compose transactions
    of their own.
    """
    budget = [set_compute_unit_limit(of.plan.units), set_compute_unit_price(unit_price)]
    parts = [*budget, *of.plan.instructions]
    message = MessageV0.try_compile(of.payer, parts, [], blockhash)
    transaction = VersionedTransaction(message, [NullSigner(of.payer)])
    payload = {
        "transaction": base64.b64encode(bytes(transaction)).decode(),
        "version": 0,
        "fee_payer": str(of.payer),
        "instructions": [_instruction_json(instruction) for instruction in parts],
    }
    return UnsignedTx(WALLET_FORMAT, of.summary, payload)


class SolanaWallet:
    """Makes a user's transactions, from an RPC of the user's own choice."""

    private: frozenset[Purpose] = frozenset()

    def __init__(self, settings: SolanaSettings) -> None:
        self._settings = settings
        self._program = terms.address(settings.program)
        self._rpc = open_rpc(settings)
        self._cluster = Cluster(self._rpc, settings)
        self._locks = Locks(self._rpc, self._cluster, self._program, SeenLocks())

    def __repr__(self) -> str:
        return f"SolanaWallet({self._settings!r})"

    async def close(self) -> None:
        """Close the connections."""
        await self._rpc.close()

    async def unsigned(
        self, purpose: Purpose, lock_terms: LockTerms, preimage: Preimage | None = None
    ) -> UnsignedTx:
        """Return a LOCK, CLAIM or REFUND ready to be signed and sent, within about a minute.

        After the block of `last_valid_block_height` it is void, and one asks again. Raises
        `ActionRefusedError` when the chain would refuse it now, `PortError` for a wrong cluster,
        `PortUnavailableError`.
        """
        made = draft(self._program, self._settings.chain, purpose, lock_terms, preimage)
        await self._cluster.rents()
        if purpose is Purpose.LOCK:
            await self._cluster.check_asset(lock_terms.asset)
        if not await self._cluster.lamports(str(made.payer)):
            raise ActionRefusedError(f"{made.payer} has no SOL to pay the fee with", "send it a little first")
        samples = await self._cluster.prices([made.payer, *written(made.plan.instructions)])
        asked = fees.market(samples, 0, purpose)
        # Confirmed, not final: people take their time, and that leaves them 13 seconds more. Should the block
        # be rolled back after all, the transaction is void and nothing is lost.
        recent = await self._cluster.newest("confirmed")
        offer = fees.price(asked, FeeLevel(), purpose, self._settings.fees)
        ready = _with_blockhash(unsigned(made, offer, recent.blockhash), recent)
        if purpose is Purpose.CLAIM:
            # Not by simulation, which would show the preimage to the RPC.
            if not await self._locks.stands(made.vault):
                raise ActionRefusedError(
                    "there is no lock with these terms to claim", "it may be spent already"
                )
        else:
            await self._simulate(ready)
        return ready

    async def _simulate(self, ready: UnsignedTx) -> None:
        options = {"encoding": "base64", "commitment": "confirmed", "sigVerify": False}
        answer = await self._cluster.fresh("simulateTransaction", ready.payload["transaction"], options)
        error = record(answer).get("err")
        if error is not None:
            raise ActionRefusedError(
                f"the chain would refuse this: {explain(error)}", "look at balance, lock and deadline"
            )


def _with_blockhash(made: UnsignedTx, recent: Recent) -> UnsignedTx:
    payload = made.payload | {
        "blockhash": str(recent.blockhash),
        "last_valid_block_height": recent.height + fees.FULL_LIFE,
    }
    return UnsignedTx(made.format, made.summary, payload)


def _instruction_json(instruction: Instruction) -> dict[str, Any]:
    return {
        "program": str(instruction.program_id),
        "accounts": [
            {"address": str(meta.pubkey), "signer": meta.is_signer, "writable": meta.is_writable}
            for meta in instruction.accounts
        ],
        "data": base64.b64encode(instruction.data).decode(),
    }
