"""Who holds what on Cardano and what was paid in fees, read from the service: for audits to the last unit."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

from pycardano import Transaction

from bridge.chains.errors import PortUnavailableError
from bridge.chains.family import LOCKS
from bridge.protocol.types import Address, Amount, Asset, BlockHeight, TxId
from relayers.cardano.blockfrost import Blockfrost
from relayers.cardano.blockfrost_wire import WireOutput
from relayers.cardano.htlc import credential, key_hash
from relayers.cardano.settings import CardanoSettings


class CardanoLedger:
    """A network as an auditor sees it. Only for accounts whose history is small enough to be read whole."""

    def __init__(self, settings: CardanoSettings) -> None:
        self._blockfrost = Blockfrost(settings.blockfrost_url, settings.project_id, settings.timeout)

    async def close(self) -> None:
        """Close the connections."""
        await self._blockfrost.close()

    async def holdings(self, accounts: Mapping[str, Address], asset: Asset) -> dict[str, Amount]:
        """Return what each account (owner → address) holds of an asset and what lies in LOCKS, in smallest
        units, as of the newest block. An account's ada includes what its tokens bind and its collateral: both
        are its own outputs."""
        places = [*accounts.values(), credential()]
        found = await asyncio.gather(*(self._blockfrost.utxos(place) for place in places))
        held = {
            owner: Amount(sum(_holds(output, asset) for output in outputs))
            for owner, outputs in zip(accounts, found[:-1], strict=True)
        }
        # The validator put down for reference is at its address too, but no lock and nobody's.
        locks = [output for output in found[-1] if output.reference_script_hash is None]
        held[LOCKS] = Amount(sum(_holds(output, asset) for output in locks))
        return held

    async def fees_paid(self, payers: set[Address], first: BlockHeight, last: BlockHeight) -> Amount:
        """Return the lovelace that transactions signed by `payers` (addresses) cost in blocks `first` to
        `last`, both included: their fee, or the collateral where a script failed."""
        keys = {key_hash(address) for address in payers}
        touching = await asyncio.gather(
            *(self._blockfrost.transactions_at(address, first, last) for address in payers)
        )
        ids = sorted({tx.tx_hash for found in touching for tx in found})
        costs = await asyncio.gather(*(self._cost(tx_id, keys) for tx_id in ids))
        return Amount(sum(costs))

    async def _cost(self, tx_id: TxId, payers: Collection[bytes]) -> int:
        raw, place = await asyncio.gather(self._blockfrost.raw(tx_id), self._blockfrost.place(tx_id))
        if raw is None or place is None:
            raise PortUnavailableError("the chain moved while it was read", "read it again")
        tx = Transaction.from_cbor(raw)
        signers = {
            bytes(witness.vkey.hash().payload) for witness in tx.transaction_witness_set.vkey_witnesses or ()
        }
        if signers.isdisjoint(payers):
            return 0
        body = tx.transaction_body
        return int(body.fee if place.valid_contract else body.total_collateral or 0)


def _holds(output: WireOutput, asset: Asset) -> int:
    return output.tokens.get(asset.contract, 0) if asset.contract else output.lovelace
