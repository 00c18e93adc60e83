"""Transactions that name the HTLC program or a vault, read: what they called, and what they show.

A node may refuse to show one (it is of a newer version), and may not have kept what its instructions called.
Such a one proves nothing, and never that something did not happen.
"""

from __future__ import annotations

import base64
import binascii
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from solders.compute_budget import ID as COMPUTE_BUDGET
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM_PROGRAM
from solders.transaction import VersionedTransaction
from spl.memo.constants import MEMO_PROGRAM_ID
from spl.token.constants import ASSOCIATED_TOKEN_PROGRAM_ID, TOKEN_PROGRAM_ID

from bridge.chains.endpoints.answers import Answer
from bridge.chains.endpoints.json_rpc import Call, Calls, RpcError, record
from bridge.protocol.types import MAX_PREIMAGE_BYTES, TxId, UnixSeconds
from relayers.solana import program
from relayers.solana.blocks import CONFIRMED, NEWEST_VERSION, ChainMovedError, from_base58

UNSUPPORTED_VERSION = -32015
"""Agave, rpc-client-api/src/custom_error.rs: JSON_RPC_SERVER_ERROR_UNSUPPORTED_TRANSACTION_VERSION."""

_CALL_NO_STRANGERS = frozenset(
    {SYSTEM_PROGRAM, COMPUTE_BUDGET, TOKEN_PROGRAM_ID, ASSOCIATED_TOKEN_PROGRAM_ID, MEMO_PROGRAM_ID}
)
"""Programs that call no HTLC program: the native ones call nothing, the associated-token-account program only
the system and token programs, and ours (contracts/solana/htlc.c) the same two."""

_LOGGED = "Program data: "
"""Before what sol_log_data wrote, in base64 (Agave, program-runtime/src/stable_log.rs)."""
_EVENTS = (b"lock", b"claim", b"refund")
"""What our program's own events begin with; the terms in them are longer than any preimage."""
_WORD = 8
_OUR_LENGTHS = {
    int(program.Operation.LOCK_SOL): 96,
    int(program.Operation.REFUND): 8,
    int(program.Operation.LOCK_TOKEN): 128,
}
"""Of our instructions that can hold no preimage."""
_USUAL_LENGTHS: Mapping[Pubkey, frozenset[int]] = {
    COMPUTE_BUDGET: frozenset({5, 9}),
    SYSTEM_PROGRAM: frozenset({12, 36, 52}),
    TOKEN_PROGRAM_ID: frozenset({1, 3, 9, 10, 33, 35}),
    ASSOCIATED_TOKEN_PROGRAM_ID: frozenset({0, 1}),
}
"""Lengths of the instructions that every lock and claim comes with: they are all numbers and addresses. Where
calls are not shown, these too are looked at."""
_SECRET_BYTES = 32


class Executed(msgspec.Struct, frozen=True):
    """A transaction in a block.

    `calls`: those of the HTLC program that are shown, in order; made if it `succeeded`, else only published.
    `strings`: what it shows that could be a preimage. `hidden`: why there may be calls that are not shown; ""
    if all are. `written`: the accounts that it may have changed, None if that is not known. `emptied`: those
    of them that had lamports before and have fewer now. `signers`: who signed it. `time`: Unix seconds.
    """

    tx_id: TxId
    slot: int
    succeeded: bool
    calls: tuple[program.Call, ...] = ()
    strings: tuple[bytes, ...] = ()
    hidden: str = ""
    written: tuple[Pubkey, ...] | None = None
    emptied: tuple[Pubkey, ...] = ()
    signers: tuple[Pubkey, ...] = ()
    time: UnixSeconds | None = None

    def __repr__(self) -> str:
        return f"Executed({self.tx_id})"

    def may_touch(self, account: Pubkey) -> bool:
        """Tell whether calls that are not shown may have changed an account."""
        unknown = self.written is None or account in self.written
        return bool(self.hidden) and self.succeeded and unknown


async def read(rpc: Calls, of_program: Pubkey, entries: Sequence[Mapping[str, Any]]) -> list[Executed]:
    """Return the transactions of these entries of getSignaturesForAddress, each of them: those that cannot be
    read are `hidden`. Raises `ChainMovedError` when one is not there any more, `PortUnavailableError`."""
    options = {
        "encoding": "base64",
        "commitment": CONFIRMED,
        "maxSupportedTransactionVersion": NEWEST_VERSION,
    }
    calls = [Call("getTransaction", (entry["signature"], options)) for entry in entries]
    results = await rpc.batch(calls)
    return [_read(of_program, entry, result) for entry, result in zip(entries, results, strict=True)]


def _read(of_program: Pubkey, entry: Mapping[str, Any], result: Any) -> Executed:
    unread = Executed(TxId(str(entry["signature"])), int(entry["slot"]), entry["err"] is None)
    if isinstance(result, RpcError):
        if result.code == UNSUPPORTED_VERSION:
            return msgspec.structs.replace(unread, hidden="its version is newer than this software")
        if result.kind is Answer.TOO_MUCH:
            return msgspec.structs.replace(unread, hidden="it is larger than the endpoint shows")
        raise result
    if not isinstance(result, dict):
        raise ChainMovedError
    raw = base64.b64decode(result["transaction"][0])
    if result.get("meta") is None:
        return msgspec.structs.replace(unread, hidden="the endpoint did not keep what it did")
    meta, slot = record(result["meta"]), int(result["slot"])
    unread = msgspec.structs.replace(unread, slot=slot, succeeded=meta.get("err") is None)
    try:
        transaction = VersionedTransaction.from_bytes(raw)
        return _with_contents(unread, of_program, transaction, meta, result.get("blockTime"))
    except (ValueError, IndexError) as error:
        # Its words might quote a secret, so only its kind is kept.
        return msgspec.structs.replace(unread, hidden=f"it cannot be decoded ({type(error).__name__})")


def _with_contents(
    unread: Executed,
    of_program: Pubkey,
    transaction: VersionedTransaction,
    meta: Mapping[str, Any],
    time: Any,
) -> Executed:
    """Add what is shown. Of instructions, not of logs: logs are cut off at 10 kB, and anybody can fill them.
    In a transaction that succeeded, every instruction did, inner ones too; one that failed shows all that it
    was to do."""
    message = transaction.message
    loaded = meta.get("loadedAddresses") or {}
    loaded_keys = {kind: [Pubkey.from_string(key) for key in loaded.get(kind, ())] for kind in loaded}
    static = list(message.account_keys)
    keys = [*static, *loaded_keys.get("writable", ()), *loaded_keys.get("readonly", ())]
    inner: dict[int, list[Mapping[str, Any]]] = {}
    for group in meta.get("innerInstructions") or ():
        inner.setdefault(group["index"], []).extend(group["instructions"])
    calls: list[program.Call] = []
    shown: list[tuple[Pubkey, bytes]] = []

    def take(program_index: int, accounts: Sequence[int], data: bytes) -> None:
        shown.append((keys[program_index], data))
        if keys[program_index] == of_program:
            call = program.read_call([keys[at] for at in accounts], data)
            if call is not None:
                calls.append(call)

    called = set()
    for index, outer in enumerate(message.instructions):
        called.add(keys[outer.program_id_index])
        take(outer.program_id_index, list(outer.accounts), bytes(outer.data))
        for instruction in inner.get(index, ()):
            take(instruction["programIdIndex"], instruction["accounts"], from_base58(instruction["data"]))
    header = message.header
    signers = static[: header.num_required_signatures]
    others = static[header.num_required_signatures :]
    written = (
        *signers[: len(signers) - header.num_readonly_signed_accounts],
        *others[: len(others) - header.num_readonly_unsigned_accounts],
        *loaded_keys.get("writable", ()),
    )
    fewer = [
        key
        for key, had, has in zip(keys, meta["preBalances"], meta["postBalances"], strict=True)
        if has < had
    ]
    # null means "not recorded", [] means "none" (Agave, transaction-status: Option<Vec<InnerInstructions>>;
    # a validator records them only with --enable-extended-tx-metadata-storage).
    unrecorded = meta.get("innerInstructions") is None and not called <= {*_CALL_NO_STRANGERS, of_program}
    if unrecorded:
        strings = [*(data for _, data in shown), *itertools.chain(*(_parts(data) for _, data in shown))]
    else:
        strings = [text for at, data in shown for text in _texts(at == of_program, at, data)]
    known = {*_EVENTS, *map(bytes, keys)}
    strings += [text for text in _logged(meta.get("logMessages") or ()) if text not in known]
    if unread.succeeded:
        claimed = {call.preimage for call in calls if isinstance(call, program.ClaimCall)}
        strings = [text for text in strings if text not in claimed]
    return msgspec.structs.replace(
        unread,
        calls=tuple(calls),
        strings=tuple(strings),
        hidden="the endpoint did not record what its instructions called" if unrecorded else "",
        written=written,
        emptied=tuple(key for key in fewer if key in written and key not in signers),
        signers=tuple(signers),
        time=None if time is None else UnixSeconds(int(time)),
    )


def _texts(is_ours: bool, at: Pubkey, data: bytes) -> Iterator[bytes]:
    """Yield what one instruction shows that could be a preimage, where all calls are shown."""
    if is_ours:
        operation = int.from_bytes(data[:_WORD], "little")
        if operation == program.Operation.CLAIM or len(data) != _OUR_LENGTHS.get(operation):
            yield data[_WORD:]
    elif len(data) not in _USUAL_LENGTHS.get(at, ()):
        yield data
        yield data[_WORD:]


def _parts(data: bytes) -> Iterator[bytes]:
    """Yield the parts of an instruction where calls are not shown: the secret that its program passed on may
    stand anywhere in it."""
    yield from (data[-size:] for size in range(1, min(MAX_PREIMAGE_BYTES, len(data)) + 1))
    yield from (data[at : at + _SECRET_BYTES] for at in range(len(data) - _SECRET_BYTES + 1))


def _logged(lines: Sequence[str]) -> Iterator[bytes]:
    for line in lines:
        if line.startswith(_LOGGED):
            for word in line[len(_LOGGED) :].split(" "):
                try:
                    yield base64.b64decode(word, validate=True)
                except binascii.Error:
                    continue
