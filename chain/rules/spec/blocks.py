"""The rules of headers, and of transactions and blocks by themselves: no state, no signatures."""

from __future__ import annotations

from collections.abc import Sequence

from chain.rules.difficulty import median_time_past, next_target
from chain.rules.errors import Reason
from chain.rules.hashing import keccak256, sha256
from chain.rules.header import HEADER_VERSION, Header, compact_to_target
from chain.rules.params import FUTURE_LIMIT, MAX_AMOUNT, MAX_BLOCK_TRANSACTIONS, NetworkParams
from chain.rules.records import (
    BODY_VERSION,
    CONSENT_BYTES,
    MAX_PREIMAGE_BYTES,
    WITNESS_BYTES,
    ZERO20,
    ZERO32,
    Kind,
)
from chain.rules.spec.values import UINT64_END, SignedRecord, at_fault, require
from chain.rules.types import Amount, BlockId, UnixSeconds
from kernels import reference

# the header -----------------------------------------------------------------------------------------


def block_id(header: Header) -> BlockId:
    """Return keccak256(header ‖ nonce)."""
    return BlockId(keccak256(header.raw + header.nonce.to_bytes(8, "little")))


def version_is_known(header: Header) -> None:
    """There is one version of headers."""
    require(header.version == HEADER_VERSION, Reason.BAD_BLOCK_VERSION)


def height_follows_the_parent(header: Header, parent: Header) -> None:
    """Heights count up by one."""
    require(header.height == parent.height + 1, Reason.BAD_HEIGHT)


def target_is_the_expected_one(header: Header, ancestors: Sequence[Header], params: NetworkParams) -> None:
    """The miner does not choose the difficulty."""
    require(header.target == next_target(params, ancestors), Reason.BAD_TARGET)


def time_is_after_the_median(header: Header, ancestors: Sequence[Header]) -> None:
    """Time moves on: later than the median of the last eleven blocks' times."""
    require(header.time > median_time_of(ancestors), Reason.TIME_TOO_OLD)


def time_is_not_far_ahead(header: Header, now: UnixSeconds) -> None:
    """At most ten minutes ahead of the node's clock. The same block may be accepted later."""
    require(header.time <= now + FUTURE_LIMIT, Reason.TIME_TOO_NEW)


def work_meets_the_target(header: Header) -> None:
    """Cosmic Harmony of header and nonce, as a big-endian integer, is at most the target."""
    work = reference.cosmic_harmony(header.raw, header.nonce)
    require(int.from_bytes(work, "big") <= compact_to_target(header.target), Reason.BAD_WORK)


def median_time_of(headers: Sequence[Header]) -> UnixSeconds:
    """Return the median time past of a chain of headers, oldest first: the clock of deadlines."""
    return median_time_past([header.time for header in headers])


def check_header(
    header: Header, ancestors: Sequence[Header], params: NetworkParams, now: UnixSeconds
) -> None:
    """Check a header on its ancestors, oldest first, the parent last. `now` is the node's clock."""
    version_is_known(header)
    height_follows_the_parent(header, ancestors[-1])
    target_is_the_expected_one(header, ancestors, params)
    time_is_after_the_median(header, ancestors)
    time_is_not_far_ahead(header, now)
    work_meets_the_target(header)


# one transaction by itself --------------------------------------------------------------------------


def kind_is_known(tx: SignedRecord) -> None:
    """Kinds 1 to 7 exist."""
    require(tx.kind in frozenset(Kind), Reason.BAD_KIND)


def record_version_is_known(tx: SignedRecord) -> None:
    """There is one version of bodies."""
    require(tx.version == BODY_VERSION, Reason.BAD_VERSION)


def chain_is_this_one(tx: SignedRecord, chain_id: int) -> None:
    """A transaction of another network does not count here."""
    require(tx.chain_id == chain_id, Reason.WRONG_CHAIN)


def reserved_bytes_are_zero(tx: SignedRecord) -> None:
    """Flags and reserved bytes wait for a later version."""
    require(tx.flags == 0 and not any(tx.reserved), Reason.RESERVED_NOT_ZERO)


def only_the_first_is_a_coinbase(tx: SignedRecord, is_first_of_block: bool) -> None:
    """A block begins with its coinbase and has no other; outside a block there is none."""
    require((tx.kind == Kind.COINBASE) == is_first_of_block, Reason.COINBASE_MISPLACED)


def amount_is_in_range(tx: SignedRecord) -> None:
    """No amount is above 2⁶⁰."""
    require(tx.amount <= MAX_AMOUNT, Reason.AMOUNT_OUT_OF_RANGE)


def fee_is_in_range(tx: SignedRecord) -> None:
    """No fee is above 2⁶⁰, so amount and fee add up without overflow."""
    require(tx.fee <= MAX_AMOUNT, Reason.FEE_OUT_OF_RANGE)


def only_an_anchor_has_no_recipient(tx: SignedRecord) -> None:
    """An anchor pays nobody; all others pay somebody."""
    if tx.kind == Kind.ANCHOR:
        require(tx.recipient == ZERO20, Reason.FIELD_NOT_ZERO)
    else:
        require(tx.recipient != ZERO20, Reason.ZERO_RECIPIENT)


def coinbase_has_no_sender_and_no_fee(tx: SignedRecord) -> None:
    """A coinbase takes its coins from nobody."""
    require(tx.sender == ZERO20 and tx.fee == 0, Reason.FIELD_NOT_ZERO)


def coinbase_names_its_height(tx: SignedRecord, height: int) -> None:
    """The height in place of the nonce keeps the ids of coinbases apart."""
    require(tx.nonce == height, Reason.BAD_COINBASE_HEIGHT)


def coinbase_has_no_witness(tx: SignedRecord) -> None:
    """Nobody signs a coinbase."""
    require(tx.witness == bytes(WITNESS_BYTES), Reason.BAD_WITNESS)


def something_is_paid(tx: SignedRecord) -> None:
    """All but anchors move at least one unit."""
    require(tx.kind == Kind.ANCHOR or tx.amount > 0, Reason.AMOUNT_OUT_OF_RANGE)


def transfer_has_no_hash(tx: SignedRecord) -> None:
    """A transfer needs no hash."""
    require(tx.kind != Kind.TRANSFER or tx.hash == ZERO32, Reason.FIELD_NOT_ZERO)


def only_a_lock_has_a_deadline(tx: SignedRecord) -> None:
    """What spends a lock goes by the lock's own deadline."""
    require(tx.kind == Kind.HTLC_LOCK or tx.deadline == 0, Reason.FIELD_NOT_ZERO)


def aux_fits_the_kind(tx: SignedRecord) -> None:
    """A claim carries a preimage, a cooperative refund a consent or nothing, others nothing."""
    if tx.kind == Kind.HTLC_CLAIM:
        require(tx.aux_length <= MAX_PREIMAGE_BYTES, Reason.PREIMAGE_TOO_LONG)
    elif tx.kind == Kind.HTLC_COOPERATIVE_REFUND:
        require(tx.aux_length in (0, CONSENT_BYTES), Reason.BAD_WITNESS)
    else:
        require(tx.aux_length == 0, Reason.BAD_WITNESS)


def unused_witness_is_zero(tx: SignedRecord) -> None:
    """A witness has one form: nobody can change it on its way."""
    require(not any(tx.unused_witness), Reason.BAD_WITNESS)


def check_record(tx: SignedRecord, chain_id: int, height: int | None, is_first_of_block: bool) -> None:
    """Check all of a transaction that needs neither state nor cryptography."""
    kind_is_known(tx)
    record_version_is_known(tx)
    chain_is_this_one(tx, chain_id)
    reserved_bytes_are_zero(tx)
    only_the_first_is_a_coinbase(tx, is_first_of_block)
    amount_is_in_range(tx)
    fee_is_in_range(tx)
    only_an_anchor_has_no_recipient(tx)
    if tx.kind == Kind.COINBASE:
        coinbase_has_no_sender_and_no_fee(tx)
        coinbase_names_its_height(tx, height or 0)
        coinbase_has_no_witness(tx)
        return
    something_is_paid(tx)
    transfer_has_no_hash(tx)
    only_a_lock_has_a_deadline(tx)
    aux_fits_the_kind(tx)
    unused_witness_is_zero(tx)


def check_records(records: Sequence[SignedRecord], chain_id: int, height: int | None) -> Amount:
    """Check transactions one after the other; return the sum of their fees.

    `height` is that of the block that they make up, None for transactions outside a block.
    """
    fees = 0
    for index, tx in enumerate(records):
        with at_fault(index):
            check_record(tx, chain_id, height, is_first_of_block=height is not None and index == 0)
            fees += tx.fee
            require(fees < UINT64_END, Reason.FEE_SUM_OVERFLOW)
    return Amount(fees)


# a block by itself ----------------------------------------------------------------------------------


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """Return the root of RFC 6962, section 2.1, with Keccak-256: no leaf is ever doubled."""
    if not leaves:
        return keccak256(b"")
    if len(leaves) == 1:
        return keccak256(b"\x00" + leaves[0])
    split = 1 << (len(leaves) - 1).bit_length() - 1  # the largest power of two below their number
    return keccak256(b"\x01" + merkle_root(leaves[:split]) + merkle_root(leaves[split:]))


def there_is_a_transaction(records: Sequence[SignedRecord]) -> None:
    """A block has a coinbase at least."""
    require(len(records) > 0, Reason.EMPTY_BLOCK)


def transactions_are_not_too_many(records: Sequence[SignedRecord]) -> None:
    """A block holds 4,096 transactions at most."""
    require(len(records) <= MAX_BLOCK_TRANSACTIONS, Reason.TOO_MANY_TRANSACTIONS)


def header_commits_to_the_transactions(header: Header, records: Sequence[SignedRecord]) -> None:
    """The header's Merkle root is that of the transaction ids in order."""
    require(merkle_root([tx.txid for tx in records]) == header.merkle_root, Reason.BAD_MERKLE_ROOT)


def coinbase_commits_to_the_witnesses(records: Sequence[SignedRecord]) -> None:
    """The coinbase's hash is SHA-256 of all other witnesses: the block id commits to every byte."""
    with at_fault(0):
        commitment = sha256(b"".join(tx.witness for tx in records[1:]))
        require(records[0].hash == commitment, Reason.BAD_WITNESS_COMMITMENT)


def check_body(header: Header, records: Sequence[SignedRecord], params: NetworkParams) -> Amount:
    """Check all of a block that needs no state; return the sum of its fees."""
    there_is_a_transaction(records)
    transactions_are_not_too_many(records)
    header_commits_to_the_transactions(header, records)
    fees = check_records(records, params.chain_id, header.height)
    coinbase_commits_to_the_witnesses(records)
    return fees
