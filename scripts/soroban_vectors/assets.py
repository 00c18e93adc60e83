"""Issued assets: limits, missing trustlines, issuers that forbid, freeze, claw back; issuers as parties."""

from __future__ import annotations

from stellar_sdk import Asset, scval, xdr

from scripts.soroban_vectors.world import (
    I128,
    ISSUER,
    RECIPIENT,
    SENDER,
    STRANGER,
    XLM,
    A,
    B,
    World,
    contract_error,
)

REQUIRED, REVOCABLE, CLAWBACK = 1, 2, 8
AUTHORIZED, MAINTAIN, LINE_CLAWBACK = 1, 2, 4
NO_LINE, BALANCE, FROZEN, OVERFLOW = 13, 10, 11, 12
SHORT, LONG, GUARDED = (
    Asset("USD", ISSUER.public_key),
    Asset("LONGERCODE", ISSUER.public_key),
    Asset("GRD", ISSUER.public_key),
)


def _plain(world: World, asset: Asset) -> None:
    contract = world.deploy_asset(asset)
    world.put_line(SENDER, asset, 1_000 * XLM)
    lock = world.locked(b"1", asset=contract)
    world.check(world.line_balance(SENDER, asset) == 995 * XLM, "the sender paid")
    world.refuse(contract_error(NO_LINE), "claim", lock, B(b"1"), note="claim without a trustline")
    world.put_line(RECIPIENT, asset, 0, limit=5 * XLM - 1)
    world.refuse(contract_error(BALANCE), "claim", lock, B(b"1"), note="claim over the limit")
    world.put_line(RECIPIENT, asset, 0, flags=0)
    world.refuse(contract_error(FROZEN), "claim", lock, B(b"1"), note="claim without authorisation")
    world.put_line(RECIPIENT, asset, 0, flags=MAINTAIN)
    world.refuse(contract_error(FROZEN), "claim", lock, B(b"1"), note="claim with liabilities only")
    world.put_line(RECIPIENT, asset, 0)
    world.call("claim", lock, B(b"1"), note="claim of an issued asset")
    world.check(world.line_balance(RECIPIENT, asset) == 5 * XLM, "the recipient was paid")
    lock = world.locked(b"2", asset=contract)
    world.time += 3_600
    world.call("refund", lock, note="refund of an issued asset")
    lock = world.locked(b"3", asset=contract)
    fee = (I128(7), A(STRANGER.public_key))
    world.refuse(
        contract_error(NO_LINE),
        "claim_for",
        lock,
        B(b"3"),
        *fee,
        signers=[RECIPIENT],
        note="claim_for without a trustline for the fee",
    )
    world.put_line(STRANGER, asset, 0)
    world.call("claim_for", lock, B(b"3"), *fee, signers=[RECIPIENT], note="claim_for of an issued asset")
    world.refuse(
        contract_error(BALANCE),
        "lock",
        *world.terms(b"4", asset=contract, amount=10**12),
        signers=[SENDER],
        note="lock of more than the trustline holds",
    )
    world.refuse(
        contract_error(OVERFLOW),
        "lock",
        *world.terms(b"4", asset=contract, amount=2**70),
        signers=[SENDER],
        note="lock of more than an i64",
    )
    # The issuer locks (mints) and receives (burns).
    own = world.terms(b"5", asset=contract, sender=ISSUER.public_key)
    lock = world.call("lock", *own, signers=[ISSUER], note="lock by the issuer")
    world.call("claim", lock, B(b"5"), note="claim of what the issuer locked")
    lock = world.locked(b"6", asset=contract, recipient=ISSUER.public_key)
    world.call("claim", lock, B(b"6"), note="claim by the issuer")


def _issuer_call(world: World, contract: str, function: str, *arguments: xdr.SCVal) -> None:
    world.call(function, *arguments, contract=contract, source=ISSUER, note=f"issuer: {function}")


def _guarded(world: World) -> None:
    """An issuer that may do everything: the contract must be authorised, can be frozen and clawed back."""
    world.put_account(ISSUER, 1_000 * XLM, REQUIRED | REVOCABLE | CLAWBACK)
    contract = world.deploy_asset(GUARDED)
    yes, no = scval.to_bool(True), scval.to_bool(False)
    htlc = A(world.contract)
    for key in (SENDER, RECIPIENT):
        world.put_line(key, GUARDED, 1_000 * XLM, flags=AUTHORIZED | LINE_CLAWBACK)
    terms = world.terms(b"1", asset=contract)
    world.refuse(
        contract_error(FROZEN),
        "lock",
        *terms,
        signers=[SENDER],
        note="lock while the contract is not authorised",
    )
    _issuer_call(world, contract, "set_authorized", htlc, yes)
    lock = world.locked(b"1", asset=contract)
    _issuer_call(world, contract, "set_authorized", htlc, no)
    world.refuse(contract_error(FROZEN), "claim", lock, B(b"1"), note="claim of a frozen lock")
    world.refuse(
        contract_error(FROZEN), "refund_coop", lock, signers=[RECIPIENT], note="refund of a frozen lock"
    )
    world.refuse(
        contract_error(FROZEN),
        "lock",
        *world.terms(b"x", asset=contract),
        signers=[SENDER],
        note="lock of a frozen asset",
    )
    _issuer_call(world, contract, "set_authorized", htlc, yes)
    world.call("claim", lock, B(b"1"), note="claim once it is not frozen any more")
    # One clawback, and the last of two locks cannot be paid.
    first = world.locked(b"2", asset=contract)
    second = world.locked(b"3", asset=contract)
    _issuer_call(world, contract, "clawback", htlc, I128(1))
    world.call("claim", first, B(b"2"), note="claim of the first after a clawback")
    world.refuse(contract_error(BALANCE), "claim", second, B(b"3"), note="claim of the last after a clawback")
    _issuer_call(world, contract, "mint", htlc, I128(1))
    world.call("claim", second, B(b"3"), note="claim of the last once it is made up for")
    # The recipient's trustline is frozen.
    lock = world.locked(b"4", asset=contract)
    _issuer_call(world, contract, "set_authorized", A(RECIPIENT.public_key), no)
    world.refuse(contract_error(FROZEN), "claim", lock, B(b"4"), note="claim for a frozen recipient")
    world.time += 3_600
    world.call("refund", lock, note="refund while the recipient is frozen")
    # Only the administrator may; and XLM has none.
    world.refuse(
        "Error(Auth", "set_authorized", htlc, no, contract=contract, auth=[], note="freeze by a stranger"
    )
    world.refuse(
        "Error(Auth", "clawback", htlc, I128(0), contract=contract, auth=[], note="clawback by a stranger"
    )
    world.refuse("Error(", "set_authorized", htlc, no, contract=world.xlm, note="freeze of XLM")
    world.refuse("Error(", "clawback", htlc, I128(1), contract=world.xlm, note="clawback of XLM")
    _issuer_call(world, contract, "set_authorized", A(RECIPIENT.public_key), yes)
    world.put_account(ISSUER, 1_000 * XLM, 0)
    lock = world.locked(b"5", asset=contract)
    world.refuse(
        contract_error(2),
        "set_authorized",
        htlc,
        no,
        contract=contract,
        source=ISSUER,
        note="freeze without the flag",
    )
    world.call("claim", lock, B(b"5"), note="claim of an asset whose issuer gave up its powers")


def _trust(world: World) -> None:
    """CAP-73: the asset's contract makes a trustline that its owner authorises."""
    asset = Asset("TRST", ISSUER.public_key)
    contract = world.deploy_asset(asset)
    world.refuse(
        "Error(Auth", "trust", A(RECIPIENT.public_key), contract=contract, auth=[], note="trust for another"
    )
    world.call("trust", A(RECIPIENT.public_key), contract=contract, signers=[RECIPIENT], note="trust")
    world.call("trust", A(RECIPIENT.public_key), contract=contract, signers=[RECIPIENT], note="trust again")
    world.call("trust", A(world.contract), contract=contract, note="trust of a contract")
    world.refuse(contract_error(2), "trust", A(RECIPIENT.public_key), contract=world.xlm, note="trust of XLM")


def _views(world: World) -> None:
    contract = world.deploy_asset(Asset("VIEW", ISSUER.public_key))
    for each in (contract, world.xlm):
        for view in ("name", "symbol", "decimals"):
            world.call(view, contract=each, note=f"asset: {view}")
    world.call("admin", contract=contract, note="asset: admin")
    world.call("balance", A(SENDER.public_key), contract=world.xlm, note="asset: balance")
    world.call("balance", A(world.contract), contract=world.xlm, note="asset: balance of a contract")
    world.refuse(
        contract_error(NO_LINE),
        "balance",
        A(SENDER.public_key),
        contract=contract,
        note="balance without trustline",
    )
    world.call("balance", A(ISSUER.public_key), contract=contract, note="asset: balance of the issuer")
    world.refuse("Error(Value, InvalidInput)", "fly", contract=world.xlm, note="no such function of an asset")
    world.refuse("Error(", "balance", contract=world.xlm, note="balance of nobody")


def play(world: World) -> None:
    """Play everything with issued assets."""
    world.begin()
    _plain(world, SHORT)
    _plain(world, LONG)
    _guarded(world)
    _trust(world)
    _views(world)
