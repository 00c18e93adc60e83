"""Calldata for the HTLC contract: what its functions take. Pure.

Every function here has its other side in contracts/ethereum/RainbowHtlc.sol; the tests run the two against
each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from eth_abi.abi import encode
from eth_hash.auto import keccak

from relayers.evm.htlc.locks import COIN, MAX_PREIMAGE, EvmLockTerms, HtlcEncodingError

_TERMS = "(address,address,address,uint256,bytes32,uint64,uint32)"


class Call(msgspec.Struct, frozen=True):
    """What a transaction to the HTLC carries: calldata, and wei to send along."""

    data: bytes
    value: int = 0


def _selector(signature: str) -> bytes:
    return keccak(signature.encode())[:4]


def _call(name: str, types: Sequence[str], values: Sequence[Any], value: int = 0) -> Call:
    data = _selector(f"{name}({','.join(types)})") + encode(types, values)
    return Call(data=data, value=value)


# -------------------------------------------------------------------------- lock


def encode_lock(terms: EvmLockTerms) -> Call:
    """lockNative or lockERC20; the sender of the transaction must be `terms.sender`.

    A token needs an allowance of at least `amount` for the HTLC first (or use `encode_lock_with_permit`).
    """
    if terms.is_coin:
        return _call("lockNative", ["uint256", "bytes32"], [terms.payee, terms.hashlock], terms.amount)
    types = ["uint256", "bytes32", "address", "uint256"]
    return _call("lockERC20", types, [terms.payee, terms.hashlock, terms.token, terms.amount])


def encode_lock_batch(locks: Sequence[EvmLockTerms]) -> Call:
    """lockNativeBatch or lockERC20Batch: several locks of one sender and one asset in one transaction.

    All or none. Raises HtlcEncodingError for an empty batch or one of mixed senders or assets.
    """
    token = _common_token(locks)
    if len({terms.sender for terms in locks}) != 1:
        raise HtlcEncodingError("the locks of a batch have different senders: make one batch for each")
    items = [(terms.payee, terms.hashlock, terms.amount) for terms in locks]
    item = "(uint256,bytes32,uint256)[]"
    if token == COIN:
        return _call("lockNativeBatch", [item], [items], sum(terms.amount for terms in locks))
    return _call("lockERC20Batch", ["address", item], [token, items])


def encode_lock_with_permit(terms: EvmLockTerms, permit_deadline: int, signature: bytes) -> Call:
    """lockERC20WithPermit: allowance by EIP-2612 and lock at once, sent by `terms.sender`.

    `signature` is the sender's 65 bytes (r, s, v) over the token's own Permit typed data for the HTLC as
    spender and `amount` as value.
    """
    if terms.is_coin:
        raise HtlcEncodingError("the coin needs no permit: use encode_lock")
    r, s, v = _split(signature)
    types = ["uint256", "bytes32", "address", "uint256", "uint256", "uint8", "bytes32", "bytes32"]
    values = [terms.payee, terms.hashlock, terms.token, terms.amount, permit_deadline, v, r, s]
    return _call("lockERC20WithPermit", types, values)


def encode_lock_with_permit2(terms: EvmLockTerms, nonce: int, permit_deadline: int, signature: bytes) -> Call:
    """lockERC20WithPermit2: anyone may submit what `terms.sender` signed (`permit2_typed_data`).

    The sender needs an allowance for Permit2, once. Lane 0 only.
    """
    if terms.is_coin or terms.lane != 0:
        raise HtlcEncodingError("Permit2 locks are token locks in lane 0")
    types = [
        "uint256",
        "bytes32",
        "address",
        "uint256",
        "address",
        "uint256",
        "uint256",
        "bytes",
    ]
    values = [
        terms.payee,
        terms.hashlock,
        terms.token,
        terms.amount,
        terms.sender,
        nonce,
        permit_deadline,
        signature,
    ]
    return _call("lockERC20WithPermit2", types, values)


# ------------------------------------------------------------------------- claim


def encode_claim(terms: EvmLockTerms, preimage: bytes) -> Call:
    """claimNative or claimERC20 for the usual 32-byte preimage, claimBytes for any other of 0–64 bytes.

    Anyone may send it; it pays `terms.recipient`. It is cheapest from the recipient's own account.
    """
    _check_preimage(preimage)
    if len(preimage) != 32:
        return _call("claimBytes", ["bytes", _TERMS], [preimage, terms.plain()])
    if terms.is_coin:
        types = ["uint256", "bytes32", "bytes32"]
        return _call("claimNative", types, [terms.payee, preimage, terms.payer])
    types = ["uint256", "bytes32", "address", "uint256", "address"]
    values = [terms.payee, preimage, terms.token, terms.amount, terms.sender]
    return _call("claimERC20", types, values)


def encode_claim_batch(claims: Sequence[tuple[EvmLockTerms, bytes]]) -> Call:
    """claimNativeBatch or claimERC20Batch: several locks of one recipient and one asset, one payment.

    Preimages of 32 bytes only. Locks that are not open are left out by the contract (look for each one's
    Claimed log), so that nobody spoils the batch by claiming one first; it reverts when none is open.
    Raises HtlcEncodingError for an empty batch or one of mixed recipients or assets.
    """
    token = _common_token([terms for terms, _ in claims])
    if len({terms.recipient for terms, _ in claims}) != 1:
        raise HtlcEncodingError("the claims of a batch have different recipients: make one batch for each")
    if any(len(preimage) != 32 for _, preimage in claims):
        raise HtlcEncodingError("a batch takes preimages of 32 bytes: claim the others one by one")
    if token == COIN:
        items: list[Any] = [(terms.payee, preimage, terms.payer) for terms, preimage in claims]
        return _call("claimNativeBatch", ["(uint256,bytes32,bytes32)[]"], [items])
    items = [(terms.payee, preimage, terms.amount, terms.sender) for terms, preimage in claims]
    return _call("claimERC20Batch", ["address", "(uint256,bytes32,uint256,address)[]"], [token, items])


def encode_claim_for(
    terms: EvmLockTerms,
    preimage: bytes,
    *,
    fee: int,
    max_fee: int,
    nonce: int,
    expiry: int,
    signature: bytes,
) -> Call:
    """claimFor: the relayer that the recipient's signature names claims for it and keeps `fee`.

    `signature` is over `claim_for_typed_data` with the sender of the transaction as relayer. The recipient
    gets `amount - fee`; `fee` is at most `max_fee`.
    """
    _check_preimage(preimage)
    if not 0 <= fee <= min(max_fee, terms.amount):
        raise HtlcEncodingError(f"fee {fee} is not between 0 and what was signed ({max_fee}) and locked")
    types = ["bytes", _TERMS, "uint256", "uint256", "uint256", "uint256", "bytes"]
    return _call("claimFor", types, [preimage, terms.plain(), fee, max_fee, nonce, expiry, signature])


# ------------------------------------------------------------------------ refund


def encode_refund(terms: EvmLockTerms) -> Call:
    """refundNative or refundERC20: valid from the deadline on, from anyone, pays `terms.sender`."""
    if terms.is_coin:
        types = ["uint256", "bytes32", "bytes32"]
        return _call("refundNative", types, [terms.payee, terms.hashlock, terms.payer])
    types = ["uint256", "bytes32", "address", "uint256", "address"]
    values = [terms.payee, terms.hashlock, terms.token, terms.amount, terms.sender]
    return _call("refundERC20", types, values)


def encode_cooperative_refund(terms: EvmLockTerms, *, nonce: int, expiry: int, signature: bytes) -> Call:
    """cooperativeRefund: before the deadline, with the recipient's signature over its typed data."""
    types = [_TERMS, "uint256", "uint256", "bytes"]
    return _call("cooperativeRefund", types, [terms.plain(), nonce, expiry, signature])


def encode_cancel_nonces(word: int, mask: int) -> Call:
    """cancelNonces: the sender of the transaction withdraws its unused signatures.

    Those with nonces `word * 256 + bit`, for each bit that is set in `mask`.
    """
    return _call("cancelNonces", ["uint256", "uint256"], [word, mask])


# -------------------------------------------------------------------------- view


def encode_is_open(terms: EvmLockTerms) -> Call:
    """eth_call data of isOpen; the answer is one word, 1 or 0."""
    return _call("isOpen", [_TERMS], [terms.plain()])


def encode_used_nonces(signer: str, word: int) -> Call:
    """eth_call data of usedNonces; the answer is one word.

    Nonce n is bit `n & 255` of word `n >> 8`; it is used when set.
    """
    return _call("usedNonces", ["address", "uint256"], [signer, word])


def encode_is_valid_signature(digest: bytes, signature: bytes) -> bytes:
    """eth_call data of EIP-1271's isValidSignature, as the contract asks a smart wallet.

    The answer is one word that begins with the function's own selector, 0x1626ba7e, for yes.
    """
    return _call("isValidSignature", ["bytes32", "bytes"], [digest, signature]).data


def _common_token(locks: Sequence[EvmLockTerms]) -> str:
    tokens = {terms.token for terms in locks}
    if len(tokens) != 1:
        raise HtlcEncodingError("a batch is of one asset and at least one lock")
    return tokens.pop()


def _check_preimage(preimage: bytes) -> None:
    if len(preimage) > MAX_PREIMAGE:
        raise HtlcEncodingError(f"the preimage has {len(preimage)} bytes, at most {MAX_PREIMAGE} are allowed")


def _split(signature: bytes) -> tuple[bytes, bytes, int]:
    if len(signature) != 65:
        raise HtlcEncodingError(f"the signature has {len(signature)} bytes, r, s and v are 65")
    return signature[:32], signature[32:64], signature[64]


CLAIM_SELECTORS = frozenset(
    _selector(signature)
    for signature in (
        "claimNative(uint256,bytes32,bytes32)",
        "claimERC20(uint256,bytes32,address,uint256,address)",
        f"claimBytes(bytes,{_TERMS})",
        "claimNativeBatch((uint256,bytes32,bytes32)[])",
        "claimERC20Batch(address,(uint256,bytes32,uint256,address)[])",
        f"claimFor(bytes,{_TERMS},uint256,uint256,uint256,uint256,bytes)",
    )
)
"""The first four bytes of every call that shows a preimage."""
