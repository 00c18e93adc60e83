"""Simulating a contract call: what it would return, use and cost, and what the contract would refuse.

An endpoint's simulation proves nothing about the chain: it decides only whether we sign, and what we ask for.
Its event log repeats the arguments, a preimage too: nothing of it is repeated in messages.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence

import msgspec
from stellar_sdk import Transaction, TransactionEnvelope, xdr
from stellar_sdk.operation import Operation

from bridge.chains.endpoints.answers import Answer, EndpointError
from bridge.chains.endpoints.json_rpc import OneEndpoint
from bridge.chains.errors import ActionRefusedError
from relayers.stellar import contract
from relayers.stellar.contract import ContractError
from relayers.stellar.rpc import ask

NOBODY = "GAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAWHF"
"""The key of 32 zeros: the source of calls that are only looked at (stellar-sdk names it `NULL_ACCOUNT`)."""

_WORDS = {
    ContractError.LOCK_EXISTS: "a lock with these terms stands already",
    ContractError.NO_LOCK: "no lock with these terms stands",
    ContractError.BAD_PREIMAGE: "the preimage does not open the hashlock",
    ContractError.TOO_EARLY: "the deadline has not come yet",
    ContractError.BAD_DEADLINE: "the deadline has passed",
    ContractError.BAD_TOKEN: "the token keeps a part of what it moves",
}
_ERROR = re.compile(r"Error\((\w+), #?(\w+)\)")


class Simulated(msgspec.Struct, frozen=True):
    """What a call would do: its value, its resources with what is to be restored, the fee for them (stroops)
    and the ledger that it was looked at."""

    value: xdr.SCVal | None
    data: xdr.SorobanTransactionData
    fee: int
    ledger: int


async def simulate(
    one: OneEndpoint,
    source: str,
    operation: Operation,
    passphrase: str,
    data: xdr.SorobanTransactionData | None = None,
) -> Simulated:
    """Simulate one operation. Raises `ActionRefusedError` when the contract would fail, `EndpointError`."""
    transaction = Transaction(source, 1, 100, [operation], soroban_data=data)
    envelope = TransactionEnvelope(transaction, passphrase)
    answer = await ask(one, "simulateTransaction", transaction=envelope.to_xdr())
    error = answer.get("error")
    if error:
        found = _ERROR.search(str(error)) if str(error).startswith("HostError") else None
        if found is None:
            # What goes wrong inside the node is told in the same place.
            raise EndpointError(f"{one.name} could not simulate a call", "try again, or use another endpoint")
        raise ActionRefusedError(_explained(*found.groups()), "look at the lock, the clock and the balances")
    if answer.get("restorePreamble"):
        raise EndpointError(
            f"{one.name} does not restore entries within a call",
            "it is older than protocol 23: use another endpoint",
            kind=Answer.PERMANENT,
        )
    results = answer.get("results") or [{}]
    value = results[0].get("xdr")
    return Simulated(
        xdr.SCVal.from_xdr_bytes(base64.b64decode(value)) if value else None,
        xdr.SorobanTransactionData.from_xdr_bytes(base64.b64decode(answer["transactionData"])),
        int(answer["minResourceFee"]),
        int(answer["latestLedger"]),
    )


async def view(
    one: OneEndpoint, called: str, function: str, arguments: Sequence[xdr.SCVal], passphrase: str
) -> Simulated:
    """Return what a function of a contract returns now. Archived entries count as they stood."""
    return await simulate(one, NOBODY, contract.call(called, function, arguments), passphrase)


def _explained(kind: str, code: str) -> str:
    if kind == "Contract" and code.isdigit():
        number = int(code)
        try:
            words = _WORDS.get(ContractError(number), ContractError(number).name)
        except ValueError:
            words = "an error of the token"
        # Asset contracts number their errors too, from 1 on: what we cannot tell apart, we say.
        return f"the contract would refuse this: {words} (error {number} of it or of the token)"
    return f"the ledger would refuse this: {kind} {code}"
