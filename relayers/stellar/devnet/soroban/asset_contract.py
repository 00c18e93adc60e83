"""The Stellar Asset Contract: XLM and issued assets as Soroban tokens (CAP-46-06, CAP-67, CAP-73).

After soroban-env-host 27 (builtin_contracts/stellar_asset_contract). Accounts hold classic balances,
contracts hold entries of this contract. Who may hold and spend follows the issuer's flags in both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from stellar_sdk import Address, MuxedAccount, StrKey, scval, xdr

from relayers.stellar.devnet.entries import AssetId, asset_id
from relayers.stellar.devnet.soroban import asset_balances as balances
from relayers.stellar.devnet.soroban.asset_balances import (
    NEGATIVE_AMOUNT,
    NOT_SUPPORTED,
    AssetCall,
    spend_allowance,
    write_allowance,
)
from relayers.stellar.devnet.soroban.errors import Code, HostError, Type, contract_error
from relayers.stellar.devnet.soroban.values import VOID, unexpected

if TYPE_CHECKING:
    from relayers.stellar.devnet.soroban.host import Frame, Host

DAY = 17_280
INSTANCE_EXTEND = 7 * DAY
INSTANCE_THRESHOLD = 6 * DAY
DECIMALS = 7
ALREADY_INITIALIZED = 3

S = scval.to_symbol


# What the instance stores


def _code_text(asset: AssetId) -> str:
    return asset.code.rstrip(b"\0").decode()


def asset_name(asset: AssetId) -> str:
    """Return an asset as events and metadata name it (SEP-11)."""
    if asset.is_native:
        return "native"
    return f"{_code_text(asset)}:{StrKey.encode_ed25519_public_key(asset.issuer)}"


def _asset_info(asset: AssetId) -> xdr.SCVal:
    if asset.is_native:
        return scval.to_enum("Native", None)
    fields = {S("asset_code"): scval.to_string(asset.code), S("issuer"): scval.to_bytes(asset.issuer)}
    return scval.to_enum(f"AlphaNum{len(asset.code)}", scval.to_map(fields))


def initialise(host: Host, contract: str, asset: xdr.Asset) -> int:
    """Write what a new asset contract knows of its asset."""
    found = asset_id(asset)
    if not found.is_valid():
        raise HostError(Type.SCE_VALUE, Code.SCEC_INVALID_INPUT, "not a valid asset")
    name = asset_name(found)
    symbol = "native" if found.is_native else _code_text(found)
    metadata = {
        S("decimal"): scval.to_uint32(DECIMALS),
        S("name"): scval.to_string(name),
        S("symbol"): scval.to_string(symbol),
    }
    fields = [
        xdr.SCMapEntry(S("METADATA"), scval.to_map(metadata)),
        xdr.SCMapEntry(scval.to_vec([S("AssetInfo")]), _asset_info(found)),
    ]
    if not found.is_native:
        issuer = StrKey.encode_ed25519_public_key(found.issuer)
        fields.append(xdr.SCMapEntry(scval.to_vec([S("Admin")]), scval.to_address(issuer)))
    _write_fields(host, contract, fields)
    return VOID


def _write_fields(host: Host, contract: str, fields: list[xdr.SCMapEntry]) -> None:
    words = [(host.objects.from_xdr(each.key), each) for each in fields]
    ordered: list[tuple[int, xdr.SCMapEntry]] = []
    for word, each in words:
        place = sum(1 for other, _ in ordered if host.objects.compare(other, word) < 0)
        ordered.insert(place, (word, each))
    executable = xdr.ContractExecutable(xdr.ContractExecutableType.CONTRACT_EXECUTABLE_STELLAR_ASSET)
    storage = xdr.SCMap([each for _, each in ordered])
    host.write_instance(contract, xdr.SCContractInstance(executable, storage))


def _field(instance: xdr.SCContractInstance, name: str) -> xdr.SCVal | None:
    wanted = scval.to_vec([S(name)])
    entries = instance.storage.sc_map if instance.storage is not None else []
    return next((each.val for each in entries if each.key == wanted), None)


def _asset_of(instance: xdr.SCContractInstance) -> AssetId:
    info = _field(instance, "AssetInfo")
    assert info is not None  # noqa: S101 - written when it was made
    variant = scval.from_vec(info)
    if len(variant) == 1:  # the variant "Native" has no fields
        return AssetId(b"", b"")
    fields = scval.from_map(variant[1])
    code, issuer = (fields[S(each)] for each in ("asset_code", "issuer"))
    return AssetId(scval.from_string(code), scval.from_bytes(issuer))


# Arguments


def _address(value: xdr.SCVal) -> str:
    if value.address is None or value.address.type is xdr.SCAddressType.SC_ADDRESS_TYPE_MUXED_ACCOUNT:
        raise unexpected("an address is needed")
    return Address.from_xdr_sc_address(value.address).address


def _muxed(value: xdr.SCVal) -> tuple[str, int | None]:
    if value.address is None:
        raise unexpected("an address is needed")
    address = Address.from_xdr_sc_address(value.address).address
    if value.address.type is not xdr.SCAddressType.SC_ADDRESS_TYPE_MUXED_ACCOUNT:
        return address, None
    muxed = MuxedAccount.from_account(address)
    return muxed.account_id, muxed.account_muxed_id


def _i128(value: xdr.SCVal) -> int:
    if value.i128 is None:
        raise unexpected("an i128 is needed")
    return scval.from_int128(value)


def _amount(value: xdr.SCVal) -> int:
    amount = _i128(value)
    if amount < 0:
        raise contract_error(NEGATIVE_AMOUNT, "negative amount is not allowed")
    return amount


def _u32(value: xdr.SCVal) -> int:
    if value.u32 is None:
        raise unexpected("a u32 is needed")
    return value.u32.uint32


def _bool(value: xdr.SCVal) -> bool:
    if value.b is None:
        raise unexpected("a bool is needed")
    return bool(value.b)


# Functions


class _Contract(AssetCall):
    """One call of an asset contract."""

    def __init__(self, host: Host, instance: xdr.SCContractInstance, frame: Frame) -> None:
        super().__init__(host, frame.contract, _asset_of(instance))
        self._instance = instance
        self._arguments = frame.arguments

    def extend(self) -> None:
        self.host.extend_instance(self.contract, INSTANCE_THRESHOLD, INSTANCE_EXTEND)

    def admin(self) -> str:
        found = _field(self._instance, "Admin")
        if found is None:
            raise HostError(Type.SCE_STORAGE, Code.SCEC_MISSING_VALUE, "XLM has no administrator")
        return scval.from_address(found).address

    def authorise(self, address: str) -> None:
        self.host.require_auth(address, self._arguments)

    def emit(self, name: str, addresses: list[str], data: xdr.SCVal) -> None:
        topics = [S(name), *[scval.to_address(each) for each in addresses]]
        self.host.emit([*topics, scval.to_string(asset_name(self.asset))], data)

    def check_issued(self) -> None:
        if self.asset.is_native:
            raise contract_error(NOT_SUPPORTED, "operation invalid on native asset")

    def check_not_issuer(self, address: str) -> None:
        if self.is_issuer(address):
            raise contract_error(NOT_SUPPORTED, "operation invalid on issuer")

    def emit_transfer(self, source: str, target: str, memo: int | None, amount: int) -> None:
        value = scval.to_int128(amount)
        if memo is not None:
            value = scval.to_map({S("amount"): value, S("to_muxed_id"): scval.to_uint64(memo)})
        if source != target and self.is_issuer(source):
            self.emit("mint", [target], value)
        elif source != target and self.is_issuer(target):
            self.emit("burn", [source], scval.to_int128(amount))
        else:
            self.emit("transfer", [source, target], value)


def _balance(call: _Contract, holder: xdr.SCVal) -> xdr.SCVal:
    address = _address(holder)
    call.extend()
    return scval.to_int128(balances.read_balance(call, address))


def _authorized(call: _Contract, holder: xdr.SCVal) -> xdr.SCVal:
    address = _address(holder)
    call.extend()
    return scval.to_bool(balances.is_authorized(call, address))


def _transfer(call: _Contract, source: xdr.SCVal, target: xdr.SCVal, value: xdr.SCVal) -> None:
    spender, (receiver, memo) = _address(source), _muxed(target)
    amount = _amount(value)
    call.authorise(spender)
    call.extend()
    balances.spend(call, spender, amount)
    balances.receive(call, receiver, amount)
    call.emit_transfer(spender, receiver, memo, amount)


def _transfer_from(
    call: _Contract, spender: xdr.SCVal, source: xdr.SCVal, target: xdr.SCVal, value: xdr.SCVal
) -> None:
    by, giver, receiver = _address(spender), _address(source), _address(target)
    amount = _amount(value)
    call.authorise(by)
    call.extend()
    spend_allowance(call, giver, by, amount)
    balances.spend(call, giver, amount)
    balances.receive(call, receiver, amount)
    call.emit_transfer(giver, receiver, None, amount)


def _approve(
    call: _Contract, source: xdr.SCVal, spender: xdr.SCVal, value: xdr.SCVal, live_until: xdr.SCVal
) -> None:
    giver, by, until = _address(source), _address(spender), _u32(live_until)
    amount = _amount(value)
    call.authorise(giver)
    call.extend()
    write_allowance(call, giver, by, amount, until)
    call.emit("approve", [giver, by], scval.to_vec([scval.to_int128(amount), live_until]))


def _allowance(call: _Contract, source: xdr.SCVal, spender: xdr.SCVal) -> xdr.SCVal:
    giver, by = _address(source), _address(spender)
    call.extend()
    return scval.to_int128(balances.read_allowance(call, giver, by))


def _burn(call: _Contract, source: xdr.SCVal, value: xdr.SCVal) -> None:
    giver, amount = _address(source), _amount(value)
    call.check_issued()
    call.check_not_issuer(giver)
    call.authorise(giver)
    call.extend()
    balances.spend(call, giver, amount)
    call.emit("burn", [giver], scval.to_int128(amount))


def _clawback(call: _Contract, source: xdr.SCVal, value: xdr.SCVal) -> None:
    holder, amount = _address(source), _amount(value)
    balances.check_clawbackable(call, holder)
    call.check_not_issuer(holder)
    call.authorise(call.admin())
    call.extend()
    balances.spend_unchecked(call, holder, amount)
    call.emit("clawback", [holder], scval.to_int128(amount))


def _set_authorized(call: _Contract, holder: xdr.SCVal, authorize: xdr.SCVal) -> None:
    address, wanted = _address(holder), _bool(authorize)
    call.authorise(call.admin())
    call.extend()
    balances.write_authorization(call, address, wanted)
    call.emit("set_authorized", [address], authorize)


def _mint(call: _Contract, target: xdr.SCVal, value: xdr.SCVal) -> None:
    receiver, amount = _address(target), _amount(value)
    call.check_not_issuer(receiver)
    call.authorise(call.admin())
    call.extend()
    balances.receive(call, receiver, amount)
    call.emit("mint", [receiver], scval.to_int128(amount))


def _trust(call: _Contract, holder: xdr.SCVal) -> None:
    address = _address(holder)
    call.extend()
    balances.trust(call, address)


def _name(call: _Contract) -> xdr.SCVal:
    return scval.to_string(asset_name(call.asset))


def _symbol(call: _Contract) -> xdr.SCVal:
    return scval.to_string("native" if call.asset.is_native else _code_text(call.asset))


_FUNCTIONS: dict[str, tuple[int, Callable[..., xdr.SCVal | None]]] = {
    "balance": (1, _balance),
    "authorized": (1, _authorized),
    "transfer": (3, _transfer),
    "transfer_from": (4, _transfer_from),
    "approve": (4, _approve),
    "allowance": (2, _allowance),
    "burn": (2, _burn),
    "clawback": (2, _clawback),
    "set_authorized": (2, _set_authorized),
    "mint": (2, _mint),
    "trust": (1, _trust),
    "name": (0, _name),
    "symbol": (0, _symbol),
    "decimals": (0, lambda _: scval.to_uint32(DECIMALS)),
    "admin": (0, lambda call: scval.to_address(call.admin())),
}


def invoke(host: Host, instance: xdr.SCContractInstance, frame: Frame) -> xdr.SCVal:
    """Run a function of an asset contract. Raises `HostError`."""
    found = _FUNCTIONS.get(frame.function)
    if found is None:
        raise HostError(Type.SCE_VALUE, Code.SCEC_INVALID_INPUT, f"no function {frame.function}")
    count, function = found
    if len(frame.arguments) != count:
        raise HostError(Type.SCE_CONTEXT, Code.SCEC_UNEXPECTED_SIZE, "wrong number of arguments")
    result = function(_Contract(host, instance, frame), *frame.arguments)
    return scval.to_void() if result is None else result
