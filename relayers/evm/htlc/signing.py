"""What is signed for the HTLC contract: EIP-712 typed data. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eth_account.messages import encode_typed_data
from eth_hash.auto import keccak

from relayers.evm.htlc.locks import EvmLockTerms, checked_address

_TERMS_FIELDS = [
    {"name": "sender", "type": "address"},
    {"name": "recipient", "type": "address"},
    {"name": "token", "type": "address"},
    {"name": "amount", "type": "uint256"},
    {"name": "hashlock", "type": "bytes32"},
    {"name": "deadline", "type": "uint64"},
    {"name": "lane", "type": "uint32"},
]

#: EIP-712 domain of the contract, see `eip712Domain()` (EIP-5267).
DOMAIN_NAME = "Rainbow HTLC"
DOMAIN_VERSION = "1"

PERMIT2 = "0x000000000022D473030F116dDEE9F6B43aC78BA3"

_DOMAIN_FIELDS = [
    {"name": "name", "type": "string"},
    {"name": "version", "type": "string"},
    {"name": "chainId", "type": "uint256"},
    {"name": "verifyingContract", "type": "address"},
]


def claim_for_typed_data(
    chain_id: int,
    contract: str,
    terms: EvmLockTerms,
    *,
    relayer: str,
    max_fee: int,
    nonce: int,
    expiry: int,
) -> dict[str, Any]:
    """What the recipient signs (eth_signTypedData_v4) to let `relayer` claim for at most `max_fee`.

    `nonce` is any number the recipient has not used with this contract; until `expiry` (Unix seconds).
    """
    extra = [
        {"name": "relayer", "type": "address"},
        {"name": "maxFee", "type": "uint256"},
        {"name": "nonce", "type": "uint256"},
        {"name": "expiry", "type": "uint256"},
    ]
    values = {
        "relayer": checked_address("relayer", relayer),
        "maxFee": max_fee,
        "nonce": nonce,
        "expiry": expiry,
    }
    return _typed_data(chain_id, contract, "ClaimFor", terms, extra=extra, values=values)


def cooperative_refund_typed_data(
    chain_id: int, contract: str, terms: EvmLockTerms, *, nonce: int, expiry: int
) -> dict[str, Any]:
    """What the recipient signs to let the lock go back to its sender before the deadline."""
    extra = [{"name": "nonce", "type": "uint256"}, {"name": "expiry", "type": "uint256"}]
    values = {"nonce": nonce, "expiry": expiry}
    return _typed_data(chain_id, contract, "CooperativeRefund", terms, extra=extra, values=values)


def permit2_typed_data(
    chain_id: int, contract: str, terms: EvmLockTerms, *, nonce: int, permit_deadline: int
) -> dict[str, Any]:
    """What `terms.sender` signs for `encode_lock_with_permit2`: a Permit2 transfer bound to this lock."""
    return {
        "types": {
            "EIP712Domain": [field for field in _DOMAIN_FIELDS if field["name"] != "version"],
            "PermitWitnessTransferFrom": [
                {"name": "permitted", "type": "TokenPermissions"},
                {"name": "spender", "type": "address"},
                {"name": "nonce", "type": "uint256"},
                {"name": "deadline", "type": "uint256"},
                {"name": "witness", "type": "LockWitness"},
            ],
            "TokenPermissions": [
                {"name": "token", "type": "address"},
                {"name": "amount", "type": "uint256"},
            ],
            "LockWitness": [
                {"name": "htlc", "type": "address"},
                {"name": "recipient", "type": "address"},
                {"name": "hashlock", "type": "bytes32"},
                {"name": "deadline", "type": "uint64"},
            ],
        },
        "primaryType": "PermitWitnessTransferFrom",
        "domain": {"name": "Permit2", "chainId": chain_id, "verifyingContract": PERMIT2},
        "message": {
            "permitted": {"token": terms.token, "amount": terms.amount},
            "spender": contract,
            "nonce": nonce,
            "deadline": permit_deadline,
            "witness": {
                "htlc": contract,
                "recipient": terms.recipient,
                "hashlock": terms.hashlock,
                "deadline": terms.deadline,
            },
        },
    }


def typed_data_digest(typed_data: Mapping[str, Any]) -> bytes:
    """The 32 bytes that are signed: keccak256(0x1901, domain, struct), EIP-712."""
    message = encode_typed_data(full_message=dict(typed_data))
    return keccak(b"\x19" + message.version + message.header + message.body)


def _typed_data(
    chain_id: int,
    contract: str,
    kind: str,
    terms: EvmLockTerms,
    *,
    extra: list[dict[str, str]],
    values: dict[str, Any],
) -> dict[str, Any]:
    return {
        "types": {"EIP712Domain": _DOMAIN_FIELDS, kind: _TERMS_FIELDS + extra},
        "primaryType": kind,
        "domain": {
            "name": DOMAIN_NAME,
            "version": DOMAIN_VERSION,
            "chainId": chain_id,
            "verifyingContract": checked_address("contract", contract),
        },
        "message": {
            **{field["name"]: getattr(terms, field["name"]) for field in _TERMS_FIELDS},
            **values,
        },
    }
