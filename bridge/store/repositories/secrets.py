"""Preimages, sealed with a key that the database never sees, and what recipients signed for their claims."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from nacl.exceptions import CryptoError
from nacl.secret import SecretBox
from sqlalchemy import Connection, bindparam, select, update

from bridge.protocol.types import Preimage, SwapId
from bridge.store.errors import SecretsLockedError, UnreadableRowError
from bridge.store.repositories.base import Repository, in_parts, log
from bridge.store.tables import ClaimAuthorizationRow, SecretRow, table_of
from bridge.store.write_buffer import WriteBuffer

CANARY = Preimage(b"the canary of the storage key...")
"""Sealed like a secret, so that a wrong storage key shows before a secret is needed."""

_secrets = table_of(SecretRow)
_authorizations = table_of(ClaimAuthorizationRow)


_INSERT_SECRET = _secrets.insert()
_SEALED = select(_secrets.c.hashlock, _secrets.c.sealed).where(
    _secrets.c.hashlock.in_(bindparam("hashlocks", expanding=True))
)
_GET_SECRET = select(_secrets.c.sealed).where(_secrets.c.hashlock == bindparam("wanted"))


class Secrets(Repository):
    """hashlock → preimage, XSalsa20-Poly1305 (libsodium's SecretBox) at rest."""

    def __init__(
        self, connection: Connection, now_ms: int, buffer: WriteBuffer, box: SecretBox | None
    ) -> None:
        super().__init__(connection, now_ms, buffer)
        self._box = box
        self._sealed: dict[str, bytes | None] = {}
        """What was read at once, by hashlock in hex; None where there is no secret."""
        buffer.on_undo(self._sealed.clear)

    def remember(self, hashlocks: Iterable[bytes]) -> None:
        """Read at once what is stored for these hashlocks. Their swaps must be held: then nobody else stores
        a secret of them."""
        for part in in_parts(hashlock.hex() for hashlock in hashlocks):
            sealed: dict[str, bytes | None] = dict.fromkeys(part)
            sealed |= {row.hashlock: row.sealed for row in self._all(_SEALED, {"hashlocks": part})}
            self._sealed |= sealed

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
        sealed = bytes(box.encrypt(preimage.reveal()))
        values = {"sealed": sealed, "created_ms": self.now_ms}
        is_first = self._sealed.get(hashlock.hex(), b"") is None
        self._sealed.pop(hashlock.hex(), None)
        if is_first:
            self._sealed[hashlock.hex()] = sealed
            self._buffer.add(self._put_all, {"hashlock": hashlock.hex(), **values})
        elif stored:
            self._run(update(_secrets).where(_secrets.c.hashlock == hashlock.hex()).values(**values))
        else:
            self._insert(_secrets, {"hashlock": hashlock.hex(), **values}, "secret")

    def _put_all(self, rows: list[dict[str, Any]]) -> None:
        self._write_all(_INSERT_SECRET, rows)

    def known(self, hashlock: bytes) -> bool:
        """Tell whether the preimage is stored; needs no key."""
        return (
            self._first(select(_secrets.c.hashlock).where(_secrets.c.hashlock == hashlock.hex())) is not None
        )

    def get(self, hashlock: bytes) -> Preimage | None:
        """Return the preimage. Raises `UnreadableRowError` if another key sealed it or it does not fit."""
        sealed = self._read(hashlock.hex())
        if sealed is None:
            return None
        try:
            preimage = Preimage(self._opened().decrypt(sealed))
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

    def _read(self, hashlock: str) -> bytes | None:
        if hashlock in self._sealed:
            return self._sealed[hashlock]
        row = self._first(_GET_SECRET, {"wanted": hashlock})
        return bytes(row.sealed) if row else None

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
