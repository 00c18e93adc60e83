"""Preimages, sealed with a key that the database never sees, and what recipients signed for their claims."""

from __future__ import annotations

from nacl.exceptions import CryptoError
from nacl.secret import SecretBox
from sqlalchemy import Connection, select, update

from bridge.protocol.types import Preimage, SwapId
from bridge.store.errors import SecretsLockedError, StoreError
from bridge.store.repositories.base import Repository
from bridge.store.tables import ClaimAuthorizationRow, SecretRow, table_of

_secrets = table_of(SecretRow)
_authorizations = table_of(ClaimAuthorizationRow)


class Secrets(Repository):
    """hashlock → preimage, XSalsa20-Poly1305 (libsodium's SecretBox) at rest."""

    def __init__(self, connection: Connection, now_ms: int, box: SecretBox | None) -> None:
        super().__init__(connection, now_ms)
        self._box = box

    def _opened(self) -> SecretBox:
        if self._box is None:
            raise SecretsLockedError(
                "the store was opened without its secrets key", "give Store.open the 32-byte secrets key"
            )
        return self._box

    def put(self, preimage: Preimage) -> None:
        """Store a preimage under its hashlock; a second time changes nothing."""
        box = self._opened()
        hashlock = preimage.hashlock().hex()
        if self._first(select(_secrets.c.hashlock).where(_secrets.c.hashlock == hashlock)):
            return
        sealed = bytes(box.encrypt(preimage.reveal()))
        values = {"hashlock": hashlock, "sealed": sealed, "created_ms": self.now_ms}
        self._insert(_secrets, values, "secret")

    def known(self, hashlock: bytes) -> bool:
        """Tell whether the preimage is stored; needs no key."""
        return (
            self._first(select(_secrets.c.hashlock).where(_secrets.c.hashlock == hashlock.hex())) is not None
        )

    def get(self, hashlock: bytes) -> Preimage | None:
        """Return the preimage. Raises `StoreError` if it was sealed with another key or does not fit."""
        row = self._first(select(_secrets.c.sealed).where(_secrets.c.hashlock == hashlock.hex()))
        if row is None:
            return None
        try:
            preimage = Preimage(self._opened().decrypt(row.sealed))
        except CryptoError as error:
            hint = "open the store with the key that sealed it"
            raise StoreError("a stored secret was sealed with another key", hint) from error
        if not preimage.opens(hashlock):
            raise StoreError(
                "a stored secret does not open its hashlock", "restore the database from a backup"
            )
        return preimage


class ClaimAuthorizations(Repository):
    """swap → what its recipient signed so that we may claim for them. Worthless without the preimage."""

    def put(self, swap_id: SwapId, body: bytes) -> None:
        """Store what was signed; a later one replaces it, since an older one may have expired."""
        values = {"body": body, "created_ms": self.now_ms}
        if not self._run(
            update(_authorizations).where(_authorizations.c.swap_id == swap_id).values(**values)
        ):
            self._insert(_authorizations, {"swap_id": swap_id, **values}, "claim authorization")

    def get(self, swap_id: SwapId) -> bytes:
        """Return what was signed, b"" if nothing was."""
        row = self._first(select(_authorizations.c.body).where(_authorizations.c.swap_id == swap_id))
        return bytes(row.body) if row else b""
