"""What the API looks up on chains for users: ready transactions for their wallets, and whether a recipient
can be paid at all. Nothing here keeps money safe; where a chain does not answer, less is offered."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from bridge.chains.errors import ActionRefusedError, BadAddressError, CannotReceiveError, PortError
from bridge.chains.port import ChecksReceivers, UnsignedTx, WalletBuilder
from bridge.desk.chain_queries import Asking
from bridge.desk.orders import KeylessPort
from bridge.desk.refused import Reason, RefusedError
from bridge.protocol.types import Asset, ChainId, LockTerms, Preimage, Purpose

log = structlog.get_logger("rainbow.api")


class Paperwork:
    """Makes transactions for wallets, and looks at recipients."""

    def __init__(
        self, ports: Mapping[ChainId, KeylessPort], builders: Mapping[ChainId, WalletBuilder], asking: Asking
    ) -> None:
        self._ports = ports
        self._builders = builders
        self._asking = asking

    async def transaction(
        self, purpose: Purpose, terms: LockTerms, preimage: Preimage | None = None
    ) -> UnsignedTx:
        """Return a transaction for the user's wallet: ready to sign where the chain answers and the purpose
        needs no secret of the user's, else what the terms alone say. Raises `RefusedError`."""
        builder = self._builders.get(terms.chain)
        if builder is not None and purpose not in builder.private:
            try:
                return await self._asking.ask(terms.chain, lambda: builder.unsigned(purpose, terms, preimage))
            except PortError as error:
                # No money at the address yet, say, or a node that is down: the plain form will do for now.
                log.info("not_ready_to_sign", chain=terms.chain, purpose=purpose, why=str(error))
            except Exception as error:
                # A mistake in an adapter. The swap is placed already: its user must get its id.
                kind = type(error).__name__
                log.error("builder_broke", chain=terms.chain, purpose=purpose, error=kind)
        try:
            return self._ports[terms.chain].unsigned(purpose, terms, preimage)
        except ActionRefusedError as error:
            raise RefusedError(Reason.WRONG_STATE, str(error), error.hint or "ask the operator") from None

    async def require_receiver(self, asset: Asset, recipient: str) -> None:
        """Make sure, before anything is locked, that an address can be paid in an asset, on chains where that
        needs its holder's consent or where not every address can be paid. Raises `RefusedError`."""
        port = self._ports[asset.chain]
        try:
            if isinstance(port, ChecksReceivers):
                checker, receiver = port, port.parse_address(recipient)
                await self._asking.ask(asset.chain, lambda: checker.check_receiver(receiver, asset))
            elif asset.contract and port.traits.needs_consent:
                address = port.parse_address(recipient)
                await self._asking.ask(asset.chain, lambda: port.balance(address, asset))
        except (BadAddressError, CannotReceiveError) as error:
            raise RefusedError(Reason.BAD_ADDRESS, f"recipient: {error}", error.hint) from None
        except PortError as error:
            raise RefusedError(
                Reason.CHAIN_UNAVAILABLE,
                f"{asset.chain} cannot be asked about the recipient now: {error}",
                "try again soon",
                5,
            ) from None
