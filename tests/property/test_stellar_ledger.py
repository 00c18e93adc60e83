"""Whatever transactions hit the emulated ledger, lumens and reserves add up (as core's invariants)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from stellar_sdk import (
    AccountMerge,
    Asset,
    BeginSponsoringFutureReserves,
    BumpSequence,
    ChangeTrust,
    Claimant,
    ClaimClaimableBalance,
    ClaimPredicate,
    CreateAccount,
    CreateClaimableBalance,
    EndSponsoringFutureReserves,
    Keypair,
    ManageData,
    Payment,
    RevokeSponsorship,
    SetOptions,
    Signer,
    SignerKey,
)
from stellar_sdk.operation import Operation

from bridge.protocol.types import Preimage
from relayers.stellar.devnet.entries import Account, ClaimableBalance, ContractEntry, Data, TrustLine
from relayers.stellar.devnet.network import TOTAL_COINS
from relayers.stellar.devnet.reserves import reserve_units
from tests.unit.stellar.world import LedgerWorld, keypair

NAMES = ("a", "b", "c", "d")
KEYS = {name: keypair(name) for name in NAMES}
USD = Asset("USD", KEYS["a"].public_key)
AMOUNTS = ("0.0000001", "1", "3", "490", "2000")
USDS = ("0", "0.0000001", "5", "100")

name = st.sampled_from(NAMES)
amount = st.sampled_from(AMOUNTS)
small = st.sampled_from(USDS)
weight = st.integers(0, 3)
Draw = Callable[[st.SearchStrategy[str]], str]


def _key(which: str) -> Keypair:
    return KEYS[which]


@st.composite
def operations(draw: st.DrawFn) -> Operation:
    source, other = _key(draw(name)).public_key, _key(draw(name)).public_key
    value = str(draw(amount))
    never = ClaimPredicate.predicate_before_absolute_time(0)
    signer = Signer.ed25519_public_key(keypair(f"signer {draw(weight)}").public_key, draw(weight))
    choices: list[Operation] = [
        Payment(other, Asset.native(), value, source),
        Payment(other, USD, value, source),
        CreateAccount(other, value, source),
        AccountMerge(other, source),
        ChangeTrust(USD, str(draw(small)), source),
        SetOptions(signer=signer, source=source),
        ManageData("entry", draw(st.sampled_from([b"1", b"2", None])), source),
        BumpSequence(draw(st.integers(0, 2**34)), source),
        CreateClaimableBalance(
            Asset.native(), value, [Claimant(other), Claimant(keypair("x").public_key, never)], source
        ),
        CreateClaimableBalance(USD, value, [Claimant(other)], source),
        BeginSponsoringFutureReserves(other, source),
        EndSponsoringFutureReserves(source),
        RevokeSponsorship.revoke_account_sponsorship(other, source),
        RevokeSponsorship.revoke_data_sponsorship(other, "entry", source),
        RevokeSponsorship.revoke_signer_sponsorship(
            other, SignerKey.ed25519_public_key(keypair("signer 1").public_key), source
        ),
    ]
    return choices[draw(st.integers(0, len(choices) - 1))]


def check(world: LedgerWorld) -> None:
    """The invariants ConservationOfLumens, AccountSubEntriesCountIsValid and SponsorshipCountIsValid."""
    lumens = sum(each.result.fee_charged for ledger in world.network.ledgers for each in ledger.transactions)
    subentries: Counter[bytes] = Counter()
    sponsoring: Counter[bytes] = Counter()
    sponsored: Counter[bytes] = Counter()
    accounts: dict[bytes, Account] = {}
    for entry in world.network.state.entries():
        assert not isinstance(entry, ContractEntry)
        if entry.sponsor is not None:
            sponsoring[entry.sponsor] += reserve_units(entry)
        if isinstance(entry, Account):
            accounts[entry.id] = entry
            lumens += entry.balance
            sponsored[entry.id] += 2 if entry.sponsor is not None else 0
            subentries[entry.id] += len(entry.signers)
            for signer in entry.signers:
                if signer.sponsor is not None:
                    sponsoring[signer.sponsor] += 1
                    sponsored[entry.id] += 1
        elif isinstance(entry, ClaimableBalance):
            lumens += entry.amount if entry.asset.is_native else 0
        elif isinstance(entry, TrustLine | Data):
            subentries[entry.account] += 1
            sponsored[entry.account] += 1 if entry.sponsor is not None else 0
            assert not isinstance(entry, TrustLine) or 0 <= entry.balance <= entry.limit
    assert lumens == TOTAL_COINS
    for key, account in accounts.items():
        assert account.balance >= 0
        counted = (subentries[key], sponsoring[key], sponsored[key])
        assert (account.subentries, account.num_sponsoring, account.num_sponsored) == counted
    assert set(subentries) | set(sponsoring) | set(sponsored) <= set(accounts)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(operations(), min_size=1, max_size=5), min_size=1, max_size=8))
def test_lumens_subentries_and_sponsorships_add_up_after_any_transactions(
    batches: list[list[Operation]],
) -> None:
    world = LedgerWorld(*NAMES[:3])
    made: list[str] = []
    for index, batch in enumerate(batches):
        source = _key(NAMES[index % 3])
        if world.entry(source) is None:
            continue
        claims: list[Operation] = [ClaimClaimableBalance(each, source.public_key) for each in made[-1:]]
        sources = {each.source.account_id for each in batch if each.source is not None}
        signers = [key for key in KEYS.values() if key.public_key in sources]
        envelope = world.build(source, [*batch, *claims], *signers)
        status, frame = world.submit(envelope)
        if status.value == "PENDING":
            made += [
                envelope.transaction.get_claimable_balance_id(position)
                for position, each in enumerate(batch)
                if isinstance(each, CreateClaimableBalance)
            ]
        assert "txINTERNAL_ERROR" not in frame.result.names
        world.close()
        check(world)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["claim", "refund", "late claim"]),
    st.integers(1, 900 * 10**7),
    st.binary(max_size=64),
    st.integers(0, 50),
)
def test_a_lock_ends_with_exactly_one_of_the_two_paid(
    end: str, stroops: int, secret: bytes, dust: int
) -> None:
    world = LedgerWorld("a", "b", "c")
    preimage = Preimage(secret)
    sender, recipient = _key("a"), _key("b")
    value = f"{stroops // 10**7}.{stroops % 10**7:07d}"
    terms = world.terms(sender, recipient, preimage=preimage, amount=value)
    start = world.xlm(sender), world.xlm(recipient)
    gate = world.lock(terms, sender)
    if dust:
        dust_xlm = f"0.{dust:07d}"
        world.apply(_key("c"), [Payment(gate.address, Asset.native(), dust_xlm)])
    if end != "claim":
        world.close(at=terms.deadline)
    outcomes = [world.claim(gate, recipient, preimage), world.refund(gate, sender)]
    if end == "refund":
        world = LedgerWorld("a", "b", "c")
        gate = world.lock(terms, sender)
        world.close(at=terms.deadline)
        outcomes = [world.refund(gate, sender), world.claim(gate, recipient, preimage)]
    assert [each[0] for each in outcomes] == ["txSUCCESS", "txFAILED"]
    paid = world.xlm(recipient) - start[1]
    assert paid == (-200 if end == "refund" else stroops - 200)
    check(world)
    assert gate.terms == terms
