"""A small world on the real host: accounts, assets, the contract, and calls that are checked as they go."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from stellar_sdk import Address, Asset, Keypair, Network, StrKey, scval, xdr
from stellar_sdk.auth import authorize_entry

from relayers.stellar.devnet.entries import Account, AssetId, TrustLine, account_xdr, asset_id
from relayers.stellar.devnet.soroban.ledger_xdr import (
    account_ledger_key,
    code_key,
    data_key,
    entry_xdr,
    instance_key,
    trustline_ledger_key,
)
from scripts.soroban_vectors.judge import Judge, Verdict

PASSPHRASE = Network.STANDALONE_NETWORK_PASSPHRASE
NETWORK_ID = Network(PASSPHRASE).network_id()
XLM = 10_000_000
START = 1_800_000_000
Host = xdr.HostFunctionType
Executable = xdr.ContractExecutableType
Preimage = xdr.ContractIDPreimageType


def key_of(name: str) -> Keypair:
    """Return the key of a person of this world."""
    return Keypair.from_raw_ed25519_seed(hashlib.sha256(f"soroban vectors {name}".encode()).digest())


SENDER, RECIPIENT, STRANGER, ISSUER = (key_of(each) for each in ("sender", "recipient", "stranger", "issuer"))
A, I128, B, U = scval.to_address, scval.to_int128, scval.to_bytes, scval.to_uint64


def contract_error(code: int) -> str:
    """Return a contract's error as the host prints it."""
    return f"Error(Contract, #{code})"


@dataclass
class World:
    """The state of one recording."""

    judge: Judge
    wasm: bytes
    sequence: int = 1_000
    time: int = START
    contract: str = ""
    xlm: str = ""
    refused: int = 0
    done: int = 0
    figures: dict[str, Verdict] = field(default_factory=dict)
    """The last success of each note."""
    smart: dict[str, Keypair] = field(default_factory=dict)
    """Smart accounts and the keys that sign for them."""
    _nonce: int = 0

    # Ledger

    def begin(
        self, min_temporary: int = 17_280, min_persistent: int = 2_073_600, longest: int = 3_110_400
    ) -> None:
        """Fund everybody, upload and make the contract and XLM's."""
        self.judge.network(NETWORK_ID, min_temporary, min_persistent, longest)
        for key in (SENDER, RECIPIENT, STRANGER, ISSUER):
            self.put_account(key, 1_000 * XLM)
        self.contract = self.deploy(self.wasm)
        self.xlm = self.deploy_asset(Asset.native())

    def put_account(self, key: Keypair, stroops: int, flags: int = 0) -> None:
        """Write an account."""
        self.judge.put(entry_xdr(Account(key.raw_public_key(), stroops, 1, flags)))

    def put_line(
        self, key: Keypair, asset: Asset, balance: int, limit: int = 2**63 - 1, flags: int = 1
    ) -> None:
        """Write a trustline."""
        line = TrustLine(key.raw_public_key(), self.asset_id(asset), balance, limit, flags)
        self.judge.put(entry_xdr(line))

    @staticmethod
    def asset_id(asset: Asset) -> AssetId:
        """Return an asset as the emulator names it."""
        return asset_id(asset.to_xdr_object())

    def balance(self, key: Keypair) -> int:
        """Return an account's stroops, 0 where there is none."""
        found = self.judge.get(account_ledger_key(key.raw_public_key()))
        return found[0].data.account.balance.int64 if found and found[0].data.account else 0

    def line_balance(self, key: Keypair, asset: Asset) -> int:
        """Return a trustline's balance."""
        found = self.judge.get(trustline_ledger_key(key.raw_public_key(), self.asset_id(asset)))
        return found[0].data.trust_line.balance.int64 if found and found[0].data.trust_line else 0

    def live_until(self, key: xdr.LedgerKey) -> int:
        """Return the last ledger of an entry's life."""
        found = self.judge.get(key)
        assert found is not None
        return found[1]

    def lock_key(self, lock_id: xdr.SCVal) -> xdr.LedgerKey:
        """Return the ledger key of a lock."""
        return data_key(self.contract, lock_id)

    def keys_of_contract(self) -> list[xdr.LedgerKey]:
        """Return the ledger keys of the contract and its code."""
        return [instance_key(self.contract), code_key(hashlib.sha256(self.wasm).digest())]

    # Contracts

    def deploy(self, wasm: bytes, salt: bytes = bytes(32)) -> str:
        """Upload and make a contract."""
        self.run(xdr.HostFunction(Host.HOST_FUNCTION_TYPE_UPLOAD_CONTRACT_WASM, wasm=wasm), note="upload")
        deployer = Address(STRANGER.public_key).to_xdr_sc_address()
        by = xdr.ContractIDPreimageFromAddress(deployer, xdr.Uint256(salt))
        preimage = xdr.ContractIDPreimage(Preimage.CONTRACT_ID_PREIMAGE_FROM_ADDRESS, from_address=by)
        kind = Executable.CONTRACT_EXECUTABLE_WASM
        executable = xdr.ContractExecutable(kind, wasm_hash=xdr.Hash(hashlib.sha256(wasm).digest()))
        return self._create(preimage, executable)

    def deploy_asset(self, asset: Asset) -> str:
        """Make an asset's contract."""
        kind = Preimage.CONTRACT_ID_PREIMAGE_FROM_ASSET
        preimage = xdr.ContractIDPreimage(kind, from_asset=asset.to_xdr_object())
        return self._create(preimage, xdr.ContractExecutable(Executable.CONTRACT_EXECUTABLE_STELLAR_ASSET))

    def _create(self, preimage: xdr.ContractIDPreimage, executable: xdr.ContractExecutable) -> str:
        made = xdr.CreateContractArgs(preimage, executable)
        function = xdr.HostFunction(Host.HOST_FUNCTION_TYPE_CREATE_CONTRACT, create_contract=made)
        return scval.from_address(self.run(function, note="create")).address

    def invocation(
        self, function: str, arguments: Sequence[xdr.SCVal], contract: str = ""
    ) -> xdr.HostFunction:
        """Return a call as a host function."""
        target = Address(contract or self.contract).to_xdr_sc_address()
        call = xdr.InvokeContractArgs(target, xdr.SCSymbol(function.encode()), list(arguments))
        return xdr.HostFunction(Host.HOST_FUNCTION_TYPE_INVOKE_CONTRACT, invoke_contract=call)

    # Calls

    def run(self, function: xdr.HostFunction, note: str) -> xdr.SCVal:
        """Simulate and enforce a host function that must succeed."""
        verdict = self.play(function, note=note)
        if verdict.error or verdict.value is None:
            raise SystemExit(f"{note}: {verdict.error} {verdict.said}")
        return verdict.value

    def play(
        self,
        function: xdr.HostFunction,
        *,
        note: str,
        source: Keypair = STRANGER,
        signers: Sequence[Keypair] = (),
        auth: list[xdr.SorobanAuthorizationEntry] | None = None,
        upgraded: bool = True,
    ) -> Verdict:
        """Simulate, sign as `signers` can, enforce. Given `auth` is enforced as it is."""
        self.sequence += 1
        self.time += 5
        place = (self.sequence, self.time, note)
        account = account_xdr(source.raw_public_key())
        simulated = self.judge.record(function, account, None, *place)
        if simulated.error:
            return simulated
        resources = xdr.SorobanResources.from_xdr(simulated.resources)
        if auth is not None:
            _name_nonces(resources, auth)
        else:
            auth = self.signed(simulated.auth, resources, signers, upgraded=upgraded)
            if any(_address_of(each).startswith("C") for each in auth):
                # Only a simulation with the signatures runs the smart account's own code.
                again = self.judge.record(function, account, auth, *place)
                if again.error:
                    return again
                resources, simulated = xdr.SorobanResources.from_xdr(again.resources), again
        return self.judge.enforce(function, account, auth, *place, resources, simulated.archived)

    def signed(
        self,
        entries: list[xdr.SorobanAuthorizationEntry],
        resources: xdr.SorobanResources,
        signers: Sequence[Keypair],
        *,
        upgraded: bool = True,
    ) -> list[xdr.SorobanAuthorizationEntry]:
        """Give each entry a nonce of its own, in the footprint too, and sign those that can be signed."""
        found = []
        for entry in entries:
            given = entry.credentials.address_v2
            if given is None:
                found.append(entry)
                continue
            self._nonce += 1
            old, given.nonce = given.nonce, xdr.Int64(self._nonce)
            _rename_nonce(resources, old.int64, self._nonce)
            if not upgraded:
                kind = xdr.SorobanCredentialsType.SOROBAN_CREDENTIALS_ADDRESS
                entry.credentials = xdr.SorobanCredentials(kind, address=given)
            address = Address.from_xdr_sc_address(given.address).address
            signer = next((each for each in signers if each.public_key == address), None)
            if address in self.smart:
                self._sign_smart(entry, self.smart[address])
            found.append(self.sign(entry, signer) if signer is not None else entry)
        return found

    def sign(
        self,
        entry: xdr.SorobanAuthorizationEntry,
        signer: Keypair,
        ledgers: int = 100,
        passphrase: str = PASSPHRASE,
    ) -> xdr.SorobanAuthorizationEntry:
        """Sign an entry."""
        return authorize_entry(entry, signer, self.sequence + ledgers, passphrase)

    def _sign_smart(self, entry: xdr.SorobanAuthorizationEntry, signer: Keypair) -> None:
        """Sign for a smart account: the bare signature of the payload's hash."""
        given = entry.credentials.address_v2 or entry.credentials.address
        assert given is not None
        given.signature_expiration_ledger = xdr.Uint32(self.sequence + 100)
        common = (given.nonce, given.signature_expiration_ledger)
        if entry.credentials.address_v2 is not None:
            bound = xdr.HashIDPreimageSorobanAuthorizationWithAddress(
                xdr.Hash(NETWORK_ID), *common, given.address, entry.root_invocation
            )
            image = xdr.HashIDPreimage(
                xdr.EnvelopeType.ENVELOPE_TYPE_SOROBAN_AUTHORIZATION_WITH_ADDRESS,
                soroban_authorization_with_address=bound,
            )
        else:
            plain = xdr.HashIDPreimageSorobanAuthorization(
                xdr.Hash(NETWORK_ID), *common, entry.root_invocation
            )
            image = xdr.HashIDPreimage(
                xdr.EnvelopeType.ENVELOPE_TYPE_SOROBAN_AUTHORIZATION, soroban_authorization=plain
            )
        given.signature = B(signer.sign(hashlib.sha256(image.to_xdr_bytes()).digest()))

    def call(self, function: str, *arguments: xdr.SCVal, **how: Any) -> xdr.SCVal:
        """Call the contract; it must succeed."""
        contract, note = how.pop("contract", ""), how.pop("note", function)
        verdict = self.play(self.invocation(function, arguments, contract), note=note, **how)
        if verdict.error or verdict.value is None:
            raise SystemExit(f"{note}: {verdict.error} {verdict.said}")
        self.done += 1
        self.figures[note] = verdict
        return verdict.value

    def refuse(self, expected: str, function: str, *arguments: xdr.SCVal, **how: Any) -> None:
        """Call the contract; it must fail like this."""
        contract, note = how.pop("contract", ""), how.pop("note", function)
        verdict = self.play(self.invocation(function, arguments, contract), note=f"no {note}", **how)
        if not verdict.error or expected not in verdict.error:
            raise SystemExit(f"{note}: wanted {expected}, got {verdict.error or 'success'} {verdict.said}")
        self.refused += 1

    # Locks

    def terms(
        self,
        preimage: bytes,
        amount: int = 5 * XLM,
        seconds: int = 3_600,
        sender: str = SENDER.public_key,
        recipient: str = RECIPIENT.public_key,
        asset: str = "",
    ) -> list[xdr.SCVal]:
        """Return the terms of a lock."""
        hashlock = hashlib.sha256(preimage).digest()
        parties = [A(sender), A(recipient), A(asset or self.xlm)]
        return [*parties, I128(amount), B(hashlock), U(self.time + seconds)]

    def lock_id(self, terms: Sequence[xdr.SCVal]) -> xdr.SCVal:
        """Return the id that a lock must have."""
        own = [B(NETWORK_ID), A(self.contract)]
        return B(hashlib.sha256(scval.to_vec([*own, *terms]).to_xdr_bytes()).digest())

    def locked(self, preimage: bytes, **terms: Any) -> xdr.SCVal:
        """Lock by an authorisation of the sender and check the id."""
        wanted = self.terms(preimage, **terms)
        found = self.call("lock", *wanted, signers=[SENDER])
        if found != self.lock_id(wanted):
            raise SystemExit("a lock has another id")
        return found

    def check(self, condition: bool, text: str) -> None:
        """End the recording if something is not as it must be."""
        if not condition:
            raise SystemExit(f"not so: {text}")


def _address_of(entry: xdr.SorobanAuthorizationEntry) -> str:
    given = entry.credentials.address_v2 or entry.credentials.address
    return Address.from_xdr_sc_address(given.address).address if given is not None else ""


def _name_nonces(resources: xdr.SorobanResources, auth: list[xdr.SorobanAuthorizationEntry]) -> None:
    """Let the footprint hold the nonces of these entries instead of simulated ones."""
    left = [each.credentials.address_v2 or each.credentials.address for each in auth]
    for key in resources.footprint.read_write:
        nonce = key.contract_data.key.nonce_key if key.contract_data is not None else None
        if nonce is not None and left and left[0] is not None:
            nonce.nonce = left.pop(0).nonce  # type: ignore[union-attr]


def _rename_nonce(resources: xdr.SorobanResources, old: int, new: int) -> None:
    for key in resources.footprint.read_write:
        nonce = key.contract_data.key.nonce_key if key.contract_data is not None else None
        if nonce is not None and nonce.nonce.int64 == old:
            nonce.nonce = xdr.Int64(new)
            return


def contract_strkey(raw: bytes) -> str:
    """Return a contract's address."""
    return StrKey.encode_contract(raw)
