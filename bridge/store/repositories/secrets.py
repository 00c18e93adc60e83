"""Preimages, sealed with a key that the database never sees, and what recipients signed for their claims."""

from __future__ import annotations

from nacl.exceptions import CryptoError
from nacl.secret import SecretBox
from sqlalchemy import Connection, select, update

from bridge.protocol.types import Preimage, SwapId
from bridge.store.errors import SecretsLockedError, UnreadableRowError
from bridge.store.repositories.base import Repository, log
from bridge.store.tables import ClaimAuthorizationRow, SecretRow, table_of

CANARY = Preimage(b"the canary of the storage key...")
"""Sealed like a secret, so that a wrong storage key shows before a secret is needed."""

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
        """Store a preimage under its hashlock; a second time changes nothing, unless what is stored cannot
        be read (sealed with another key, damaged): then it is replaced."""
        box = self._opened()
        hashlock = preimage.hashlock()
        stored = True
        try:
            if self.get(hashlock) is not None:
                return
            stored = False
        except UnreadableRowError as error:
            log.error("secret_replaced", hashlock=hashlock.hex(), reason=str(error))
        values = {"sealed": bytes(box.encrypt(preimage.reveal())), "created_ms": self.now_ms}
        if stored:
            self._run(update(_secrets).where(_secrets.c.hashlock == hashlock.hex()).values(**values))
        else:
            self._insert(_secrets, {"hashlock": hashlock.hex(), **values}, "secret")

    def known(self, hashlock: bytes) -> bool:
        """Tell whether the preimage is stored; needs no key."""
        return (
            self._first(select(_secrets.c.hashlock).where(_secrets.c.hashlock == hashlock.hex())) is not None
        )

    def get(self, hashlock: bytes) -> Preimage | None:
        """Return the preimage. Raises `UnreadableRowError` if another key sealed it or it does not fit."""
        row = self._first(select(_secrets.c.sealed).where(_secrets.c.hashlock == hashlock.hex()))
        if row is None:
            return None
        try:
            preimage = Preimage(self._opened().decrypt(row.sealed))
        except CryptoError as error:
            hint = "use the key that sealed it; it heals when the chain shows the secret again"
            raise UnreadableRowError(
                f"the secret of hashlock {hashlock.hex()} was sealed with another key", hint
            ) from error
        except ValueError:
            raise UnreadableRowError(
                f"what is stored as the secret of hashlock {hashlock.hex()} is none",
                "restore the database from a backup",
            ) from None  # the cause might quote the secret
        if not preimage.opens(hashlock):
            raise UnreadableRowError(
                f"the stored secret of hashlock {hashlock.hex()} does not open it",
                "restore the database from a backup",
            )
        return preimage

    def unreadable(self) -> list[str]:
        """Return the hashlocks, in hex, of the secrets that this store's key does not open."""
        found: list[str] = []
        for row in self._all(select(_secrets.c.hashlock)):
            try:
                self.get(bytes.fromhex(row.hashlock))
            except UnreadableRowError:
                found.append(row.hashlock)
        return found

    def plant_canary(self) -> bool:
        """Seal the canary with this store's key unless there is one; returns whether this key opens it."""
        opens = self.opens_canary()
        if opens is None:
            self.put(CANARY)
        return opens is not False

    def opens_canary(self) -> bool | None:
        """Tell whether the storage key is the one that this database was first opened with, None if it has
        no canary yet. Raises `SecretsLockedError` without a key."""
        try:
            return None if self.get(CANARY.hashlock()) is None else True
        except UnreadableRowError:
            return False


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
