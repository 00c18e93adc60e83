"""Calls between contracts: frames, events, built-in and wasm contracts, creation of contracts.

After soroban-env-host 27 (host/frame.rs, host/lifecycle.rs). A call either takes effect as a whole or leaves
nothing behind.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from stellar_sdk import Address, StrKey, scval, xdr

from relayers.stellar.devnet.ledger import LedgerTxn
from relayers.stellar.devnet.soroban import asset_contract, values
from relayers.stellar.devnet.soroban.auth import Authorizations, FunctionType, Node
from relayers.stellar.devnet.soroban.budget import Budget
from relayers.stellar.devnet.soroban.errors import Code, HostError, Type
from relayers.stellar.devnet.soroban.ledger_xdr import (
    INSTANCE_KEY,
    Durability,
    code_key,
    contract_address,
    instance_key,
)
from relayers.stellar.devnet.soroban.settings import Settings
from relayers.stellar.devnet.soroban.storage import Footprint, Storage
from relayers.stellar.devnet.soroban.values import Objects
from relayers.stellar.devnet.soroban.vm import Instance, module_of
from relayers.stellar.devnet.soroban.wasm_rules import check_wasm

CHECK_AUTH = "__check_auth"
CONSTRUCTOR = "__constructor"
MAX_DEPTH = 100
Executable = xdr.ContractExecutableType


@dataclass
class Frame:
    """One call."""

    contract: str
    function: str
    arguments: list[xdr.SCVal]


class Host:
    """The host of one transaction. `entries` None records the authorizations, a list enforces them."""

    def __init__(
        self,
        txn: LedgerTxn,
        network_id: bytes,
        source: str,
        settings: Settings,
        footprint: Footprint,
        entries: list[xdr.SorobanAuthorizationEntry] | None,
        *,
        instructions: int,
        new_nonce: Callable[[], int] = lambda: 0,
    ) -> None:
        self.network_id = network_id
        self.source = source
        self.settings = settings
        self.storage = Storage(txn, settings, footprint)
        self.objects = Objects()
        self.budget = Budget(instructions)
        self.events: list[xdr.ContractEvent] = []
        self._frames: list[Frame | None] = []
        self.auth = Authorizations(self, entries, new_nonce)
        self.budget.charge("transaction")

    # Frames

    @property
    def depth(self) -> int:
        """How many calls are running."""
        return len(self._frames)

    @property
    def current(self) -> Frame:
        """The call that is running."""
        frame = self._frames[-1]
        assert frame is not None  # noqa: S101 - only contracts ask
        return frame

    @property
    def invoker(self) -> str | None:
        """The contract that made the running call, if one did."""
        frame = self._frames[-2] if len(self._frames) > 1 else None
        return frame.contract if frame is not None else None

    def _within(self, frame: Frame | None, work: Callable[[], int]) -> int:
        """Run one call: all of it takes effect, or nothing."""
        if len(self._frames) >= MAX_DEPTH:
            raise HostError(Type.SCE_CONTEXT, Code.SCEC_EXCEEDED_LIMIT, "calls too deep")
        parent, events = self.storage.txn, len(self.events)
        self.storage.txn = parent.child()
        self._frames.append(frame)
        self.auth.push_frame()
        try:
            result = work()
            self.storage.txn.commit()
        except HostError:
            del self.events[events:]
            raise
        finally:
            self.storage.txn = parent
            self._frames.pop()
            self.auth.pop_frame()
        return result

    def call(self, contract: str, function: str, arguments: list[int], *, internal: bool = False) -> int:
        """Call a contract's function. Raises `HostError`."""
        if not contract.startswith("C"):
            raise HostError(Type.SCE_OBJECT, Code.SCEC_INVALID_INPUT, "not the address of a contract")
        if not internal:
            if function.startswith("__"):
                raise HostError(Type.SCE_CONTEXT, Code.SCEC_INVALID_ACTION, "a reserved function")
            if any(each is not None and each.contract == contract for each in self._frames):
                raise HostError(Type.SCE_CONTEXT, Code.SCEC_INVALID_ACTION, "a contract is entered again")
        frame = Frame(contract, function, [self.objects.to_xdr(each) for each in arguments])
        return self._within(frame, lambda: self._execute(frame, arguments))

    def _execute(self, frame: Frame, arguments: list[int]) -> int:
        instance = self._instance(frame.contract)
        if instance.executable.type is Executable.CONTRACT_EXECUTABLE_STELLAR_ASSET:
            self.budget.charge("call_asset")
            return self.objects.from_xdr(asset_contract.invoke(self, instance, frame))
        assert instance.executable.wasm_hash is not None  # noqa: S101 - there are two kinds
        code = self._code(instance.executable.wasm_hash.hash)
        self.budget.charge("call_wasm")
        return Instance(self, code, self.settings.tx_memory_bytes).call(frame.function, arguments)

    def _instance(self, contract: str) -> xdr.SCContractInstance:
        entry = self.storage.require(instance_key(contract))
        assert entry.data.contract_data is not None  # noqa: S101 - of its key
        found = entry.data.contract_data.val.instance
        if found is None:
            raise HostError(Type.SCE_STORAGE, Code.SCEC_INTERNAL_ERROR, "not a contract's instance")
        return found

    def _code(self, wasm_hash: bytes) -> bytes:
        entry = self.storage.require(code_key(wasm_hash))
        assert entry.data.contract_code is not None  # noqa: S101 - of its key
        return bytes(entry.data.contract_code.code)

    # What contracts do

    def emit(self, topics: list[xdr.SCVal], data: xdr.SCVal) -> None:
        """Add an event of the running contract."""
        raw = StrKey.decode_contract(self.current.contract)
        body = xdr.ContractEventBody(0, xdr.ContractEventV0(topics, data))
        self.events.append(
            xdr.ContractEvent(
                xdr.ExtensionPoint(0), xdr.ContractID(xdr.Hash(raw)), xdr.ContractEventType.CONTRACT, body
            )
        )

    def put_data(self, key: xdr.LedgerKey, value: xdr.SCVal) -> None:
        """Write contract data under its key."""
        place = key.contract_data
        assert place is not None  # noqa: S101 - the caller's kind of key
        if len(key.to_xdr_bytes()) > self.settings.max_key_bytes:
            raise HostError(Type.SCE_BUDGET, Code.SCEC_EXCEEDED_LIMIT, "a key too long")
        entry = xdr.ContractDataEntry(
            xdr.ExtensionPoint(0), place.contract, place.key, place.durability, value
        )
        self.storage.put(xdr.LedgerEntryData(xdr.LedgerEntryType.CONTRACT_DATA, contract_data=entry))

    def extend_instance(self, contract: str, threshold: int, extend_to: int) -> None:
        """Let a contract's instance and its code live longer."""
        self.storage.extend(instance_key(contract), threshold, extend_to)
        wasm_hash = self._instance(contract).executable.wasm_hash
        if wasm_hash is not None:
            self.storage.extend(code_key(wasm_hash.hash), threshold, extend_to)

    def require_auth(self, address: str, arguments: list[xdr.SCVal]) -> None:
        """Need an address's authorisation of the running call."""
        call = xdr.InvokeContractArgs(
            contract_address(self.current.contract), xdr.SCSymbol(self.current.function.encode()), arguments
        )
        kind = FunctionType.SOROBAN_AUTHORIZED_FUNCTION_TYPE_CONTRACT_FN
        self.auth.require(address, xdr.SorobanAuthorizedFunction(kind, contract_fn=call))

    def touch_contract(self, contract: str) -> None:
        """Read a contract's instance and code, as calling it will."""
        entry = self.storage.get(instance_key(contract))
        value = entry.data.contract_data if entry is not None else None
        wasm_hash = value.val.instance.executable.wasm_hash if value and value.val.instance else None
        if wasm_hash is not None:
            self.storage.get(code_key(wasm_hash.hash))

    def check_contract_account(self, contract: str, payload: bytes, signature: xdr.SCVal, root: Node) -> None:
        """Let a smart account check a signature over what it authorises."""
        contexts = scval.to_vec(list(_contexts(root)))
        given = [scval.to_bytes(payload), signature, contexts]
        words = [self.objects.from_xdr(each) for each in given]
        if self.call(contract, CHECK_AUTH, words, internal=True) != values.VOID:
            raise HostError(Type.SCE_VALUE, Code.SCEC_UNEXPECTED_TYPE, "__check_auth returned a value")

    # The three host functions of a transaction

    def run(self, function: xdr.HostFunction) -> xdr.SCVal:
        """Run a transaction's host function and return its value. Raises `HostError`."""
        if function.invoke_contract is not None:
            call = function.invoke_contract
            arguments = [self.objects.from_xdr(each) for each in call.args]
            target = Address.from_xdr_sc_address(call.contract_address).address
            result = self.call(target, bytes(call.function_name.sc_symbol).decode(), arguments)
            return self.objects.to_xdr(result)
        if function.wasm is not None:
            return self._upload(function.wasm)
        new = function.create_contract_v2
        if function.create_contract is not None:
            old = function.create_contract
            new = xdr.CreateContractArgsV2(old.contract_id_preimage, old.executable, [])
        assert new is not None  # noqa: S101 - there are three kinds
        return self._create(new)

    def _upload(self, code: bytes) -> xdr.SCVal:
        costs = check_wasm(code, self.settings)
        self.budget.charge("uploaded_byte", len(code))
        digest = hashlib.sha256(code).digest()
        if self.storage.get(code_key(digest)) is None:
            extension = xdr.ContractCodeEntryExt(1, v1=xdr.ContractCodeEntryV1(xdr.ExtensionPoint(0), costs))
            entry = xdr.ContractCodeEntry(extension, xdr.Hash(digest), code)
            self.storage.put(xdr.LedgerEntryData(xdr.LedgerEntryType.CONTRACT_CODE, contract_code=entry))
        return scval.to_bytes(digest)

    def _create(self, new: xdr.CreateContractArgsV2) -> xdr.SCVal:
        preimage = new.contract_id_preimage
        contract = contract_of(self.network_id, preimage)
        asset = preimage.from_asset
        if (asset is not None) != (new.executable.type is Executable.CONTRACT_EXECUTABLE_STELLAR_ASSET) or (
            asset is not None and new.constructor_args
        ):
            raise HostError(Type.SCE_VALUE, Code.SCEC_INVALID_INPUT, "executable and preimage do not match")
        if preimage.from_address is not None:
            self._authorise_creation(preimage.from_address.address, new)
        if self.storage.get(instance_key(contract)) is not None:
            raise HostError(Type.SCE_STORAGE, Code.SCEC_EXISTING_VALUE, "contract already exists")
        if new.executable.wasm_hash is not None:
            self._code(new.executable.wasm_hash.hash)
        self.write_instance(contract, xdr.SCContractInstance(new.executable, None))
        if asset is not None:
            frame = Frame(contract, "init_asset", [])
            self._within(frame, lambda: asset_contract.initialise(self, contract, asset))
        else:
            self._construct(contract, new)
        return scval.to_address(contract)

    def _construct(self, contract: str, new: xdr.CreateContractArgsV2) -> None:
        assert new.executable.wasm_hash is not None  # noqa: S101 - not an asset's
        code = self._code(new.executable.wasm_hash.hash)
        if any(each.name == CONSTRUCTOR for each in module_of(code).exports):
            arguments = [self.objects.from_xdr(each) for each in new.constructor_args]
            self.call(contract, CONSTRUCTOR, arguments, internal=True)
        elif new.constructor_args:
            raise HostError(Type.SCE_CONTEXT, Code.SCEC_MISSING_VALUE, "arguments, but no constructor")

    def _authorise_creation(self, deployer: xdr.SCAddress, new: xdr.CreateContractArgsV2) -> None:
        kind = FunctionType.SOROBAN_AUTHORIZED_FUNCTION_TYPE_CREATE_CONTRACT_V2_HOST_FN
        function = xdr.SorobanAuthorizedFunction(kind, create_contract_v2_host_fn=new)

        def authorise() -> int:
            self.auth.require(Address.from_xdr_sc_address(deployer).address, function)
            return values.VOID

        self._within(None, authorise)

    def write_instance(self, contract: str, instance: xdr.SCContractInstance) -> None:
        """Write a contract's instance."""
        value = xdr.SCVal(xdr.SCValType.SCV_CONTRACT_INSTANCE, instance=instance)
        entry = xdr.ContractDataEntry(
            xdr.ExtensionPoint(0), contract_address(contract), INSTANCE_KEY, Durability.PERSISTENT, value
        )
        self.storage.put(xdr.LedgerEntryData(xdr.LedgerEntryType.CONTRACT_DATA, contract_data=entry))


def contract_of(network_id: bytes, preimage: xdr.ContractIDPreimage) -> str:
    """Return the address of the contract that a preimage makes."""
    named = xdr.HashIDPreimageContractID(xdr.Hash(network_id), preimage)
    image = xdr.HashIDPreimage(xdr.EnvelopeType.ENVELOPE_TYPE_CONTRACT_ID, contract_id=named)
    return StrKey.encode_contract(hashlib.sha256(image.to_xdr_bytes()).digest())


def _contexts(node: Node) -> list[xdr.SCVal]:
    """Return what a smart account is told: each authorised call, outer ones first."""
    call = node.function.contract_fn
    if call is None:
        raise HostError(Type.SCE_AUTH, Code.SCEC_INVALID_INPUT, "creating contracts for a smart account")
    fields = {
        scval.to_symbol("args"): scval.to_vec(call.args),
        scval.to_symbol("contract"): xdr.SCVal(xdr.SCValType.SCV_ADDRESS, address=call.contract_address),
        scval.to_symbol("fn_name"): xdr.SCVal(xdr.SCValType.SCV_SYMBOL, sym=call.function_name),
    }
    own = scval.to_enum("Contract", scval.to_map(fields))
    return [own, *[each for child in node.children for each in _contexts(child)]]
