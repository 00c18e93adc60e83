"""The JSON that Horizon shows of accounts, balances, ledgers and transactions."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from stellar_sdk import StrKey, xdr

from relayers.stellar.devnet.entries import Account, AssetId, ClaimableBalance, Data, SignerId, TrustLine
from relayers.stellar.devnet.network import Applied, ClosedLedger, StandaloneNetwork
from relayers.stellar.devnet.ops.accounts import AUTH_CLAWBACK, AUTH_IMMUTABLE, AUTH_REQUIRED, AUTH_REVOCABLE
from relayers.stellar.devnet.ops.payments import AUTHORIZED
from relayers.stellar.devnet.ops.trust import AUTH_FLAGS, CLAWBACK_ENABLED
from relayers.stellar.devnet.results import TxResult
from relayers.stellar.devnet.signatures import ED25519, HASH_X, PRE_AUTH_TX

Json = dict[str, Any]
STROOPS = 10_000_000
_TX_NAMES = {"txNO_ACCOUNT": "tx_no_source_account", "txBAD_MIN_SEQ_AGE_OR_GAP": "tx_bad_minseq_age_or_gap"}
_OP_NAMES = {
    "CREATE_ACCOUNT_ALREADY_EXIST": "op_already_exists",
    "ACCOUNT_MERGE_SEQNUM_TOO_FAR": "op_seq_num_too_far",
    "PATH_PAYMENT_STRICT_RECEIVE_OVER_SENDMAX": "op_over_source_max",
    "opNO_ACCOUNT": "op_no_source_account",
}


def amount(stroops: int) -> str:
    """Return an amount as Horizon writes it, with seven decimals."""
    return f"{stroops // STROOPS}.{stroops % STROOPS:07d}"


def timestamp(seconds: int) -> str:
    """Return a Unix time as Horizon writes it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def address(key: bytes) -> str:
    """Return the account address (G…) of a raw key."""
    return StrKey.encode_ed25519_public_key(key)


def asset_name(asset: AssetId) -> str:
    """Return "native" or "CODE:ISSUER"."""
    return "native" if asset.is_native else f"{asset.code.rstrip(bytes(1)).decode()}:{address(asset.issuer)}"


def asset_fields(asset: AssetId) -> Json:
    """Return the three fields by which Horizon names an asset."""
    if asset.is_native:
        return {"asset_type": "native"}
    return {
        "asset_type": f"credit_alphanum{len(asset.code)}",
        "asset_code": asset.code.rstrip(b"\0").decode(),
        "asset_issuer": address(asset.issuer),
    }


def signer_fields(key: SignerId) -> Json:
    """Return a signer's key in its text form, and its kind."""
    if key.kind == ED25519:
        return {"key": address(key.key), "type": "ed25519_public_key"}
    if key.kind == PRE_AUTH_TX:
        return {"key": StrKey.encode_pre_auth_tx(key.key), "type": "preauth_tx"}
    if key.kind == HASH_X:
        return {"key": StrKey.encode_sha256_hash(key.key), "type": "sha256_hash"}
    packed = (
        key.key
        + len(key.payload).to_bytes(4, "big")
        + key.payload.ljust(-(-len(key.payload) // 4) * 4, b"\0")
    )
    return {"key": StrKey.encode_ed25519_signed_payload(packed), "type": "ed25519_signed_payload"}


def account_flags(flags: int) -> Json:
    """Return an issuer's flags by name."""
    return {
        "auth_required": bool(flags & AUTH_REQUIRED),
        "auth_revocable": bool(flags & AUTH_REVOCABLE),
        "auth_immutable": bool(flags & AUTH_IMMUTABLE),
        "auth_clawback_enabled": bool(flags & AUTH_CLAWBACK),
    }


def account(
    entry: Account, lines: Iterable[TrustLine], data: Iterable[Data], network: StandaloneNetwork
) -> Json:
    """Return an account."""
    low, medium, high = entry.thresholds
    own = {"weight": entry.master_weight, **signer_fields(SignerId(ED25519, entry.id))}
    signers = [
        {
            "weight": each.weight,
            **signer_fields(each.id),
            **({"sponsor": address(each.sponsor)} if each.sponsor else {}),
        }
        for each in entry.signers
    ]
    native = {
        "balance": amount(entry.balance),
        "buying_liabilities": amount(entry.buying_liabilities),
        "selling_liabilities": amount(entry.selling_liabilities),
        "asset_type": "native",
    }
    text = address(entry.id)
    return {
        "_links": {"self": {"href": f"/accounts/{text}"}},
        "id": text,
        "account_id": text,
        "sequence": str(entry.sequence),
        **({"sequence_ledger": entry.sequence_ledger} if entry.sequence_ledger else {}),
        **({"sequence_time": str(entry.sequence_time)} if entry.sequence_time else {}),
        "subentry_count": entry.subentries,
        **({"inflation_destination": address(entry.inflation_dest)} if entry.inflation_dest else {}),
        **({"home_domain": entry.home_domain.decode()} if entry.home_domain else {}),
        "last_modified_ledger": entry.last_modified,
        "last_modified_time": timestamp(network.ledgers[max(1, entry.last_modified) - 1].header.close_time),
        "thresholds": {"low_threshold": low, "med_threshold": medium, "high_threshold": high},
        "flags": account_flags(entry.flags),
        "balances": [*(trustline(each) for each in lines), native],
        "signers": [*signers, own],
        "data": {each.name.decode(): base64.b64encode(each.value).decode() for each in data},
        "num_sponsoring": entry.num_sponsoring,
        "num_sponsored": entry.num_sponsored,
        **({"sponsor": address(entry.sponsor)} if entry.sponsor else {}),
        "paging_token": text,
    }


def trustline(line: TrustLine) -> Json:
    """Return a trustline, as listed among an account's balances."""
    return {
        "balance": amount(line.balance),
        "limit": amount(line.limit),
        "buying_liabilities": amount(line.buying_liabilities),
        "selling_liabilities": amount(line.selling_liabilities),
        **({"sponsor": address(line.sponsor)} if line.sponsor else {}),
        "last_modified_ledger": line.last_modified,
        "is_authorized": bool(line.flags & AUTHORIZED),
        "is_authorized_to_maintain_liabilities": bool(line.flags & AUTH_FLAGS),
        "is_clawback_enabled": bool(line.flags & CLAWBACK_ENABLED),
        **asset_fields(line.asset),
    }


def predicate(value: xdr.ClaimPredicate) -> Json:
    """Return a claim predicate."""
    if value.and_predicates:
        return {"and": [predicate(each) for each in value.and_predicates]}
    if value.or_predicates:
        return {"or": [predicate(each) for each in value.or_predicates]}
    if value.not_predicate is not None:
        return {"not": predicate(value.not_predicate)}
    if value.abs_before is not None:
        bound = value.abs_before.int64
        # Years beyond 9999 have no calendar form here; the epoch form is what programs read.
        shown = timestamp(min(bound, 253402300799))
        return {"abs_before": shown, "abs_before_epoch": str(bound)}
    return {"unconditional": True}


def claimable_balance(entry: ClaimableBalance, network: StandaloneNetwork) -> Json:
    """Return a claimable balance."""
    full_id = "00000000" + entry.id.hex()
    return {
        "_links": {"self": {"href": f"/claimable_balances/{full_id}"}},
        "id": full_id,
        "asset": asset_name(entry.asset),
        "amount": amount(entry.amount),
        **({"sponsor": address(entry.sponsor)} if entry.sponsor else {}),
        "last_modified_ledger": entry.last_modified,
        "last_modified_time": timestamp(network.ledgers[entry.last_modified - 1].header.close_time),
        "claimants": [
            {"destination": address(who), "predicate": predicate(how)} for who, how in entry.claimants
        ],
        "flags": {"clawback_enabled": entry.clawback},
        "paging_token": f"{entry.last_modified}-{full_id}",
    }


def ledger(closed: ClosedLedger) -> Json:
    """Return a ledger."""
    header = closed.header
    successes = sum(each.result.succeeded for each in closed.transactions)
    operations = sum(
        len(each.frame.inner.tx.operations) for each in closed.transactions if each.result.succeeded
    )
    return {
        "_links": {"self": {"href": f"/ledgers/{header.sequence}"}},
        "id": header.hash.hex(),
        "paging_token": str(header.sequence << 32),
        "hash": header.hash.hex(),
        "prev_hash": header.previous_hash.hex(),
        "sequence": header.sequence,
        "successful_transaction_count": successes,
        "failed_transaction_count": len(closed.transactions) - successes,
        "operation_count": operations,
        "tx_set_operation_count": closed.operation_count,
        "closed_at": timestamp(header.close_time),
        "total_coins": "100000000000.0000000",
        "base_fee_in_stroops": header.base_fee,
        "base_reserve_in_stroops": header.base_reserve,
        "max_tx_set_size": header.max_tx_set_size,
        "protocol_version": header.protocol,
    }


def paging_token(applied: Applied) -> int:
    """Return the total order id of a transaction."""
    return (applied.ledger << 32) | (applied.index << 12)


def _signatures(signatures: Iterable[xdr.DecoratedSignature]) -> list[str]:
    return [base64.b64encode(each.signature.signature).decode() for each in signatures]


def transaction(applied: Applied, network: StandaloneNetwork, asked_for: bytes | None = None) -> Json:
    """Return a transaction; a fee bump asked for by its inner transaction's hash answers to that name."""
    frame = applied.frame
    inner = frame.inner
    contents_hash = (asked_for or frame.contents_hash).hex()
    bumped: Json = {}
    if frame.is_fee_bump:
        bumped = {
            "fee_bump_transaction": {
                "hash": frame.contents_hash.hex(),
                "signatures": _signatures(frame.signatures),
            },
            "inner_transaction": {
                "hash": inner.contents_hash.hex(),
                "signatures": _signatures(inner.signatures),
                "max_fee": str(inner.fee_bid),
            },
        }
    own = inner if asked_for == inner.contents_hash else frame
    return {
        "_links": {"self": {"href": f"/transactions/{contents_hash}"}},
        "id": contents_hash,
        "paging_token": str(paging_token(applied)),
        "successful": applied.result.succeeded,
        "hash": contents_hash,
        "ledger": applied.ledger,
        "created_at": timestamp(network.ledgers[applied.ledger - 1].header.close_time),
        "source_account": address(frame.source),
        "source_account_sequence": str(frame.sequence),
        "fee_account": address(frame.fee_source),
        "fee_charged": str(applied.result.fee_charged),
        "max_fee": str(frame.fee_bid),
        "operation_count": len(inner.tx.operations),
        "envelope_xdr": frame.envelope.to_xdr(),
        "result_xdr": applied.result.to_xdr().to_xdr(),
        "fee_meta_xdr": "",
        **_memo(inner.tx.memo),
        "signatures": _signatures(own.signatures),
        **bumped,
    }


def _memo(memo: xdr.Memo) -> Json:
    if memo.text is not None:
        return {
            "memo_type": "text",
            "memo_bytes": base64.b64encode(memo.text).decode(),
            "memo": memo.text.decode(errors="replace"),
        }
    if memo.id is not None:
        return {"memo_type": "id", "memo": str(memo.id.uint64)}
    if memo.hash is not None:
        return {"memo_type": "hash", "memo": base64.b64encode(memo.hash.hash).decode()}
    if memo.ret_hash is not None:
        return {"memo_type": "return", "memo": base64.b64encode(memo.ret_hash.hash).decode()}
    return {"memo_type": "none"}


def result_codes(result: TxResult) -> Json:
    """Return a failed transaction's codes in Horizon's spelling."""
    codes: Json = {"transaction": _tx_name(result.code.name)}
    told = result
    if result.inner is not None:
        told = result.inner[1]
        codes["inner_transaction"] = _tx_name(told.code.name)
    if told.code is xdr.TransactionResultCode.txFAILED:
        codes["operations"] = [_op_name(each.kind, each.name) for each in told.operations]
    return codes


def _tx_name(name: str) -> str:
    return _TX_NAMES.get(name, "tx_" + name.removeprefix("tx").lower())


def _op_name(kind: xdr.OperationType, name: str) -> str:
    stem = re.sub(r"^PATH_PAYMENT_STRICT_", "PATH_PAYMENT_STRICT_", kind.name)
    return _OP_NAMES.get(name, "op_" + name.removeprefix(stem + "_").removeprefix("op").lower())
