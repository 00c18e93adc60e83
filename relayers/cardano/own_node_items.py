"""Single transactions as Ogmios and Kupo together show them, in our terms. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from bridge.chains.endpoints.answers import Answer, EndpointError
from bridge.protocol.types import BlockRef, TxId
from relayers.cardano.chain_view import HtlcTx, Output, SpentOutput
from relayers.cardano.kupo import Match
from relayers.cardano.ogmios_tx import ShownTx

_UNREADABLE = "what Ogmios shows of it has an unknown form"


def read_tx(
    tx_id: TxId, block: BlockRef, spent: Sequence[Match], made: tuple[Output, ...], shown: ShownTx | None
) -> HtlcTx:
    """Return a transaction from what Kupo and Ogmios show of it."""
    inputs = tuple(_spent(match, shown) for match in sorted(spent, key=lambda match: match.output.ref))
    if shown is None:
        return HtlcTx(tx_id, block, inputs, made, unreadable=_UNREADABLE)
    return HtlcTx(tx_id, block, inputs, made, shown.start, shown.signers, shown.shown)


def failed_tx(tx_id: TxId, block: BlockRef, shown: ShownTx | None) -> HtlcTx:
    """Return a transaction that only lost its collateral: whatever it shows may open a lock that it named."""
    if shown is None:
        return HtlcTx(tx_id, block, (), (), failed=True, unreadable=_UNREADABLE)
    return HtlcTx(tx_id, block, (), (), shown.start, shown.signers, shown.shown, failed=True)


def _spent(match: Match, shown: ShownTx | None) -> SpentOutput:
    """Return a spent output with its redeemer: the one that the node shows for it, or Kupo's where the node's
    cannot be read."""
    if shown is not None:
        return SpentOutput(match.output, shown.redeemers.get(match.output.ref, ()))
    redeemer = None if match.spent_at is None else match.spent_at.redeemer
    try:
        return SpentOutput(match.output, () if redeemer is None else (bytes.fromhex(redeemer),))
    except ValueError as error:
        raise EndpointError(
            "Kupo shows a redeemer that is not hex", "is this Kupo?", kind=Answer.WRONG
        ) from error
