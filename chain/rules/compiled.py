"""Rules over whole blocks as arrays, compiled by Numba: the fast form of part of `chain.rules.spec`.

`check_records` needs no state; `apply_accounts` moves balances and nonces. Both return a code and the index
of the first transaction at fault; a code is that of a `Reason`. `chain.rules.spec` says the same rules in
plain Python; tests/property/test_specification.py holds the two against each other.
"""

from __future__ import annotations

import numpy as np
from numba import types
from numpy.typing import NDArray

from chain.rules.block import U8Array, U64Array
from chain.rules.errors import Reason, RuleBrokenError
from chain.rules.params import MAX_AMOUNT
from chain.rules.records import (
    BODY_VERSION,
    CONSENT_BYTES,
    MAX_PREIMAGE_BYTES,
    PUBLIC_KEY_BYTES,
    SIGNATURE_BYTES,
    WITNESS_BYTES,
    Kind,
)
from kernels.compile_cache import building_block, kernel
from kernels.numba_types import READ_ROWS, ROWS

I64Array = NDArray[np.int64]
_READ_BYTES = types.Array(types.uint8, 2, "C", readonly=True)
_INDICES = types.Array(types.int64, 1, "C")
_READ_INDICES = types.Array(types.int64, 1, "C", readonly=True)
_FAULT = types.UniTuple(types.int64, 2)

_OK = 0
# Numba compiles numbers, not members of an enum of strings.
_BAD_KIND = Reason.BAD_KIND.code
_BAD_VERSION = Reason.BAD_VERSION.code
_WRONG_CHAIN = Reason.WRONG_CHAIN.code
_RESERVED_NOT_ZERO = Reason.RESERVED_NOT_ZERO.code
_AMOUNT_OUT_OF_RANGE = Reason.AMOUNT_OUT_OF_RANGE.code
_FEE_OUT_OF_RANGE = Reason.FEE_OUT_OF_RANGE.code
_FIELD_NOT_ZERO = Reason.FIELD_NOT_ZERO.code
_ZERO_RECIPIENT = Reason.ZERO_RECIPIENT.code
_PREIMAGE_TOO_LONG = Reason.PREIMAGE_TOO_LONG.code
_BAD_WITNESS = Reason.BAD_WITNESS.code
_COINBASE_MISPLACED = Reason.COINBASE_MISPLACED.code
_BAD_COINBASE_HEIGHT = Reason.BAD_COINBASE_HEIGHT.code
_FEE_SUM_OVERFLOW = Reason.FEE_SUM_OVERFLOW.code
_BAD_NONCE = Reason.BAD_NONCE.code
_INSUFFICIENT_BALANCE = Reason.INSUFFICIENT_BALANCE.code
_BALANCE_OVERFLOW = Reason.BALANCE_OVERFLOW.code

_U = np.uint64
_MAX = np.uint64(MAX_AMOUNT)
_LOW32 = np.uint64(0xFFFFFFFF)
_ZERO = np.uint64(0)
_ONE = np.uint64(1)

_VERSION = np.uint64(BODY_VERSION)
_FIRST_KIND = np.uint64(min(Kind))
_LAST_KIND = np.uint64(max(Kind))
_COINBASE = np.uint64(Kind.COINBASE)
_TRANSFER = np.uint64(Kind.TRANSFER)
_LOCK = np.uint64(Kind.HTLC_LOCK)
_CLAIM = np.uint64(Kind.HTLC_CLAIM)
_REFUND = np.uint64(Kind.HTLC_REFUND)
_COOPERATIVE_REFUND = np.uint64(Kind.HTLC_COOPERATIVE_REFUND)
_ANCHOR = np.uint64(Kind.ANCHOR)
_AUX_LENGTH_AT = SIGNATURE_BYTES + PUBLIC_KEY_BYTES
_AUX_AT = _AUX_LENGTH_AT + 1


@building_block
def _check_one(body, witness, chain_id, is_coinbase_place, height):  # type: ignore[no-untyped-def]
    kind = body[0] & _U(0xFF)
    if kind < _FIRST_KIND or kind > _LAST_KIND:
        return _BAD_KIND
    if (body[0] >> _U(8)) & _U(0xFF) != _VERSION:
        return _BAD_VERSION
    if body[0] >> _U(32) != chain_id:
        return _WRONG_CHAIN
    if (body[0] >> _U(16)) & _U(0xFFFF) != _ZERO or body[14] != _ZERO or body[15] != _ZERO:
        return _RESERVED_NOT_ZERO
    if (kind == _COINBASE) != is_coinbase_place:
        return _COINBASE_MISPLACED
    if body[2] > _MAX:
        return _AMOUNT_OUT_OF_RANGE
    if body[3] > _MAX:
        return _FEE_OUT_OF_RANGE
    sender_zero = body[4] == _ZERO and body[5] == _ZERO and (body[6] & _LOW32) == _ZERO
    recipient_zero = body[6] >> _U(32) == _ZERO and body[7] == _ZERO and body[8] == _ZERO
    hash_zero = body[9] == _ZERO and body[10] == _ZERO and body[11] == _ZERO and body[12] == _ZERO
    if kind == _ANCHOR:  # an anchor has no recipient
        if not recipient_zero:
            return _FIELD_NOT_ZERO
    elif recipient_zero:
        return _ZERO_RECIPIENT
    if kind == _COINBASE:
        if not sender_zero or body[3] != _ZERO:
            return _FIELD_NOT_ZERO
        if body[1] != height:
            return _BAD_COINBASE_HEIGHT
        for i in range(witness.shape[0]):
            if witness[i] != 0:
                return _BAD_WITNESS
        return _OK
    if kind != _ANCHOR and body[2] == _ZERO:
        return _AMOUNT_OUT_OF_RANGE
    if kind == _TRANSFER and not hash_zero:
        return _FIELD_NOT_ZERO
    if kind != _LOCK and body[13] != _ZERO:
        return _FIELD_NOT_ZERO
    aux = witness[_AUX_LENGTH_AT]
    if kind == _CLAIM:
        if aux > MAX_PREIMAGE_BYTES:
            return _PREIMAGE_TOO_LONG
    elif kind == _COOPERATIVE_REFUND:
        if aux not in (0, CONSENT_BYTES):
            return _BAD_WITNESS
    elif aux != 0:
        return _BAD_WITNESS
    for i in range(_AUX_AT + np.int64(aux), witness.shape[0]):
        if witness[i] != 0:
            return _BAD_WITNESS
    return _OK


@kernel(
    types.Tuple((types.int64, types.int64, types.uint64))(
        READ_ROWS, _READ_BYTES, types.uint64, types.boolean, types.uint64
    )
)
def _check_records(bodies, witnesses, chain_id, in_block, height):  # type: ignore[no-untyped-def]
    fees = _ZERO
    for i in range(bodies.shape[0]):
        code = _check_one(bodies[i], witnesses[i], chain_id, in_block and i == 0, height)
        if code != _OK:
            return code, i, fees
        if fees + bodies[i, 3] < fees:
            return _FEE_SUM_OVERFLOW, i, fees
        fees += bodies[i, 3]
    return _OK, 0, fees


@building_block
def _find(table, keys, count, a, b, c):  # type: ignore[no-untyped-def]
    """Look an address up in the open-addressed table, adding it if new: (its index, the new count)."""
    mask = _U(table.shape[0] - 1)
    mixed = (a ^ (b << _U(1)) ^ (c << _U(17))) * _U(0x9E3779B97F4A7C15)
    slot = (mixed ^ (mixed >> _U(29))) & mask
    while True:
        index = table[slot]
        if index < 0:
            table[slot] = count
            keys[count, 0] = a
            keys[count, 1] = b
            keys[count, 2] = c
            return count, count + 1
        if keys[index, 0] == a and keys[index, 1] == b and keys[index, 2] == c:
            return index, count
        slot = (slot + _ONE) & mask


@kernel(types.int64(READ_ROWS, _INDICES, ROWS, _INDICES, _INDICES))
def _index_accounts(bodies, table, keys, senders, recipients):  # type: ignore[no-untyped-def]
    count = 0
    for i in range(bodies.shape[0]):
        senders[i], count = _find(table, keys, count, bodies[i, 4], bodies[i, 5], bodies[i, 6] & _LOW32)
        recipients[i], count = _find(
            table,
            keys,
            count,
            (bodies[i, 6] >> _U(32)) | (bodies[i, 7] << _U(32)),
            (bodies[i, 7] >> _U(32)) | (bodies[i, 8] << _U(32)),
            bodies[i, 8] >> _U(32),
        )
    return count


@kernel(_FAULT(READ_ROWS, _READ_INDICES, _READ_INDICES, ROWS, types.int64))
def _apply(bodies, senders, recipients, accounts, first):  # type: ignore[no-untyped-def]
    """Columns of accounts: balance, nonce, blocks mined, anchors carried."""
    anchors = False
    for i in range(first, bodies.shape[0]):
        kind = bodies[i, 0] & _U(0xFF)
        amount, fee = bodies[i, 2], bodies[i, 3]
        s, r = senders[i], recipients[i]
        if accounts[s, 1] != bodies[i, 1]:
            return _BAD_NONCE, i
        accounts[s, 1] += _ONE
        if kind in (_CLAIM, _REFUND, _COOPERATIVE_REFUND):  # what a lock pays may pay the fee
            if accounts[r, 0] + amount < amount:
                return _BALANCE_OVERFLOW, i
            accounts[r, 0] += amount
        cost = fee
        if kind in (_TRANSFER, _LOCK):
            cost += amount  # both at most MAX_AMOUNT
        if accounts[s, 0] < cost:
            return _INSUFFICIENT_BALANCE, i
        accounts[s, 0] -= cost
        if kind == _TRANSFER:
            if accounts[r, 0] + amount < amount:
                return _BALANCE_OVERFLOW, i
            accounts[r, 0] += amount
        anchors = anchors or kind == _ANCHOR
    if first == 1:
        miner = recipients[0]
        if accounts[miner, 0] + bodies[0, 2] < bodies[0, 2]:
            return _BALANCE_OVERFLOW, 0
        accounts[miner, 0] += bodies[0, 2]
        accounts[miner, 2] += _ONE
        if anchors:
            accounts[miner, 3] += _ONE
    return _OK, 0


_HINTS = {
    Reason.WRONG_CHAIN: "the transaction was made for another ZION network",
    Reason.PREIMAGE_TOO_LONG: "a preimage has at most 64 bytes",
    Reason.INSUFFICIENT_BALANCE: "the sender's confirmed balance does not cover amount and fee",
    Reason.BAD_NONCE: "ask getAccount for the next nonce",
    Reason.AMOUNT_OUT_OF_RANGE: "amounts are 1 … 2^60 smallest units",
}


def _raise(code: int, index: int) -> None:
    reason = Reason.of_code(code)
    if reason is not None:
        raise RuleBrokenError(reason, hint=_HINTS.get(reason, ""), index=int(index))


def check_records(bodies: U64Array, witnesses: U64Array, chain_id: int, height: int | None) -> int:
    """Check everything about transactions that needs neither state nor cryptography.

    `height` of the block they stand in, coinbase first, or None for transactions outside a block. Returns
    the sum of fees. Raises `RuleBrokenError` with the index of the first transaction at fault.
    """
    as_bytes = witnesses.view(np.uint8).reshape(len(witnesses), WITNESS_BYTES)
    code, index, fees = _check_records(bodies, as_bytes, _U(chain_id), height is not None, _U(height or 0))
    _raise(code, index)
    return int(fees)


def index_accounts(bodies: U64Array) -> tuple[U8Array, I64Array, I64Array]:
    """Return the distinct addresses (M, 20) uint8, and per transaction its sender's and recipient's row."""
    count = len(bodies)
    size = 1 << max(4, (4 * count - 1).bit_length())
    table = np.full(size, -1, np.int64)
    keys = np.empty((2 * count, 3), np.uint64)
    senders, recipients = np.empty(count, np.int64), np.empty(count, np.int64)
    distinct = _index_accounts(bodies, table, keys, senders, recipients)
    addresses = np.ascontiguousarray(keys[:distinct].view(np.uint8).reshape(distinct, 24)[:, :20])
    return addresses, senders, recipients


def apply_accounts(
    bodies: U64Array, senders: I64Array, recipients: I64Array, accounts: U64Array, *, in_block: bool
) -> None:
    """Move balances, nonces and experience in `accounts` (M, 4), in order; the coinbase is paid last.

    Raises `RuleBrokenError`; `accounts` is then in between and must be thrown away.
    """
    code, index = _apply(bodies, senders, recipients, accounts, 1 if in_block else 0)
    _raise(code, index)


def prepare() -> None:
    """Compile the rules, or load them from the cache, before the first block needs them."""
    for compiled in (_check_records, _index_accounts, _apply):
        compiled.prepare()
