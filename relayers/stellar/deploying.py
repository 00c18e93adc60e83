"""Putting our contract on a network: its code, the contract itself, and the asset contracts that it needs.

Each step is left out where its result stands already. The address follows from the deployer, the salt and the
network alone, so it is known before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from stellar_sdk import (
    Address,
    InvokeHostFunction,
    Keypair,
    Preconditions,
    StrKey,
    TimeBounds,
    Transaction,
    TransactionEnvelope,
    xdr,
)
from stellar_sdk.operation import Operation
from stellar_sdk.utils import sha256

from bridge.chains.endpoints.json_rpc import OneEndpoint
from bridge.chains.errors import PortError
from bridge.protocol.types import Asset
from relayers.stellar import contract, fees
from relayers.stellar.accounts import read_entries, read_holder
from relayers.stellar.assets import to_stellar, token_address
from relayers.stellar.ledgers import read_tip
from relayers.stellar.rpc import ask
from relayers.stellar.settings import FeeCaps
from relayers.stellar.simulation import simulate

SALT = bytes(32)
_BID = 1_000
_VALIDITY = 300
_LOOKS = 60


def contract_address(deployer: str, passphrase: str, salt: bytes = SALT) -> str:
    """Return the address (C…) of the contract that `deployer` makes with this salt."""
    preimage = xdr.HashIDPreimage(
        xdr.EnvelopeType.ENVELOPE_TYPE_CONTRACT_ID,
        contract_id=xdr.HashIDPreimageContractID(
            xdr.Hash(sha256(passphrase.encode())), _preimage(deployer, salt)
        ),
    )
    return StrKey.encode_contract(sha256(preimage.to_xdr_bytes()))


async def deploy(
    one: OneEndpoint,
    key: Keypair,
    passphrase: str,
    assets: Sequence[Asset],
    *,
    salt: bytes = SALT,
    closed: Callable[[], Awaitable[None]] | None = None,
) -> str:
    """Make what is missing, paid by `key`; return the contract's address. `closed` is called after each
    transaction that was sent, where ledgers close on request. Raises `PortError`."""
    own = key.public_key
    address = contract_address(own, passphrase, salt)
    steps: list[tuple[xdr.LedgerKey, InvokeHostFunction]] = [
        (contract.code_key(contract.code_hash()), _upload()),
        (contract.instance_key(address), _create(own, salt)),
    ]
    for asset in assets:
        token = token_address(asset.contract, passphrase)
        steps.append((contract.instance_key(token), _create_token(asset)))
    for where, operation in steps:
        if (await read_entries(one, [where])).found[0] is None:
            await send_call(one, key, passphrase, operation, closed)
    return address


def _preimage(deployer: str, salt: bytes) -> xdr.ContractIDPreimage:
    return xdr.ContractIDPreimage(
        xdr.ContractIDPreimageType.CONTRACT_ID_PREIMAGE_FROM_ADDRESS,
        from_address=xdr.ContractIDPreimageFromAddress(
            Address(deployer).to_xdr_sc_address(), xdr.Uint256(salt)
        ),
    )


def _upload() -> InvokeHostFunction:
    kind = xdr.HostFunctionType.HOST_FUNCTION_TYPE_UPLOAD_CONTRACT_WASM
    return InvokeHostFunction(xdr.HostFunction(kind, wasm=contract.ARTIFACT.read_bytes()))


def _create(deployer: str, salt: bytes) -> InvokeHostFunction:
    executable = xdr.ContractExecutable(
        xdr.ContractExecutableType.CONTRACT_EXECUTABLE_WASM, wasm_hash=xdr.Hash(contract.code_hash())
    )
    made = xdr.CreateContractArgs(_preimage(deployer, salt), executable)
    kind = xdr.HostFunctionType.HOST_FUNCTION_TYPE_CREATE_CONTRACT
    function = xdr.HostFunction(kind, create_contract=made)
    authorised = xdr.SorobanAuthorizedFunction(
        xdr.SorobanAuthorizedFunctionType.SOROBAN_AUTHORIZED_FUNCTION_TYPE_CREATE_CONTRACT_HOST_FN,
        create_contract_host_fn=made,
    )
    entry = xdr.SorobanAuthorizationEntry(
        xdr.SorobanCredentials(xdr.SorobanCredentialsType.SOROBAN_CREDENTIALS_SOURCE_ACCOUNT),
        xdr.SorobanAuthorizedInvocation(authorised, []),
    )
    return InvokeHostFunction(function, [entry])


def _create_token(asset: Asset) -> InvokeHostFunction:
    preimage = xdr.ContractIDPreimage(
        xdr.ContractIDPreimageType.CONTRACT_ID_PREIMAGE_FROM_ASSET,
        from_asset=to_stellar(asset).to_xdr_object(),
    )
    executable = xdr.ContractExecutable(xdr.ContractExecutableType.CONTRACT_EXECUTABLE_STELLAR_ASSET)
    kind = xdr.HostFunctionType.HOST_FUNCTION_TYPE_CREATE_CONTRACT
    made = xdr.CreateContractArgs(preimage, executable)
    return InvokeHostFunction(xdr.HostFunction(kind, create_contract=made))


async def send_call(
    one: OneEndpoint,
    key: Keypair,
    passphrase: str,
    operation: Operation,
    closed: Callable[[], Awaitable[None]] | None,
) -> None:
    """Sign a contract call with `key`, send it, and see it succeed. Raises `PortError`."""
    own = key.public_key
    sequence = (await read_holder(one, own)).sequence
    if sequence is None:
        raise PortError(f"the account {own} does not exist", "send it about 10 XLM first")
    simulated = await simulate(one, own, operation, passphrase)
    data = fees.with_headroom(simulated, FeeCaps(resources=200 * 10**7))
    tip, _ = await read_tip(one)
    transaction = Transaction(
        own,
        sequence + 1,
        _BID + int(data.resource_fee.int64),
        [operation],
        preconditions=Preconditions(TimeBounds(0, tip.time + _VALIDITY)),
        soroban_data=data,
    )
    envelope = TransactionEnvelope(transaction, passphrase)
    envelope.sign(key)
    answer = await ask(one, "sendTransaction", transaction=envelope.to_xdr())
    if answer["status"] not in {"PENDING", "DUPLICATE"}:
        raise PortError(f"the network did not take a transaction: {answer['status']}", "try again")
    for _ in range(_LOOKS):
        if closed is not None:
            await closed()
        found = await ask(one, "getTransaction", hash=envelope.hash_hex())
        if found["status"] == "SUCCESS":
            return
        if found["status"] == "FAILED":
            raise PortError("a transaction of the deployment failed", "look at it in an explorer")
        await asyncio.sleep(1.0 if closed is None else 0.0)
    raise PortError("a transaction of the deployment did not land in time", "try again: it goes on")
