"""Between the bridge's values and the program's: addresses, terms, and calls as HTLC events. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from solders.pubkey import Pubkey

from bridge.chains.errors import ActionRefusedError, BadAddressError
from bridge.chains.port import Claimed, HtlcEvent, Locked, Refunded
from bridge.protocol.types import (
    Address,
    Amount,
    Asset,
    BlockRef,
    ChainId,
    LockId,
    LockTerms,
    Preimage,
    TxId,
    UnixSeconds,
)
from relayers.solana import program
from relayers.solana.program import ClaimCall, LockCall, RefundCall, VaultTerms

UNKNOWN_SYMBOL = "?"
"""The symbol of a token that the configuration does not name; its decimals are unknown and given as 0."""


def address(text: str) -> Pubkey:
    """Read an address. Raises `BadAddressError`."""
    try:
        return Pubkey.from_string(text)
    except ValueError:
        raise BadAddressError("this is not a Solana address", "copy all of it: 32 bytes in base58") from None


def to_program(terms: LockTerms, chain: ChainId) -> VaultTerms:
    """Return the terms as the program has them. Raises `ActionRefusedError` for what no vault of `chain` can
    have."""
    if {terms.chain, terms.asset.chain} != {chain} or len(terms.hashlock) != 32:
        raise ActionRefusedError(f"no lock on {chain} can have these terms", "correct the terms")
    if not 0 < terms.amount <= program.MAX_AMOUNT or not 0 < terms.deadline <= program.MAX_DEADLINE:
        raise ActionRefusedError("amount or deadline is outside of what Solana can hold", "correct the terms")
    try:
        return VaultTerms(
            sender=address(terms.sender),
            recipient=address(terms.recipient),
            hashlock=terms.hashlock,
            deadline=UnixSeconds(terms.deadline),
            amount=terms.amount,
            mint=address(terms.asset.contract) if terms.asset.contract else None,
        )
    except BadAddressError as error:
        raise ActionRefusedError(f"a term is not an address: {error}", error.hint) from None


def from_program(terms: VaultTerms, at_program: str, assets: Mapping[str, Asset]) -> LockTerms:
    """Return the bridge's terms of a vault. `assets` are those that have names, by mint (see
    `SolanaSettings.named`)."""
    chain = assets[""].chain
    mint = "" if terms.mint is None else str(terms.mint)
    return LockTerms(
        chain=chain,
        contract=Address(at_program),
        sender=Address(str(terms.sender)),
        recipient=Address(str(terms.recipient)),
        asset=assets.get(mint) or Asset(chain, UNKNOWN_SYMBOL, 0, mint),
        amount=Amount(terms.amount),
        hashlock=terms.hashlock,
        deadline=UnixSeconds(terms.deadline),
    )


def lock_id(vault: Pubkey) -> LockId:
    """Return the lock's id: its vault's address, hex."""
    return LockId(bytes(vault).hex())


def to_event(
    call: program.Call, block: BlockRef, tx_id: TxId, at_program: str, assets: Mapping[str, Asset]
) -> HtlcEvent:
    """Return a call that succeeded as an event."""
    match call:
        case LockCall(vault, terms):
            return Locked(block, tx_id, lock_id(vault), from_program(terms, at_program, assets))
        case ClaimCall(vault, preimage):
            return Claimed(block, tx_id, lock_id(vault), Preimage(preimage))
        case RefundCall(vault):
            return Refunded(block, tx_id, lock_id(vault))
