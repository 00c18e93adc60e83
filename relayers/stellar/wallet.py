"""For users' wallets: contract calls ready to sign, as XDR and SEP-7 links.

`draft` is pure: the call alone, which every SDK and the Stellar CLI can make a transaction of.
`StellarWallet` makes the transaction, from an RPC of the user's own choice: simulated, with its resources and
sequence. The user is its source, and so its signature is the authorisation.
"""

from __future__ import annotations

import msgspec
from stellar_sdk import (
    InvokeHostFunction,
    Preconditions,
    TimeBounds,
    Transaction,
    TransactionEnvelope,
)

from bridge.chains.endpoints.json_rpc import OneEndpoint
from bridge.chains.errors import ActionRefusedError, CannotReceiveError
from bridge.chains.port import FeeLevel, UnsignedTx
from bridge.protocol.types import LockTerms, Preimage, Purpose
from relayers.stellar import contract, fees
from relayers.stellar.accounts import read_holder
from relayers.stellar.assets import is_contract, shown
from relayers.stellar.identity import identify
from relayers.stellar.ledgers import ANCESTRY, ChainMovedError, read_tip
from relayers.stellar.links import sep7
from relayers.stellar.locks import Locks
from relayers.stellar.policy import check_asset
from relayers.stellar.receivers import check_receiver
from relayers.stellar.rpc import ask, open_rpc
from relayers.stellar.settings import StellarSettings
from relayers.stellar.simulation import simulate

CALL_FORMAT = "stellar-contract-call"
"""A call of our contract, to be simulated and made a transaction of: function and arguments (XDR, base64)."""
XDR_FORMAT = "stellar-xdr"
"""Sign the XDR, or open the SEP-7 link."""
_VALIDITY = 300
"""Seconds for which a transaction may be signed and sent."""


class Call(msgspec.Struct, frozen=True):
    """What a wallet is to do: the operation, who signs and pays, and what it is, for people."""

    operation: InvokeHostFunction
    source: str
    summary: str


def call_of(purpose: Purpose, terms: LockTerms, preimage: Preimage | None, settings: StellarSettings) -> Call:
    """Return the call of a LOCK or REFUND by the sender, or a CLAIM by the recipient (though anybody may send
    the last two). Raises `ActionRefusedError` for anything else and for a preimage that does not fit."""
    contract.check(terms, settings)
    amount = shown(terms.amount, terms.asset)
    if purpose is Purpose.LOCK:
        operation = contract.lock_call(terms, settings.passphrase)
        return Call(operation, terms.sender, f"Lock {amount} for {terms.recipient}.")
    if purpose is Purpose.CLAIM and preimage is not None:
        if not preimage.opens(terms.hashlock):
            raise ActionRefusedError("the preimage does not open the hashlock", "wait for the right one")
        operation = contract.claim_call(terms, preimage, settings.passphrase)
        return Call(operation, terms.recipient, f"Claim {amount} for {terms.recipient}.")
    if purpose is Purpose.REFUND:
        operation = contract.refund_call(terms, settings.passphrase)
        return Call(
            operation,
            terms.sender,
            f"Give {amount} back to {terms.sender}, from Unix time {terms.deadline} on.",
        )
    raise ActionRefusedError(
        f"a wallet cannot do {purpose.value} on Stellar", "only lock, claim with the preimage, refund"
    )


def draft(
    purpose: Purpose, terms: LockTerms, preimage: Preimage | None, settings: StellarSettings
) -> UnsignedTx:
    """Return the call for a wallet that makes its own transactions. A preimage that was given is in it."""
    made = call_of(purpose, terms, preimage, settings)
    payload = _payload(made, purpose, terms, settings)
    return UnsignedTx(CALL_FORMAT, made.summary, payload)


def _payload(made: Call, purpose: Purpose, terms: LockTerms, settings: StellarSettings) -> dict[str, object]:
    invocation = made.operation.host_function.invoke_contract
    if invocation is None:
        raise ActionRefusedError("this calls no contract", "an operator must look")
    return {
        "kind": CALL_FORMAT,
        "purpose": purpose.value,
        "network_passphrase": settings.passphrase,
        "source": made.source,
        "contract": terms.contract,
        "function": invocation.function_name.sc_symbol.decode(),
        "arguments": [argument.to_xdr() for argument in invocation.args],
        "lock_id": contract.lock_id(terms, settings.passphrase),
        "operation": made.operation.to_xdr_object().to_xdr(),
    }


class StellarWallet:
    """Builds a user's transactions from an RPC of their own choice."""

    private: frozenset[Purpose] = frozenset()

    def __init__(self, settings: StellarSettings) -> None:
        self._settings = settings
        self._rpc = open_rpc(
            settings.rpc_urls,
            settings.request_timeout,
            settings.chain,
            identify=lambda one: identify(one, settings),
            ancestry=ANCESTRY,
        )

    def __repr__(self) -> str:
        return f"StellarWallet({self._settings!r})"

    async def close(self) -> None:
        """Close the connections."""
        await self._rpc.close()

    async def unsigned(
        self, purpose: Purpose, terms: LockTerms, preimage: Preimage | None = None
    ) -> UnsignedTx:
        """Return a LOCK, CLAIM or REFUND ready for the signature of the user's own wallet: XDR with resources
        and sequence, and a SEP-7 link. It can be sent for five minutes.

        A claim is simulated, so the RPC sees the preimage; it would see it a moment later anyway, and nobody
        but the recipient is paid with it. Raises `ActionRefusedError`, `PortUnavailableError`.
        """
        made = call_of(purpose, terms, preimage, self._settings)
        return await self._rpc.reread(lambda one: self._ready(one, made, purpose, terms), ChainMovedError)

    async def _ready(self, one: OneEndpoint, made: Call, purpose: Purpose, terms: LockTerms) -> UnsignedTx:
        if is_contract(made.source):
            raise ActionRefusedError(
                f"{made.source} is a contract: it cannot be the source of a transaction",
                "its own wallet makes one of the call, and signs the call's authorisation"
                if purpose is Purpose.LOCK
                else "anybody may send the call",
            )
        holder = await read_holder(one, made.source)
        if holder.sequence is None:
            raise ActionRefusedError(
                f"the account {made.source} does not exist",
                "fund it with a few XLM first; a claim for it can be sent by anybody, the bridge too",
            )
        if purpose is Purpose.LOCK:
            await check_asset(one, terms.asset, self._settings)
            try:
                await check_receiver(one, terms.recipient, terms.asset, terms.amount, self._settings)
            except CannotReceiveError as error:
                raise ActionRefusedError(str(error), error.hint) from error
            if (await Locks(one, self._settings).stands(terms))[0]:
                raise ActionRefusedError("a lock with these terms stands already", "nothing is to be done")
        tip, _ = await read_tip(one)
        caps = self._settings.caps
        simulated = await simulate(one, made.source, made.operation, self._settings.passphrase)
        data = fees.with_headroom(simulated, caps)
        market = fees.read_market(await ask(one, "getFeeStats"), caps, contract_call=True)
        fee = fees.rate(market, FeeLevel(), caps) + int(data.resource_fee.int64)
        transaction = Transaction(
            made.source,
            holder.sequence + 1,
            fee,
            [made.operation],
            preconditions=Preconditions(TimeBounds(0, tip.time + _VALIDITY)),
            soroban_data=data,
        )
        envelope = TransactionEnvelope(transaction, self._settings.passphrase)
        payload = _payload(made, purpose, terms, self._settings) | {
            "kind": XDR_FORMAT,
            "xdr": envelope.to_xdr(),
            "sep7": sep7(envelope, made.source, made.summary),
        }
        return UnsignedTx(XDR_FORMAT, f"{made.summary} Sign it within five minutes.", payload)
