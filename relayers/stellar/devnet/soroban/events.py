"""Events of classic operations and of fees, as contract events of the assets (CAP-67)."""

from __future__ import annotations

from stellar_sdk import StrKey, scval, xdr

from relayers.stellar.devnet.entries import NATIVE, AssetId, account_key, asset_id, muxed_key
from relayers.stellar.devnet.results import OpResult
from relayers.stellar.devnet.soroban.asset_contract import asset_name
from relayers.stellar.devnet.soroban.host import contract_of

Stage = xdr.TransactionEventStage


def asset_contract_of(network_id: bytes, asset: AssetId) -> str:
    """Return the address of an asset's contract, whether it was deployed or not."""
    kind = xdr.ContractIDPreimageType.CONTRACT_ID_PREIMAGE_FROM_ASSET
    return contract_of(network_id, xdr.ContractIDPreimage(kind, from_asset=asset.to_xdr()))


def _event(network_id: bytes, asset: AssetId, topics: list[xdr.SCVal], data: xdr.SCVal) -> xdr.ContractEvent:
    raw = StrKey.decode_contract(asset_contract_of(network_id, asset))
    body = xdr.ContractEventBody(0, xdr.ContractEventV0(topics, data))
    return xdr.ContractEvent(
        xdr.ExtensionPoint(0), xdr.ContractID(xdr.Hash(raw)), xdr.ContractEventType.CONTRACT, body
    )


def fee_event(network_id: bytes, payer: bytes, stroops: int, stage: Stage) -> xdr.TransactionEvent:
    """Return the event of a fee; a negative one is a refund."""
    topics = [scval.to_symbol("fee"), scval.to_address(StrKey.encode_ed25519_public_key(payer))]
    return xdr.TransactionEvent(stage, _event(network_id, NATIVE, topics, scval.to_int128(stroops)))


def operation_events(
    network_id: bytes, operation: xdr.Operation, source: bytes, result: OpResult
) -> list[xdr.ContractEvent]:
    """Return the events of a successful classic operation that moved value; other kinds emit none here."""
    body = operation.body
    if body.create_account_op is not None:
        created = body.create_account_op
        amount = created.starting_balance.int64
        return [_move(network_id, NATIVE, source, account_key(created.destination), amount)]
    if body.payment_op is not None:
        paid = body.payment_op
        target = muxed_key(paid.destination)
        return [_move(network_id, asset_id(paid.asset), source, target, paid.amount.int64)]
    if body.type is xdr.OperationType.ACCOUNT_MERGE and body.destination is not None:
        left = result.details.get("source_account_balance")
        amount = left.int64 if left is not None else 0
        return [_move(network_id, NATIVE, source, muxed_key(body.destination), amount)]
    return []


def _move(network_id: bytes, asset: AssetId, source: bytes, target: bytes, amount: int) -> xdr.ContractEvent:
    giver, receiver = (scval.to_address(StrKey.encode_ed25519_public_key(each)) for each in (source, target))
    name = scval.to_string(asset_name(asset))
    if source != target and source == asset.issuer:
        topics = [scval.to_symbol("mint"), receiver, name]
    elif source != target and target == asset.issuer:
        topics = [scval.to_symbol("burn"), giver, name]
    else:
        topics = [scval.to_symbol("transfer"), giver, receiver, name]
    return _event(network_id, asset, topics, scval.to_int128(amount))
