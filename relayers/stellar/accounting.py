"""Who holds what on Stellar and what was paid in fees, read from its RPC: for audits to the last stroop."""

from __future__ import annotations

from collections.abc import Mapping

from stellar_sdk import StrKey, scval, xdr

from bridge.chains.endpoints.json_rpc import OneEndpoint
from bridge.chains.family import LOCKS
from bridge.protocol.types import Address, Amount, Asset, BlockHeight
from relayers.stellar import assets, receivers
from relayers.stellar.accounts import read_holder
from relayers.stellar.assets import is_token
from relayers.stellar.ledgers import ChainMovedError, read_ledgers, read_transactions
from relayers.stellar.reading import inner_envelope
from relayers.stellar.rpc import open_rpc
from relayers.stellar.settings import StellarSettings
from relayers.stellar.simulation import view

_TIMEOUT = 30.0
"""Seconds for one request: whole histories are read."""


class StellarLedger:
    """A network as an auditor sees it. Only for networks small enough to be read whole."""

    def __init__(self, settings: StellarSettings) -> None:
        self._rpc = open_rpc(settings.rpc_urls, _TIMEOUT, settings.chain)
        self._settings = settings

    async def close(self) -> None:
        """Close the connections."""
        await self._rpc.close()

    async def holdings(self, accounts: Mapping[str, Address], asset: Asset) -> dict[str, Amount]:
        """Return what each account (owner → address) holds of an asset, its reserves included, and what the
        contract holds for all locks; stroops."""

        async def look(one: OneEndpoint) -> dict[str, Amount]:
            held: dict[str, Amount] = {}
            for owner, address in accounts.items():
                if is_token(asset):
                    held[owner] = Amount(await receivers.held(one, address, asset, self._settings))
                    continue
                holder = await read_holder(one, address, asset)
                if asset.contract:
                    amount = 0 if holder.line is None else holder.line.balance.int64
                else:
                    amount = 0 if holder.account is None else holder.account.balance.int64
                held[owner] = Amount(int(amount))
            passphrase, ours = self._settings.passphrase, self._settings.contract
            token = assets.token_address(asset.contract, passphrase)
            locked = await view(one, token, "balance", [scval.to_address(ours)], passphrase)
            held[LOCKS] = Amount(0 if locked.value is None else scval.from_int128(locked.value))
            return held

        return await self._rpc.pinned(look)

    async def fees_paid(self, payers: set[Address], first: BlockHeight, last: BlockHeight) -> Amount:
        """Return the stroops that `payers` paid in fees in ledgers `first` to `last`, both included; failed
        transactions pay too."""

        async def look(one: OneEndpoint) -> int:
            ledgers = await read_ledgers(one, first, last)
            transactions = await read_transactions(one, ledgers, self._settings.passphrase)
            if len(transactions) != len(ledgers):
                raise ChainMovedError
            paid = 0
            for each in (each for applied in transactions for each in applied):
                envelope = xdr.TransactionEnvelope.from_xdr_bytes(each.envelope)
                if _payer(envelope) in payers:
                    paid += int(xdr.TransactionResult.from_xdr_bytes(each.result).fee_charged.int64)
            return paid

        return Amount(await self._rpc.reread(look, ChainMovedError))


def _payer(envelope: xdr.TransactionEnvelope) -> str:
    inner = inner_envelope(envelope)
    source = envelope.fee_bump.tx.fee_source if envelope.fee_bump is not None else None
    if source is None and inner is not None:
        source = inner.tx.source_account
    if source is None:
        return ""
    key = source.ed25519 or (source.med25519.ed25519 if source.med25519 is not None else None)
    return "" if key is None else StrKey.encode_ed25519_public_key(key.uint256)
