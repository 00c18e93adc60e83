"""Tokens that lie or call back, and smart accounts as parties."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from stellar_sdk import scval, xdr

from relayers.stellar.devnet.entries import account_xdr
from scripts.build_soroban import ROOT, compile_wasm
from scripts.soroban_sections import custom_section, environment
from scripts.soroban_vectors.world import (
    I128,
    RECIPIENT,
    SENDER,
    STRANGER,
    XLM,
    A,
    B,
    World,
    contract_error,
    key_of,
)

SOURCES = ROOT / "contracts" / "stellar" / "test"
(
    HONEST,
    KEEPS_A_UNIT,
    MOVES_NOTHING,
    CALLS_BACK,
    BALANCE_IS_NO_NUMBER,
    FAILS,
    ADDS_A_UNIT,
    NEVER_ENDS,
    PAYS_OUT_LESS,
) = range(9)
BAD_TOKEN = 11


@cache
def compiled(name: str) -> bytes:
    """Return one of the tests' contracts."""
    return compile_wasm(Path(SOURCES) / f"{name}.c") + custom_section("contractenvmetav0", environment())


def _tokens(world: World) -> None:
    token = world.deploy(compiled("token"), b"\x01" * 32)

    def behave(how: int) -> None:
        world.call("behave", scval.to_uint32(how), contract=token, note="token: behave")

    world.call("mint", A(SENDER.public_key), I128(1_000 * XLM), contract=token, note="token: mint")
    lock = world.locked(b"1", asset=token)
    world.call("claim", lock, B(b"1"), note="claim of an honest token")
    for how in (KEEPS_A_UNIT, MOVES_NOTHING, ADDS_A_UNIT, BALANCE_IS_NO_NUMBER):
        behave(how)
        terms = world.terms(b"2", asset=token)
        world.refuse(contract_error(BAD_TOKEN), "lock", *terms, signers=[SENDER], note=f"lock of token {how}")
    behave(FAILS)
    terms = world.terms(b"2", asset=token)
    world.refuse(contract_error(77), "lock", *terms, signers=[SENDER], note="lock of a token that fails")
    behave(NEVER_ENDS)
    world.refuse(
        "Error(Budget, ExceededLimit)",
        "lock",
        *terms,
        signers=[SENDER],
        note="lock of a token that never ends",
    )
    # A token that fails when the lock is paid out: the lock stays.
    behave(HONEST)
    lock = world.locked(b"3", asset=token)
    behave(FAILS)
    world.refuse(contract_error(77), "claim", lock, B(b"3"), note="claim while the token fails")
    world.refuse(
        contract_error(77), "refund_coop", lock, signers=[RECIPIENT], note="refund while the token fails"
    )
    behave(HONEST)
    world.call("claim", lock, B(b"3"), note="claim once the token works")
    _call_backs(world, token, behave)


def _call_backs(world: World, token: str, behave) -> None:  # type: ignore[no-untyped-def]
    """In the middle of a transfer the token calls the contract, directly or through another token."""
    preimage = b"4"
    victim = world.locked(preimage)
    other = world.deploy(compiled("token"), b"\x02" * 32)
    world.call("mint", A(SENDER.public_key), I128(1_000 * XLM), contract=other, note="token: mint")
    lock = world.locked(b"5", asset=token)
    calls = {
        "claim": [victim, B(preimage)],
        "refund": [lock],
        "get": [lock],
        "lock": world.terms(b"6", asset=token),
    }
    for function, arguments in calls.items():
        armed = scval.to_vec([A(world.contract), scval.to_symbol(function), scval.to_vec(arguments)])
        behave(HONEST)
        world.call("arm", armed, contract=token, note="token: arm")
        behave(CALLS_BACK)
        terms = world.terms(b"7", asset=token)
        entered = "Error(Context, InvalidAction)"
        world.refuse(entered, "lock", *terms, signers=[SENDER], note=f"lock of a token that calls {function}")
        world.refuse(entered, "claim", lock, B(b"5"), note=f"claim of a token that calls {function}")
    # Calling something else is its own affair.
    harmless = scval.to_vec([A(other), scval.to_symbol("balance"), scval.to_vec([A(SENDER.public_key)])])
    world.call("arm", harmless, contract=token, note="token: arm")
    world.call("claim", lock, B(b"5"), note="claim of a token that calls another")
    itself = scval.to_vec([A(token), scval.to_symbol("balance"), scval.to_vec([A(SENDER.public_key)])])
    world.call("arm", itself, contract=token, note="token: arm")
    behave(HONEST)
    lock = world.locked(b"8", asset=token)
    behave(CALLS_BACK)
    world.refuse(
        "Error(Context, InvalidAction)", "claim", lock, B(b"8"), note="claim of a token that calls itself"
    )
    # It cannot move XLM in the sender's name: the sender signed the token's transfer only.
    theft = [A(SENDER.public_key), A(STRANGER.public_key), I128(XLM)]
    steal = scval.to_vec([A(world.xlm), scval.to_symbol("transfer"), scval.to_vec(theft)])
    behave(HONEST)
    world.call("arm", steal, contract=token, note="token: arm")
    honest = world.terms(b"9", asset=token)
    simulated = world.judge.record(
        world.invocation("lock", honest),
        account_xdr(STRANGER.raw_public_key()),
        None,
        world.sequence,
        world.time,
        "to sign",
    )
    signed = [world.sign(each, SENDER) for each in simulated.auth]
    behave(CALLS_BACK)
    world.refuse("Error(Auth", "lock", *honest, auth=signed, note="lock of a token that steals")


def _accounts(world: World) -> None:
    """A contract as sender and recipient: its own code checks the signatures."""
    signer = key_of("smart account")
    account = world.deploy(compiled("account"), b"\x03" * 32)
    world.call("init", B(signer.raw_public_key()), contract=account, note="account: init")
    funds = [A(SENDER.public_key), A(account), I128(100 * XLM)]
    world.call("transfer", *funds, contract=world.xlm, signers=[SENDER], note="XLM to a smart account")
    world.smart[account] = signer
    terms = world.terms(b"1", sender=account)
    world.refuse("Error(Auth", "lock", *terms, auth=[], note="lock without the smart account")
    world.smart[account] = key_of("another")
    world.refuse("Error(Auth", "lock", *terms, note="lock signed by another key")
    world.smart[account] = signer
    lock = world.call("lock", *terms, note="lock by a smart account")
    world.call("claim", lock, B(b"1"), note="claim of what a smart account locked")
    lock = world.locked(b"2", recipient=account)
    world.call("claim", lock, B(b"2"), note="claim for a smart account")
    lock = world.locked(b"3", recipient=account)
    world.refuse("Error(Auth", "refund_coop", lock, auth=[], note="refund_coop without the smart account")
    world.call("refund_coop", lock, note="refund_coop by a smart account")
    lock = world.locked(b"4", recipient=account)
    fee = (I128(9), A(STRANGER.public_key))
    world.call("claim_for", lock, B(b"4"), *fee, note="claim_for by a smart account")
    lock = world.locked(b"5", recipient=account)
    world.call("refund_coop", lock, upgraded=False, note="refund_coop by a smart account, ADDRESS")


def _muxed(world: World) -> None:
    """A muxed address can receive from an asset's contract, but cannot be a party of a lock."""
    kind = xdr.SCAddressType.SC_ADDRESS_TYPE_MUXED_ACCOUNT
    named = xdr.MuxedEd25519Account(xdr.Uint64(42), xdr.Uint256(RECIPIENT.raw_public_key()))
    muxed = xdr.SCVal(xdr.SCValType.SCV_ADDRESS, address=xdr.SCAddress(kind, muxed_account=named))
    sent = [A(SENDER.public_key), muxed, I128(XLM)]
    world.call("transfer", *sent, contract=world.xlm, signers=[SENDER], note="XLM to a muxed address")
    lock = world.locked(b"muxed")
    for payee in (muxed,):
        world.refuse(
            contract_error(1),
            "claim_for",
            lock,
            B(b"muxed"),
            I128(1),
            payee,
            signers=[RECIPIENT],
            note="claim_for with a muxed payee",
        )
    world.refuse("Error(", "balance", muxed, contract=world.xlm, note="balance of a muxed address")


def play(world: World) -> None:
    """Play everything with strange tokens and accounts."""
    world.begin()
    _tokens(world)
    _accounts(world)
    _muxed(world)
