"""Ledger entries and their keys as XDR, and back, for what Soroban touches."""

from __future__ import annotations

from stellar_sdk import Address, xdr

from relayers.stellar.devnet.entries import (
    Account,
    AssetId,
    ContractEntry,
    Data,
    Entry,
    Key,
    Signer,
    SignerId,
    TrustLine,
    account,
    account_key,
    account_xdr,
    asset_id,
    contract,
    signer_id,
    trustline,
)
from relayers.stellar.devnet.signatures import ED25519

Durability = xdr.ContractDataDurability
EntryType = xdr.LedgerEntryType
INSTANCE_KEY = xdr.SCVal(xdr.SCValType.SCV_LEDGER_KEY_CONTRACT_INSTANCE)


# Keys


def contract_address(contract_id: str) -> xdr.SCAddress:
    """Return the address of a contract (C…) or an account (G…)."""
    return Address(contract_id).to_xdr_sc_address()


def data_key(holder: str, key: xdr.SCVal, durability: Durability = Durability.PERSISTENT) -> xdr.LedgerKey:
    """Return the ledger key of a contract's data."""
    data = xdr.LedgerKeyContractData(contract_address(holder), key, durability)
    return xdr.LedgerKey(EntryType.CONTRACT_DATA, contract_data=data)


def instance_key(contract_id: str) -> xdr.LedgerKey:
    """Return the ledger key of a contract's instance."""
    return data_key(contract_id, INSTANCE_KEY)


def code_key(wasm_hash: bytes) -> xdr.LedgerKey:
    """Return the ledger key of an uploaded wasm."""
    return xdr.LedgerKey(
        EntryType.CONTRACT_CODE, contract_code=xdr.LedgerKeyContractCode(xdr.Hash(wasm_hash))
    )


def account_ledger_key(key: bytes) -> xdr.LedgerKey:
    """Return the ledger key of an account."""
    return xdr.LedgerKey(EntryType.ACCOUNT, account=xdr.LedgerKeyAccount(account_xdr(key)))


def trustline_ledger_key(owner: bytes, asset: AssetId) -> xdr.LedgerKey:
    """Return the ledger key of a trustline."""
    return xdr.LedgerKey(
        EntryType.TRUSTLINE, trust_line=xdr.LedgerKeyTrustLine(account_xdr(owner), trustline_asset(asset))
    )


def trustline_asset(asset: AssetId) -> xdr.TrustLineAsset:
    """Return an asset as trustlines name it."""
    plain = asset.to_xdr()
    return xdr.TrustLineAsset(plain.type, alpha_num4=plain.alpha_num4, alpha_num12=plain.alpha_num12)


def state_key(key: xdr.LedgerKey) -> Key | None:
    """Return the key that the emulator keeps an entry under; None for kinds that Soroban never touches."""
    if key.account is not None:
        return account(account_key(key.account.account_id))
    if key.trust_line is not None:
        return trustline(account_key(key.trust_line.account_id), asset_id(key.trust_line.asset))
    if is_contract_key(key):
        return contract(key.to_xdr_bytes())
    return None


def is_contract_key(key: xdr.LedgerKey) -> bool:
    """Tell whether a key names contract data or code, which have a time to live."""
    return key.contract_data is not None or key.contract_code is not None


def is_temporary(key: xdr.LedgerKey) -> bool:
    """Tell whether a key names temporary contract data."""
    return key.contract_data is not None and key.contract_data.durability is Durability.TEMPORARY


def key_of_data(data: xdr.LedgerEntryData) -> xdr.LedgerKey:
    """Return the ledger key of an entry."""
    if data.contract_data is not None:
        found = data.contract_data
        named = xdr.LedgerKeyContractData(found.contract, found.key, found.durability)
        return xdr.LedgerKey(EntryType.CONTRACT_DATA, contract_data=named)
    if data.contract_code is not None:
        return code_key(data.contract_code.hash.hash)
    if data.account is not None:
        return account_ledger_key(account_key(data.account.account_id))
    if data.trust_line is not None:
        line = data.trust_line
        return xdr.LedgerKey(
            EntryType.TRUSTLINE, trust_line=xdr.LedgerKeyTrustLine(line.account_id, line.asset)
        )
    raise ValueError(f"Soroban has no use for {data.type.name}")


# Entries


def entry_xdr(entry: Entry) -> xdr.LedgerEntry:
    """Return an account, trustline, data entry, contract data or code as the ledger stores it."""
    if isinstance(entry, ContractEntry):
        data, sponsor, has_sponsor = entry.data, None, False
    elif isinstance(entry, Account):
        data = xdr.LedgerEntryData(EntryType.ACCOUNT, account=_account_xdr(entry))
        sponsor, has_sponsor = entry.sponsor, True
    elif isinstance(entry, TrustLine):
        data = xdr.LedgerEntryData(EntryType.TRUSTLINE, trust_line=_trustline_xdr(entry))
        sponsor, has_sponsor = entry.sponsor, True
    elif isinstance(entry, Data):
        held = xdr.DataEntry(
            account_xdr(entry.account),
            xdr.String64(entry.name),
            xdr.DataValue(entry.value),
            xdr.DataEntryExt(0),
        )
        data = xdr.LedgerEntryData(EntryType.DATA, data=held)
        sponsor, has_sponsor = entry.sponsor, True
    else:
        raise ValueError(f"Soroban has no use for {type(entry).__name__}")
    extension = xdr.LedgerEntryExt(0)
    if has_sponsor and sponsor is not None:
        by = xdr.SponsorshipDescriptor(account_xdr(sponsor))
        extension = xdr.LedgerEntryExt(1, v1=xdr.LedgerEntryExtensionV1(by, xdr.LedgerEntryExtensionV1Ext(0)))
    return xdr.LedgerEntry(xdr.Uint32(entry.last_modified), data, extension)


def _account_xdr(entry: Account) -> xdr.AccountEntry:
    signers = [xdr.Signer(_signer_key(each.id), xdr.Uint32(each.weight)) for each in entry.signers]
    inflation = None if entry.inflation_dest is None else account_xdr(entry.inflation_dest)
    return xdr.AccountEntry(
        account_xdr(entry.id),
        xdr.Int64(entry.balance),
        xdr.SequenceNumber(xdr.Int64(entry.sequence)),
        xdr.Uint32(entry.subentries),
        inflation,
        xdr.Uint32(entry.flags),
        xdr.String32(entry.home_domain),
        xdr.Thresholds(bytes([entry.master_weight, *entry.thresholds])),
        signers,
        _account_extension(entry, signers),
    )


def _account_extension(entry: Account, signers: list[xdr.Signer]) -> xdr.AccountEntryExt:
    changed = entry.sequence_ledger or entry.sequence_time
    sponsored = entry.num_sponsored or entry.num_sponsoring or any(each.sponsor for each in entry.signers)
    if not (changed or sponsored or entry.buying_liabilities or entry.selling_liabilities):
        return xdr.AccountEntryExt(0)
    third = xdr.AccountEntryExtensionV2Ext(0)
    if changed:
        times = xdr.AccountEntryExtensionV3(
            xdr.ExtensionPoint(0),
            xdr.Uint32(entry.sequence_ledger),
            xdr.TimePoint(xdr.Uint64(entry.sequence_time)),
        )
        third = xdr.AccountEntryExtensionV2Ext(3, v3=times)
    second = xdr.AccountEntryExtensionV1Ext(0)
    if changed or sponsored:
        by = [
            xdr.SponsorshipDescriptor(None if each.sponsor is None else account_xdr(each.sponsor))
            for each in entry.signers
        ]
        counts = xdr.AccountEntryExtensionV2(
            xdr.Uint32(entry.num_sponsored), xdr.Uint32(entry.num_sponsoring), by[: len(signers)], third
        )
        second = xdr.AccountEntryExtensionV1Ext(2, v2=counts)
    owed = xdr.Liabilities(xdr.Int64(entry.buying_liabilities), xdr.Int64(entry.selling_liabilities))
    return xdr.AccountEntryExt(1, v1=xdr.AccountEntryExtensionV1(owed, second))


def _trustline_xdr(entry: TrustLine) -> xdr.TrustLineEntry:
    extension = xdr.TrustLineEntryExt(0)
    if entry.buying_liabilities or entry.selling_liabilities:
        owed = xdr.Liabilities(xdr.Int64(entry.buying_liabilities), xdr.Int64(entry.selling_liabilities))
        extension = xdr.TrustLineEntryExt(1, v1=xdr.TrustLineEntryV1(owed, xdr.TrustLineEntryV1Ext(0)))
    return xdr.TrustLineEntry(
        account_xdr(entry.account),
        trustline_asset(entry.asset),
        xdr.Int64(entry.balance),
        xdr.Int64(entry.limit),
        xdr.Uint32(entry.flags),
        extension,
    )


def _signer_key(key: SignerId) -> xdr.SignerKey:
    kind = xdr.SignerKeyType(key.kind)
    value = xdr.Uint256(key.key)
    if kind is xdr.SignerKeyType.SIGNER_KEY_TYPE_ED25519:
        return xdr.SignerKey(kind, ed25519=value)
    if kind is xdr.SignerKeyType.SIGNER_KEY_TYPE_PRE_AUTH_TX:
        return xdr.SignerKey(kind, pre_auth_tx=value)
    if kind is xdr.SignerKeyType.SIGNER_KEY_TYPE_HASH_X:
        return xdr.SignerKey(kind, hash_x=value)
    payload = xdr.SignerKeyEd25519SignedPayload(value, key.payload)
    return xdr.SignerKey(kind, ed25519_signed_payload=payload)


def entry_from_xdr(entry: xdr.LedgerEntry, live_until: int = 0) -> Entry:
    """Read an account, trustline, contract data or code, e.g. of a recording."""
    data, modified = entry.data, entry.last_modified_ledger_seq.uint32
    if data.account is not None:
        return _account_from_xdr(data.account, modified)
    if data.trust_line is not None:
        line = data.trust_line
        owed = line.ext.v1.liabilities if line.ext.v1 is not None else None
        return TrustLine(
            account_key(line.account_id),
            asset_id(line.asset),
            line.balance.int64,
            line.limit.int64,
            line.flags.uint32,
            owed.buying.int64 if owed is not None else 0,
            owed.selling.int64 if owed is not None else 0,
            last_modified=modified,
        )
    return ContractEntry(key_of_data(data).to_xdr_bytes(), data, live_until, modified)


def _account_from_xdr(found: xdr.AccountEntry, modified: int) -> Account:
    master, *rest = found.thresholds.thresholds
    entry = Account(
        account_key(found.account_id),
        found.balance.int64,
        found.seq_num.sequence_number.int64,
        found.flags.uint32,
        bytes(found.home_domain.string32),
        None if found.inflation_dest is None else account_key(found.inflation_dest),
        master,
        (rest[0], rest[1], rest[2]),
        [Signer(signer_id(each.key), each.weight.uint32) for each in found.signers],
        found.num_sub_entries.uint32,
        last_modified=modified,
    )
    if found.ext.v1 is not None:
        entry.buying_liabilities = found.ext.v1.liabilities.buying.int64
        entry.selling_liabilities = found.ext.v1.liabilities.selling.int64
        second = found.ext.v1.ext.v2
        if second is not None:
            entry.num_sponsored = second.num_sponsored.uint32
            entry.num_sponsoring = second.num_sponsoring.uint32
            third = second.ext.v3
            if third is not None:
                entry.sequence_ledger = third.seq_ledger.uint32
                entry.sequence_time = third.seq_time.time_point.uint64
    return entry


def weight_of(entry: Account, key: bytes) -> int:
    """Return the weight of an ed25519 key on an account, 0 if it does not sign for it."""
    if key == entry.id:
        return entry.master_weight
    wanted = SignerId(ED25519, key)
    return next((each.weight for each in entry.signers if each.id == wanted), 0)
