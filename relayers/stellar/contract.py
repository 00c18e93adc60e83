"""Our HTLC contract as the adapter sees it: its terms as values, a lock's id, its calls and its events. Pure.

contracts/stellar/htlc.c is the source; relayers/stellar/artifacts the code that it was built to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from enum import IntEnum
from functools import cache
from pathlib import Path

import msgspec
from stellar_sdk import Address as StellarAddress
from stellar_sdk import InvokeHostFunction, StrKey, scval, xdr
from stellar_sdk.utils import sha256

from bridge.chains.errors import ActionRefusedError
from bridge.chains.port import Claimed, HtlcEvent, Locked, Refunded, Spent
from bridge.protocol.types import (
    HASHLOCK_BYTES,
    MAX_PREIMAGE_BYTES,
    Address,
    Amount,
    Asset,
    BlockRef,
    LockId,
    LockTerms,
    Preimage,
    TxId,
    UnixSeconds,
)
from kernels.errors import RainbowError
from relayers.stellar.assets import INT64_MAX, is_contract, token_address
from relayers.stellar.settings import DECIMALS, StellarSettings

ARTIFACT = Path(__file__).parent / "artifacts" / "rainbow_htlc.wasm"


class ContractError(IntEnum):
    """What the contract fails with (`enum Error` of htlc.c)."""

    BAD_TYPE = 1
    BAD_AMOUNT = 2
    BAD_HASHLOCK = 3
    BAD_DEADLINE = 4
    BAD_PARTY = 5
    LOCK_EXISTS = 6
    NO_LOCK = 7
    BAD_PREIMAGE = 8
    TOO_EARLY = 9
    BAD_FEE = 10
    BAD_TOKEN = 11


@cache
def code_hash() -> bytes:
    """Return the SHA-256 of the committed contract: the name of its code on every network."""
    return hashlib.sha256(ARTIFACT.read_bytes()).digest()


def check(terms: LockTerms, settings: StellarSettings) -> None:
    """Raise `ActionRefusedError` unless our contract could hold a lock with these terms."""
    check_here(terms, settings)
    problem = _problem(terms, settings.passphrase)
    if problem:
        raise ActionRefusedError(f"the terms do not fit: {problem}", "correct the terms of the lock")


def check_instance(terms: LockTerms, settings: StellarSettings) -> None:
    """Raise `ActionRefusedError` for terms of another instance than this one."""
    if {terms.chain, terms.asset.chain} != {settings.chain}:
        raise ActionRefusedError(
            f"no lock on {settings.chain} can have these terms: they are of {terms.chain} and "
            f"{terms.asset.key}",
            "correct the terms",
        )


def check_here(terms: LockTerms, settings: StellarSettings) -> None:
    """Raise `ActionRefusedError` for terms of another instance or another contract than ours."""
    check_instance(terms, settings)
    if terms.contract != settings.contract:
        raise ActionRefusedError(
            f"the terms do not fit: they name the contract {terms.contract or '(none)'}, ours is "
            f"{settings.contract}",
            "was it deployed again? Use the configuration that the swap was made with",
        )


def _problem(terms: LockTerms, passphrase: str) -> str:
    if not 0 < terms.amount <= INT64_MAX:
        return f"the amount {terms.amount} is not between 1 and 2^63 - 1 units"
    if len(terms.hashlock) != HASHLOCK_BYTES:
        return f"a hashlock has {HASHLOCK_BYTES} bytes"
    if not 0 < terms.deadline < 2**63:
        return "the deadline is not a time"
    if terms.lane:
        return "there are no lanes on Stellar"
    try:
        token = token_address(terms.asset.contract, passphrase)
    except ValueError as error:
        return str(error)
    for name, party in (("sender", terms.sender), ("recipient", terms.recipient)):
        if not StrKey.is_valid_ed25519_public_key(party) and not is_contract(party):
            return f"the {name} is neither an account (G…) nor a contract (C…)"
        if party in {terms.contract, token}:
            return f"the {name} is the contract of the locks or of the asset: nobody could have it out again"
    return ""


def _asset_at(token: str, settings: StellarSettings) -> Asset:
    """Return the asset whose asset contract is `token`; a token that we do not know goes by its address."""
    for asset in (settings.native, *settings.assets):
        if token_address(asset.contract, settings.passphrase) == token:
            return asset
    return Asset(settings.chain, "unknown", DECIMALS, token)


# -- identity and calls ----------------------------------------------------------------------------------


def term_values(terms: LockTerms, passphrase: str) -> list[xdr.SCVal]:
    """Return the terms as the arguments of `lock`."""
    token = token_address(terms.asset.contract, passphrase)
    return [
        scval.to_address(terms.sender),
        scval.to_address(terms.recipient),
        scval.to_address(token),
        scval.to_int128(terms.amount),
        scval.to_bytes(terms.hashlock),
        scval.to_uint64(terms.deadline),
    ]


def lock_id(terms: LockTerms, passphrase: str) -> LockId:
    """Return the id that the contract gives a lock with these terms, 64 hex digits: the SHA-256 of network,
    contract and all terms as one value (XDR)."""
    return _id_of(term_values(terms, passphrase), terms.contract, passphrase)


def _id_of(values: Sequence[xdr.SCVal], contract: str, passphrase: str) -> LockId:
    network = scval.to_bytes(sha256(passphrase.encode()))
    named = scval.to_vec([network, scval.to_address(contract), *values])
    return LockId(sha256(named.to_xdr_bytes()).hex())


def call(
    contract: str,
    function: str,
    arguments: Sequence[xdr.SCVal],
    source: str | None = None,
    authorised: Sequence[xdr.SorobanAuthorizedInvocation] = (),
) -> InvokeHostFunction:
    """Return the operation that calls a contract as `source` (None: as the transaction's source), which
    authorises the invocations `authorised` by signing the transaction."""
    kind = xdr.HostFunctionType.HOST_FUNCTION_TYPE_INVOKE_CONTRACT
    arguments_of = _invocation(contract, function, arguments)
    own = xdr.SorobanCredentials(xdr.SorobanCredentialsType.SOROBAN_CREDENTIALS_SOURCE_ACCOUNT)
    entries = [xdr.SorobanAuthorizationEntry(own, tree) for tree in authorised]
    return InvokeHostFunction(xdr.HostFunction(kind, invoke_contract=arguments_of), entries, source)


def _invocation(contract: str, function: str, arguments: Sequence[xdr.SCVal]) -> xdr.InvokeContractArgs:
    return xdr.InvokeContractArgs(
        StellarAddress(contract).to_xdr_sc_address(),
        xdr.SCSymbol(function.encode()),
        list(arguments),
    )


def _authorised(
    called: xdr.InvokeContractArgs, below: Sequence[xdr.SorobanAuthorizedInvocation] = ()
) -> xdr.SorobanAuthorizedInvocation:
    kind = xdr.SorobanAuthorizedFunctionType.SOROBAN_AUTHORIZED_FUNCTION_TYPE_CONTRACT_FN
    function = xdr.SorobanAuthorizedFunction(kind, contract_fn=called)
    return xdr.SorobanAuthorizedInvocation(function, list(below))


def authorised(operation: InvokeHostFunction) -> xdr.SorobanAuthorizedInvocation:
    """Return the authorisation of a contract call alone, without what it calls in turn."""
    called = operation.host_function.invoke_contract
    if called is None:
        raise ValueError("this calls no contract")
    return _authorised(called)


def lock_authorisation(terms: LockTerms, passphrase: str) -> xdr.SorobanAuthorizedInvocation:
    """Return all that the sender of a lock authorises: the lock, and in it the transfer of its amount to the
    contract. It is made from the terms: what an RPC proposes may be more than that."""
    token = token_address(terms.asset.contract, passphrase)
    paid = [
        scval.to_address(terms.sender),
        scval.to_address(terms.contract),
        scval.to_int128(terms.amount),
    ]
    transfer = _authorised(_invocation(token, "transfer", paid))
    return _authorised(_invocation(terms.contract, "lock", term_values(terms, passphrase)), [transfer])


def id_value(lock: LockId) -> xdr.SCVal:
    """Return a lock's id as the contract takes it."""
    return scval.to_bytes(bytes.fromhex(lock))


def lock_call(terms: LockTerms, passphrase: str, source: str | None = None) -> InvokeHostFunction:
    """Return the operation that makes a lock, authorised by its source, the sender. A contract as sender
    cannot be one: its own wallet adds what it signs."""
    tree = [] if is_contract(terms.sender) else [lock_authorisation(terms, passphrase)]
    return call(terms.contract, "lock", term_values(terms, passphrase), source, tree)


def claim_call(
    terms: LockTerms, preimage: Preimage, passphrase: str, source: str | None = None
) -> InvokeHostFunction:
    """Return the operation that pays the recipient: anybody's."""
    arguments = [id_value(lock_id(terms, passphrase)), scval.to_bytes(preimage.reveal())]
    return call(terms.contract, "claim", arguments, source)


def refund_call(
    terms: LockTerms, passphrase: str, source: str | None = None, *, agreed: bool = False
) -> InvokeHostFunction:
    """Return the operation that pays the sender: anybody's from the deadline on; `agreed`, the recipient's at
    any time."""
    function = "refund_coop" if agreed else "refund"
    arguments = [id_value(lock_id(terms, passphrase))]
    tree = _authorised(_invocation(terms.contract, function, arguments))
    return call(terms.contract, function, arguments, source, [tree] if agreed else [])


# -- what the contract shows -----------------------------------------------------------------------------


def entry_key(contract: str, lock: LockId) -> xdr.LedgerKey:
    """Return where a lock stands on the ledger."""
    return _data_key(contract, id_value(lock))


def instance_key(contract: str) -> xdr.LedgerKey:
    """Return where a contract's instance stands on the ledger."""
    return _data_key(contract, xdr.SCVal(xdr.SCValType.SCV_LEDGER_KEY_CONTRACT_INSTANCE))


def code_key(wasm_hash: bytes) -> xdr.LedgerKey:
    """Return where a contract's code stands on the ledger."""
    key = xdr.LedgerKeyContractCode(xdr.Hash(wasm_hash))
    return xdr.LedgerKey(xdr.LedgerEntryType.CONTRACT_CODE, contract_code=key)


def token_balance_key(token: str, holder: str) -> xdr.LedgerKey:
    """Return where an asset contract keeps what another contract holds (soroban-env-host,
    builtin_contracts/stellar_asset_contract/storage_types.rs: `DataKey::Balance`)."""
    return _data_key(token, scval.to_vec([scval.to_symbol("Balance"), scval.to_address(holder)]))


def _data_key(contract: str, key: xdr.SCVal) -> xdr.LedgerKey:
    data = xdr.LedgerKeyContractData(
        StellarAddress(contract).to_xdr_sc_address(), key, xdr.ContractDataDurability.PERSISTENT
    )
    return xdr.LedgerKey(xdr.LedgerEntryType.CONTRACT_DATA, contract_data=data)


class NotOursError(RainbowError):
    """An event or a value of our contract that is not in its form."""


class Shown(msgspec.Struct, frozen=True):
    """One event of our contract, taken apart: its kind, the lock, and what it says."""

    kind: str
    lock: LockId
    terms: LockTerms | None = None
    preimage: Preimage | None = None

    def event(self, block: BlockRef, tx_id: TxId, hashlock: bytes | None = None) -> HtlcEvent:
        """Return it as the port's event. `hashlock`: the lock's, where it is known. The contract has checked
        the preimage; the endpoint that tells of it may not have."""
        match self.kind:
            case "lock" if self.terms is not None:
                return Locked(block, tx_id, self.lock, self.terms)
            case "claim" if self.preimage is not None:
                if hashlock is not None and not self.preimage.opens(hashlock):
                    return Spent(block, tx_id, self.lock, "its claim shows something that does not open it")
                return Claimed(block, tx_id, self.lock, self.preimage)
            case _:
                return Refunded(block, tx_id, self.lock)


def read_event(topics: Sequence[xdr.SCVal], data: xdr.SCVal, settings: StellarSettings) -> Shown:
    """Take an event of our contract apart. Raises `NotOursError` for anything that it does not emit."""
    try:
        if len(topics) != 4:
            raise NotOursError("it has not four topics")
        kind = scval.from_symbol(topics[0])
        lock = LockId(scval.from_bytes(topics[1]).hex())
        sender, recipient = (scval.from_address(topic).address for topic in topics[2:])
        if kind == "lock":
            values = scval.from_vec(data)
            token, amount, hashlock, deadline = values
            terms = LockTerms(
                chain=settings.chain,
                contract=Address(settings.contract),
                sender=Address(sender),
                recipient=Address(recipient),
                asset=_asset_at(scval.from_address(token).address, settings),
                amount=Amount(scval.from_int128(amount)),
                hashlock=scval.from_bytes(hashlock),
                deadline=UnixSeconds(scval.from_uint64(deadline)),
            )
            if lock != _id_of([topics[2], topics[3], *values], settings.contract, settings.passphrase):
                raise NotOursError("its id is not the hash of its terms")
            return Shown(kind, lock, terms=terms)
        if kind == "claim":
            shown = scval.from_bytes(data)
            if len(shown) > MAX_PREIMAGE_BYTES:
                raise NotOursError("its preimage is too long")
            return Shown(kind, lock, preimage=Preimage(shown))
        if kind == "refund":
            return Shown(kind, lock)
    except (ValueError, TypeError, AttributeError) as error:
        raise NotOursError(f"{type(error).__name__}") from error
    raise NotOursError("its kind is not known")


def same_terms(value: xdr.SCVal, terms: LockTerms, passphrase: str) -> bool:
    """Tell whether what `get` returns are these terms."""
    return value.to_xdr_bytes() == scval.to_vec(term_values(terms, passphrase)).to_xdr_bytes()
