"""The call matrix with XLM: every function, every refusal, archival and restoring, times to live."""

from __future__ import annotations

from stellar_sdk import Keypair, StrKey, xdr

from relayers.stellar.devnet.entries import account_xdr
from scripts.soroban_vectors.world import (
    I128,
    RECIPIENT,
    SENDER,
    STRANGER,
    XLM,
    A,
    B,
    U,
    World,
    contract_error,
    key_of,
)

EXISTS, GONE, BAD_PREIMAGE, EARLY, BAD_FEE = 6, 7, 8, 9, 10
DAY = 86_400


def _claims(world: World) -> None:
    for preimage in (b"", b"p" * 32, b"q" * 64):
        paid, received = world.balance(SENDER), world.balance(RECIPIENT)
        lock = world.locked(preimage)
        world.check(world.balance(SENDER) == paid - 5 * XLM, "the sender paid")
        terms = world.terms(preimage)
        world.call("get", lock)
        world.refuse(contract_error(BAD_PREIMAGE), "claim", lock, B(preimage + b"x"))
        world.refuse(contract_error(BAD_PREIMAGE), "claim", lock, B(b"z" * 65))
        world.refuse(contract_error(BAD_PREIMAGE), "claim", lock, I128(1))
        world.refuse(contract_error(EARLY), "refund", lock)
        world.call("claim", lock, B(preimage))
        world.check(world.balance(RECIPIENT) == received + 5 * XLM, "the recipient was paid")
        world.refuse(contract_error(GONE), "claim", lock, B(preimage))
        world.refuse(contract_error(GONE), "refund", lock)
        world.refuse(contract_error(GONE), "refund_coop", lock, signers=[RECIPIENT])
        world.refuse(contract_error(1), "claim", B(b"short"), B(preimage))
        world.call("get", world.lock_id(terms), note="get nothing")


def _refunds(world: World) -> None:
    world.locked(b"other")
    terms = world.terms(b"0" * 32)
    lock = world.call("lock", *terms, source=SENDER, note="lock by the source")
    world.refuse(contract_error(EXISTS), "lock", *terms, signers=[SENDER])
    deadline = int(terms[5].u64.uint64)  # type: ignore[union-attr]
    world.time = deadline - 6  # the next call is in a ledger five seconds later
    paid = world.balance(SENDER)
    world.refuse(contract_error(EARLY), "refund", lock)
    world.time = deadline - 5
    world.call("refund", lock)
    world.check(world.balance(SENDER) == paid + 5 * XLM, "the sender has it back")
    late = world.locked(b"2" * 32)
    world.time += 30 * DAY
    world.call("claim", late, B(b"2" * 32), note="claim after the deadline")


def _agreed_refunds(world: World) -> None:
    lock = world.locked(b"3" * 32)
    world.refuse("Error(Auth", "refund_coop", lock, auth=[])
    world.refuse("Error(Auth", "refund_coop", lock, signers=[STRANGER])
    world.call("refund_coop", lock, signers=[RECIPIENT])
    lock = world.locked(b"33")
    world.call("refund_coop", lock, signers=[RECIPIENT], upgraded=False, note="refund_coop with ADDRESS")
    lock = world.locked(b"333")
    world.call("refund_coop", lock, source=RECIPIENT, note="refund_coop by the source")


def _paid_claims(world: World) -> None:
    lock, preimage = world.locked(b"4" * 32), B(b"4" * 32)
    for fee, code in ((I128(5 * XLM + 1), BAD_FEE), (I128(-1), BAD_FEE), (U(5), 1)):
        world.refuse(
            contract_error(code),
            "claim_for",
            lock,
            preimage,
            fee,
            A(STRANGER.public_key),
            signers=[RECIPIENT],
        )
    world.refuse(
        contract_error(5), "claim_for", lock, preimage, I128(1), A(world.contract), signers=[RECIPIENT]
    )
    world.refuse(contract_error(1), "claim_for", lock, preimage, I128(1), I128(1), signers=[RECIPIENT])
    world.refuse("Error(Auth", "claim_for", lock, preimage, I128(1000), A(STRANGER.public_key), auth=[])
    # What was signed for one fee, payee and lock is of no use for others.
    call = [lock, preimage, I128(1000), A(STRANGER.public_key)]
    simulated = world.judge.record(
        world.invocation("claim_for", call), _account(STRANGER), None, world.sequence, world.time, "to sign"
    )
    signed = [world.sign(each, RECIPIENT) for each in simulated.auth]
    dearer = [lock, preimage, I128(2000), A(STRANGER.public_key)]
    world.refuse("Error(Auth", "claim_for", *dearer, auth=signed)
    world.refuse("Error(Auth", "claim_for", lock, preimage, I128(1000), A(SENDER.public_key), auth=signed)
    received, earned = world.balance(RECIPIENT), world.balance(STRANGER)
    world.call("claim_for", *call, signers=[RECIPIENT])
    world.check(world.balance(RECIPIENT) == received + 5 * XLM - 1000, "the recipient was paid the rest")
    world.check(world.balance(STRANGER) == earned + 1000, "the relayer was paid its fee")
    again = world.locked(b"4" * 32, seconds=7200)
    world.refuse("Error(Auth", "claim_for", again, preimage, I128(1000), A(STRANGER.public_key), auth=signed)
    world.call(
        "claim_for",
        again,
        preimage,
        I128(0),
        A(STRANGER.public_key),
        signers=[RECIPIENT],
        note="claim_for nothing",
    )
    whole = world.locked(b"44")
    world.call(
        "claim_for",
        whole,
        B(b"44"),
        I128(5 * XLM),
        A(STRANGER.public_key),
        signers=[RECIPIENT],
        note="claim_for all",
    )


def _account(key: Keypair) -> xdr.AccountID:
    return account_xdr(key.raw_public_key())


def _bad_locks(world: World) -> None:
    long_ago = world.time - 1
    for place, value, code in (
        (3, I128(0), 2), (3, I128(-1), 2), (3, U(5), 1), (4, B(b"1" * 31), 3), (4, B(b"1" * 33), 3),
        (4, I128(1), 3), (5, U(long_ago), 4), (5, I128(1), 1), (1, A(world.contract), 5),
        (0, A(world.contract), 5), (2, I128(1), 1), (0, I128(1), 1), (1, B(b""), 1),
    ):  # fmt: skip
        terms = world.terms(b"6" * 32)
        terms[place] = value
        world.refuse(
            contract_error(code), "lock", *terms, signers=[SENDER], note=f"lock with bad term {place}"
        )
    terms = world.terms(b"6" * 32)
    terms[5] = U(world.time + 5)  # the time of the ledger that will hold it
    world.refuse(contract_error(4), "lock", *terms, signers=[SENDER], note="lock at its deadline")
    muxed = xdr.SCVal(
        xdr.SCValType.SCV_ADDRESS,
        address=xdr.SCAddress(
            xdr.SCAddressType.SC_ADDRESS_TYPE_MUXED_ACCOUNT,
            muxed_account=xdr.MuxedEd25519Account(xdr.Uint64(7), xdr.Uint256(RECIPIENT.raw_public_key())),
        ),
    )
    for place in (0, 1, 2):
        terms = world.terms(b"6" * 32)
        terms[place] = muxed
        world.refuse(
            contract_error(1), "lock", *terms, signers=[SENDER], note=f"lock with muxed term {place}"
        )
    for kind in ("SC_ADDRESS_TYPE_CLAIMABLE_BALANCE", "SC_ADDRESS_TYPE_LIQUIDITY_POOL"):
        terms = world.terms(b"6" * 32)
        terms[1] = _odd_address(kind)
        world.refuse("Error(", "lock", *terms, signers=[SENDER], note=f"lock with {kind}")
    terms = world.terms(b"6" * 32, asset=RECIPIENT.public_key)
    world.refuse("Error(", "lock", *terms, signers=[SENDER], note="lock of an account as asset")
    nothing = StrKey.encode_contract(b"\x07" * 32)
    terms = world.terms(b"6" * 32, asset=nothing)
    world.refuse("Error(Storage, MissingValue)", "lock", *terms, signers=[SENDER], note="lock of no contract")
    terms = world.terms(b"6" * 32, asset=world.contract)
    world.refuse(
        "Error(Context, InvalidAction)",
        "lock",
        *terms,
        signers=[SENDER],
        note="lock of itself: entered again",
    )
    for amount in (10**17, 2**70, 2**127 - 1):
        terms = world.terms(b"6" * 32, amount=amount)
        world.refuse(
            "Error(Contract, #1", "lock", *terms, signers=[SENDER], note="lock of more than there is"
        )
    world.refuse("Error(WasmVm, UnexpectedSize)", "lock", *world.terms(b"6")[:5], note="lock of five terms")
    world.refuse("Error(WasmVm, MissingValue)", "unlock", B(bytes(32)), note="a function that is not there")
    world.refuse("Error(Context, InvalidAction)", "__check_auth", B(bytes(32)), note="a reserved function")


def _odd_address(kind: str) -> xdr.SCVal:
    if kind.endswith("POOL"):
        address = xdr.SCAddress(xdr.SCAddressType[kind], liquidity_pool_id=xdr.PoolID(xdr.Hash(bytes(32))))
    else:
        named = xdr.ClaimableBalanceID(
            xdr.ClaimableBalanceIDType.CLAIMABLE_BALANCE_ID_TYPE_V0, v0=xdr.Hash(bytes(32))
        )
        address = xdr.SCAddress(xdr.SCAddressType[kind], claimable_balance_id=named)
    return xdr.SCVal(xdr.SCValType.SCV_ADDRESS, address=address)


def _authorisations(world: World) -> None:
    terms = world.terms(b"5" * 32)
    world.refuse("Error(Auth", "lock", *terms, auth=[])
    world.refuse("Error(Auth", "lock", *terms, signers=[RECIPIENT])
    function = world.invocation("lock", terms)
    simulated = world.judge.record(function, _account(STRANGER), None, world.sequence, world.time, "to sign")
    other = xdr.SorobanAuthorizationEntry.from_xdr(simulated.auth[0].to_xdr())
    foreign = world.sign(other, SENDER, passphrase="Public Global Stellar Network ; September 2015")
    world.refuse("Error(Auth", "lock", *terms, auth=[foreign], note="lock signed for another network")
    signed = [world.sign(each, SENDER) for each in simulated.auth]
    swapped = list(terms)
    swapped[1] = A(STRANGER.public_key)
    world.refuse("Error(Auth", "lock", *swapped, auth=signed, note="lock for another recipient")
    expired = world.sign(
        xdr.SorobanAuthorizationEntry.from_xdr(simulated.auth[0].to_xdr()), SENDER, ledgers=-1
    )
    world.refuse("Error(Auth", "lock", *terms, auth=[expired], note="lock with an expired signature")
    late = world.sign(
        xdr.SorobanAuthorizationEntry.from_xdr(simulated.auth[0].to_xdr()), SENDER, ledgers=4_000_000
    )
    world.refuse("Error(Auth", "lock", *terms, auth=[late], note="lock with a signature that lasts too long")
    # The same entry twice: its nonce is used up.
    resources = xdr.SorobanResources.from_xdr(simulated.resources)
    world.sequence += 1
    place = (world.sequence, world.time, "lock, to be replayed")
    first = world.judge.enforce(function, _account(STRANGER), signed, *place, resources, [])
    world.check(not first.error, f"the entry is good once: {first.error}")
    world.call("claim", world.lock_id(terms), B(b"5" * 32))
    world.sequence += 1
    place = (world.sequence, world.time, "no lock: the entry again")
    again = world.judge.enforce(function, _account(STRANGER), signed, *place, resources, [])
    world.check("Auth" in again.error, f"a nonce serves once: {again.error}")


def _accounts(world: World) -> None:
    ghost = key_of("ghost")
    lock = world.locked(b"7" * 32, recipient=ghost.public_key, amount=XLM // 2)
    world.refuse("Error(Contract, #14)", "claim", lock, B(b"7" * 32), note="claim too little for an account")
    world.put_account(ghost, XLM)
    world.call("claim", lock, B(b"7" * 32), note="claim once there is an account")
    made = key_of("made by a claim")
    lock = world.locked(b"8" * 32, recipient=made.public_key, amount=XLM)
    world.call("claim", lock, B(b"8" * 32), note="claim that makes the account")
    world.check(world.balance(made) == XLM, "the account was made")
    own = world.terms(b"same", recipient=SENDER.public_key)
    lock = world.call("lock", *own, signers=[SENDER], note="lock for oneself")
    world.call("claim", lock, B(b"same"), note="claim by oneself")


def _footprints(world: World) -> None:
    """A declared footprint that lacks a key fails, whatever the key, and one that may not write."""
    lock = world.locked(b"f" * 32)
    function, account = world.invocation("claim", [lock, B(b"f" * 32)]), _account(STRANGER)
    world.sequence += 1
    place = (world.sequence, world.time)
    simulated = world.judge.record(function, account, None, *place, "claim, footprint")
    whole = xdr.SorobanResources.from_xdr(simulated.resources)
    for kind in ("read_only", "read_write"):
        for index in range(len(getattr(whole.footprint, kind))):
            less = xdr.SorobanResources.from_xdr(simulated.resources)
            gone = getattr(less.footprint, kind).pop(index)
            note = f"no claim: the footprint lacks a key of {kind}"
            verdict = world.judge.enforce(function, account, [], *place, note, less, [])
            world.check(bool(verdict.error), f"it needs the key {gone}")
            if kind == "read_write":
                less.footprint.read_only.append(gone)
                note = "no claim: a key may only be read"
                verdict = world.judge.enforce(function, account, [], *place, note, less, [])
                world.check(bool(verdict.error), f"it writes the key {gone}")
    verdict = world.judge.enforce(function, account, [], *place, "claim with its footprint", whole, [])
    world.check(not verdict.error, f"the whole footprint does: {verdict.error}")


def _lives(world: World) -> None:
    """Times to live at their edges, archival, restoring."""
    short = world.locked(b"a day", seconds=DAY)
    world.check(
        world.live_until(world.lock_key(short)) == world.sequence + 2_073_600 - 1,
        "a new entry lives 120 days",
    )
    long = world.locked(b"a season", seconds=100 * DAY)
    wanted = (100 * DAY - 5) // 4 + 30 * DAY // 4  # the lock's ledger closes five seconds after the terms
    world.check(
        abs(world.live_until(world.lock_key(long)) - (world.sequence + wanted)) <= 2,
        "to the deadline and a month",
    )
    forever = world.terms(b"much later")
    forever[5] = U(2**64 - 1)
    lock = world.call("lock", *forever, signers=[SENDER], note="lock to the end of time")
    world.check(
        world.live_until(world.lock_key(lock)) == world.sequence + 3_110_400 - 1,
        "no longer than the network allows",
    )
    # In the last ledger of its life it needs no restoring, in the next one it does.
    for ledgers, note in ((0, "claim in the last ledger of its life"), (1, "claim one ledger too late")):
        preimage = note.encode()
        lock = world.locked(preimage)
        last = world.live_until(world.lock_key(lock))
        world.sequence, world.time = last + ledgers - 1, world.time + 4 * 2_073_600
        world.call("claim", lock, B(preimage), note=note)
        verdict = world.figures[note]
        writable = xdr.SorobanResources.from_xdr(verdict.resources).footprint.read_write
        restored = [writable[index] for index in verdict.archived]
        world.check((world.lock_key(lock) in restored) == bool(ledgers), f"restored: {restored}")
    # Everything archived: the lock, the contract, its code, the balance, XLM's contract.
    lock = world.locked(b"9" * 32)
    world.sequence += 3_200_000
    world.time += 16_000_000
    function, account = world.invocation("claim", [lock, B(b"9" * 32)]), _account(STRANGER)
    place = (world.sequence, world.time)
    simulated = world.judge.record(function, account, None, *place, "claim of what is archived")
    resources = xdr.SorobanResources.from_xdr(simulated.resources)
    world.check(len(simulated.archived) == 5, f"five entries: {simulated.archived}")
    verdict = world.judge.enforce(
        function, account, [], *place, "no claim: nothing is restored", resources, []
    )
    world.check(verdict.error == "archived", "an archived entry must be listed")
    received = world.balance(RECIPIENT)
    world.call("claim", lock, B(b"9" * 32), note="claim with everything archived")
    world.check(world.balance(RECIPIENT) == received + 5 * XLM, "the recipient was paid")
    lock = world.locked(b"a" * 32)
    world.call("claim", lock, B(b"a" * 32), note="claim after restoring")


def play(world: World) -> None:
    """Play the whole matrix."""
    world.begin()
    for part in (
        _claims, _refunds, _agreed_refunds, _paid_claims, _bad_locks, _authorisations, _accounts,
        _footprints, _lives,
    ):  # fmt: skip
        part(world)
