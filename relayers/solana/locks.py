"""What has become of a lock: from its vault, which stands or does not, and from the vault's transactions."""

from __future__ import annotations

import base64

from solders.pubkey import Pubkey

from bridge.chains.endpoints.json_rpc import MAX_BATCH, JsonRpc, RpcError
from bridge.chains.errors import PortUnavailableError
from bridge.chains.port import LockStatus
from relayers.solana import blocks, program
from relayers.solana.cluster import Cluster
from relayers.solana.program import ClaimCall, RefundCall, VaultTerms


class Locks:
    """Reads the locks of one program back from the chain. All raise `PortUnavailableError`."""

    def __init__(self, rpc: JsonRpc, cluster: Cluster, of_program: Pubkey) -> None:
        self._rpc = rpc
        self._cluster = cluster
        self._program = of_program

    async def status(self, terms: VaultTerms) -> LockStatus:
        """Tell what became of the lock with these terms.

        SPENT: it was made and is gone, but the index of transactions does not know yet by which.
        """
        # The vault before its history: what is spent between the two must not look absent.
        if await self.stands(terms):
            return LockStatus.OPEN
        newest = await self._newest_call(program.vault_address(self._program, terms)[0])
        if isinstance(newest, ClaimCall):
            return LockStatus.CLAIMED
        if isinstance(newest, RefundCall):
            return LockStatus.REFUNDED
        if newest is None:
            return LockStatus.ABSENT
        return LockStatus.OPEN if await self.stands(terms) else LockStatus.SPENT

    async def stands(self, terms: VaultTerms) -> bool:
        """Tell whether the lock with these terms can be spent now."""
        found = await self._cluster.account(program.vault_address(self._program, terms)[0])
        if found is None or found["owner"] != str(self._program):
            return False
        return program.read_vault(base64.b64decode(found["data"][0])) == terms

    async def _newest_call(self, vault: Pubkey) -> program.Call | None:
        """Return what the newest transaction of a vault that succeeded did with it."""
        index = blocks.AddressIndex(self._rpc, str(vault))
        try:
            entries = await index.between(self._cluster.floor, 0, 2**63)
            tx_ids = [entry["signature"] for entry in reversed(entries) if entry["err"] is None]
            # Anybody may send the vault a lamport a thousand times: many are read at once.
            for start in range(0, len(tx_ids), MAX_BATCH):
                page = tx_ids[start : start + MAX_BATCH]
                for executed in await blocks.read_calls(self._rpc, self._program, page):
                    own = [call for call in executed.calls if call.vault == vault]
                    if own:
                        return own[-1]
        except blocks.ChainMovedError:
            raise PortUnavailableError("a transaction of the vault cannot be read", "try again") from None
        except RpcError as error:
            raise PortUnavailableError(
                f"the Solana RPC gave no history: {error}", "use another one"
            ) from None
        return None
