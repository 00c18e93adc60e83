"""Where a transaction is, by the word of two endpoints: the same for every chain."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from bridge.chains.endpoints.agreement import Agreed
from bridge.chains.endpoints.pool import ClientT, Pool
from bridge.chains.port import TxState, TxStatus


async def agreed_status(
    pool: Pool[ClientT], look: Callable[[ClientT], Awaitable[TxStatus]], moved: type[Exception]
) -> TxStatus:
    """Return where two endpoints say that a transaction is; UNSURE if they do not say the same.

    They must name the same block. How deep it lies they may tell differently, for their heads differ: the
    smaller number counts, so that one that lies makes nothing final. See `Pool.agree`.
    """
    said = await pool.agree(
        look,
        key=lambda status: (status.state, status.block),
        moved=moved,
        depth=lambda status: status.confirmations,
    )
    return said.answer if isinstance(said, Agreed) else TxStatus(TxState.UNSURE, reason=said.reason)
