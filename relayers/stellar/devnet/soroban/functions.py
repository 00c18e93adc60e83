"""The host functions that contracts import here (soroban-env-common, env.json).

Arguments and results are absolute words ("v") or plain 64-bit numbers ("r"). The table holds what the HTLC
and the contracts of the tests use; uploading a contract that needs more fails.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey
from stellar_sdk import xdr

from relayers.stellar.devnet.soroban import values
from relayers.stellar.devnet.soroban.errors import Code, HostError, Type
from relayers.stellar.devnet.soroban.ledger_xdr import INSTANCE_KEY, Durability, data_key
from relayers.stellar.devnet.soroban.values import FALSE, TRUE, VOID, u32_word

if TYPE_CHECKING:
    from relayers.stellar.devnet.soroban.host import Host
    from relayers.stellar.devnet.soroban.vm import Instance


@dataclass(frozen=True)
class HostFunction:
    """One host function: how its arguments and its result are read, and what it does."""

    arguments: str
    result: str
    run: Callable[..., int]


FUNCTIONS: dict[tuple[str, str], HostFunction] = {}


def _host(module: str, name: str, arguments: str, result: str = "v") -> Callable[[Any], Any]:
    def add(function: Callable[..., int]) -> Callable[..., int]:
        FUNCTIONS[module, name] = HostFunction(arguments, result, function)
        return function

    return add


def _u32(word: int) -> int:
    if word & 255 != values.U32:
        raise values.unexpected("a u32 is needed")
    return word >> 32


def _signed64(word: int) -> int:
    return word - 2**64 if word >> 63 else word


# Context


@_host("x", "0", "vv", "r")
def obj_cmp(host: Host, _: Instance, first: int, second: int) -> int:
    """Compare two values."""
    return host.objects.compare(first, second)


@_host("x", "1", "vv")
def contract_event(host: Host, _: Instance, topics: int, data: int) -> int:
    """Emit an event."""
    found = [host.objects.to_xdr(each) for each in host.objects.content(topics, values.VEC)]
    host.emit(found, host.objects.to_xdr(data))
    return VOID


@_host("x", "2", "")
def get_ledger_version(host: Host, _: Instance) -> int:
    """The protocol's version."""
    return u32_word(host.settings.protocol)


@_host("x", "3", "")
def get_ledger_sequence(host: Host, _: Instance) -> int:
    """The ledger's sequence."""
    return u32_word(host.storage.sequence)


@_host("x", "4", "")
def get_ledger_timestamp(host: Host, _: Instance) -> int:
    """The ledger's close time, Unix seconds."""
    return host.objects.from_number(xdr.SCValType.SCV_U64, host.storage.txn.header.close_time)


@_host("x", "5", "v")
def fail_with_error(_: Host, __: Instance, error: int) -> int:
    """End the contract with an error of its own."""
    if error & 255 != values.ERROR:
        raise values.unexpected("an error is needed")
    if error >> 8 & 0xFFFFFF != Type.SCE_CONTRACT:
        raise HostError(Type.SCE_CONTEXT, Code.SCEC_UNEXPECTED_TYPE, "contracts raise contract errors only")
    raise HostError(Type.SCE_CONTRACT, error >> 32)


@_host("x", "6", "")
def get_ledger_network_id(host: Host, _: Instance) -> int:
    """The network's id."""
    return host.objects.add(values.BYTES, host.network_id)


@_host("x", "7", "")
def get_current_contract_address(host: Host, _: Instance) -> int:
    """The running contract's address."""
    return host.objects.add(values.ADDRESS, host.current.contract)


@_host("x", "8", "")
def get_max_live_until_ledger(host: Host, _: Instance) -> int:
    """The last ledger that an entry can be extended to."""
    return u32_word(host.storage.max_live_until)


# Numbers


@_host("i", "_", "r")
def obj_from_u64(host: Host, _: Instance, number: int) -> int:
    """Make a u64 object."""
    return host.objects.add(values.U64, number)


@_host("i", "0", "v", "r")
def obj_to_u64(host: Host, _: Instance, word: int) -> int:
    """Read a u64 object."""
    return int(host.objects.content(word, values.U64))


@_host("i", "6", "rr")
def obj_from_i128_pieces(host: Host, _: Instance, high: int, low: int) -> int:
    """Make an i128 object."""
    return host.objects.add(values.I128, _signed64(high) << 64 | low)


@_host("i", "7", "v", "r")
def obj_to_i128_lo64(host: Host, _: Instance, word: int) -> int:
    """The low half of an i128 object."""
    return int(host.objects.content(word, values.I128)) & values.WORD


@_host("i", "8", "v", "r")
def obj_to_i128_hi64(host: Host, _: Instance, word: int) -> int:
    """The high half of an i128 object."""
    return int(host.objects.content(word, values.I128)) >> 64


# Vecs and bytes


@_host("v", "1", "vv")
def vec_get(host: Host, _: Instance, vec: int, index: int) -> int:
    """One element of a vec."""
    content, place = host.objects.content(vec, values.VEC), _u32(index)
    if place >= len(content):
        raise HostError(Type.SCE_OBJECT, Code.SCEC_INDEX_BOUNDS, "outside of the vec")
    return int(content[place])


@_host("v", "3", "v")
def vec_len(host: Host, _: Instance, vec: int) -> int:
    """The length of a vec."""
    return u32_word(len(host.objects.content(vec, values.VEC)))


def _words(instance: Instance, position: int, count: int) -> list[int]:
    raw = instance.read(position, 8 * count)
    return [
        instance.handles.to_absolute(int.from_bytes(raw[at : at + 8], "little"))
        for at in range(0, len(raw), 8)
    ]


@_host("v", "g", "vv")
def vec_new_from_linear_memory(host: Host, instance: Instance, position: int, length: int) -> int:
    """Make a vec of the words in memory."""
    return host.objects.add(values.VEC, _words(instance, _u32(position), _u32(length)))


@_host("v", "h", "vvv")
def vec_unpack_to_linear_memory(host: Host, instance: Instance, vec: int, position: int, length: int) -> int:
    """Write a vec's words into memory."""
    content = host.objects.content(vec, values.VEC)
    if len(content) != _u32(length):
        raise HostError(Type.SCE_OBJECT, Code.SCEC_UNEXPECTED_SIZE, "a vec of another length")
    shown = [instance.handles.to_relative(each) for each in content]
    instance.write(_u32(position), b"".join(each.to_bytes(8, "little") for each in shown))
    return VOID


@_host("b", "_", "v")
def serialize_to_bytes(host: Host, _: Instance, value: int) -> int:
    """A value's XDR."""
    return host.objects.add(values.BYTES, host.objects.to_xdr(value).to_xdr_bytes())


@_host("b", "3", "vv")
def bytes_new_from_linear_memory(host: Host, instance: Instance, position: int, length: int) -> int:
    """Make bytes of what is in memory."""
    return host.objects.add(values.BYTES, instance.read(_u32(position), _u32(length)))


@_host("b", "8", "v")
def bytes_len(host: Host, _: Instance, word: int) -> int:
    """The length of bytes."""
    return u32_word(len(host.objects.content(word, values.BYTES)))


@_host("b", "j", "vv")
def symbol_new_from_linear_memory(host: Host, instance: Instance, position: int, length: int) -> int:
    """Make a symbol of the letters in memory."""
    return host.objects.add(values.SYMBOL, instance.read(_u32(position), _u32(length)))


@_host("c", "_", "v")
def compute_hash_sha256(host: Host, _: Instance, word: int) -> int:
    """SHA-256 of bytes."""
    return host.objects.add(values.BYTES, hashlib.sha256(host.objects.content(word, values.BYTES)).digest())


@_host("c", "0", "vvv")
def verify_sig_ed25519(host: Host, _: Instance, key: int, message: int, signature: int) -> int:
    """Check an ed25519 signature."""
    host.budget.charge("verify_ed25519")
    try:
        found = [host.objects.content(each, values.BYTES) for each in (key, message, signature)]
        VerifyKey(found[0]).verify(found[1], found[2])
    except (BadSignatureError, ValueError) as error:
        raise HostError(Type.SCE_CRYPTO, Code.SCEC_INVALID_INPUT, "a wrong signature") from error
    return VOID


# Storage

_DURABILITY = {0: Durability.TEMPORARY, 1: Durability.PERSISTENT}
INSTANCE = 2


def _data_key(host: Host, key: int, storage: int) -> xdr.LedgerKey:
    if storage not in _DURABILITY:
        raise HostError(Type.SCE_STORAGE, Code.SCEC_INVALID_ACTION, "instance storage is not emulated")
    value = host.objects.to_xdr(key)
    if value.type in (INSTANCE_KEY.type, xdr.SCValType.SCV_LEDGER_KEY_NONCE):
        raise HostError(Type.SCE_STORAGE, Code.SCEC_INVALID_INPUT, "a reserved key")
    host.budget.charge("storage")
    return data_key(host.current.contract, value, _DURABILITY[storage])


@_host("l", "_", "vvr")
def put_contract_data(host: Host, _: Instance, key: int, value: int, storage: int) -> int:
    """Write an entry."""
    host.put_data(_data_key(host, key, storage), host.objects.to_xdr(value))
    return VOID


@_host("l", "0", "vr")
def has_contract_data(host: Host, _: Instance, key: int, storage: int) -> int:
    """Tell whether there is an entry."""
    return TRUE if host.storage.get(_data_key(host, key, storage)) is not None else FALSE


@_host("l", "1", "vr")
def get_contract_data(host: Host, _: Instance, key: int, storage: int) -> int:
    """Read an entry."""
    entry = host.storage.require(_data_key(host, key, storage))
    assert entry.data.contract_data is not None  # noqa: S101 - of its key
    return host.objects.from_xdr(entry.data.contract_data.val)


@_host("l", "2", "vr")
def del_contract_data(host: Host, _: Instance, key: int, storage: int) -> int:
    """Remove an entry."""
    host.storage.delete(_data_key(host, key, storage))
    return VOID


@_host("l", "7", "vrvv")
def extend_contract_data_ttl(
    host: Host, _: Instance, key: int, storage: int, threshold: int, extend_to: int
) -> int:
    """Let an entry live longer."""
    host.storage.extend(_data_key(host, key, storage), _u32(threshold), _u32(extend_to))
    return VOID


@_host("l", "8", "vv")
def extend_current_contract_instance_and_code_ttl(
    host: Host, _: Instance, threshold: int, extend_to: int
) -> int:
    """Let the running contract and its code live longer."""
    host.extend_instance(host.current.contract, _u32(threshold), _u32(extend_to))
    return VOID


# Calls and authorisation


@_host("d", "_", "vvv")
def call(host: Host, _: Instance, contract: int, function: int, arguments: int) -> int:
    """Call another contract."""
    name = host.objects.symbol(function).decode()
    target = host.objects.content(contract, values.ADDRESS)
    return host.call(target, name, list(host.objects.content(arguments, values.VEC)))


@_host("d", "0", "vvv")
def try_call(host: Host, _: Instance, contract: int, function: int, arguments: int) -> int:
    """Call another contract and go on if it fails. Nothing remains of the failed call, and its error is the
    value; a limit that was reached ends the caller too (soroban-env-host, host.rs)."""
    name = host.objects.symbol(function).decode()
    target = host.objects.content(contract, values.ADDRESS)
    before = host.auth.snapshot()
    try:
        return host.call(target, name, list(host.objects.content(arguments, values.VEC)))
    except HostError as error:
        if not error.is_recoverable:
            raise
        host.auth.restore(before)
        told = (
            error
            if error.kind is Type.SCE_CONTRACT
            else HostError(Type.SCE_CONTEXT, Code.SCEC_INVALID_ACTION)
        )
        return host.objects.from_xdr(xdr.SCVal(xdr.SCValType.SCV_ERROR, error=told.to_xdr()))


@_host("a", "_", "vv")
def require_auth_for_args(host: Host, _: Instance, address: int, arguments: int) -> int:
    """Need an address's authorisation for this call with other arguments."""
    given = [host.objects.to_xdr(each) for each in host.objects.content(arguments, values.VEC)]
    host.require_auth(host.objects.content(address, values.ADDRESS), given)
    return VOID


@_host("a", "0", "v")
def require_auth(host: Host, _: Instance, address: int) -> int:
    """Need an address's authorisation for this call."""
    host.require_auth(host.objects.content(address, values.ADDRESS), host.current.arguments)
    return VOID
