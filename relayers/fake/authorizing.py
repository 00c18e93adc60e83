"""The fake chain's way for a recipient to authorise a claim: a digest that only stands for a signature."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from bridge.chains.errors import ActionRefusedError, BadAuthorizationError
from bridge.chains.port import UnsignedTx
from bridge.protocol.types import Amount, LockId, LockTerms
from relayers.fake.ledger import lock_id_of


def signature_of(recipient: str, lock_id: LockId, max_fee: Amount) -> str:
    """Return the recipient's "signature" under a claim."""
    return hashlib.sha256(f"{recipient}/{lock_id}/{max_fee}".encode()).hexdigest()


class FakeAuthorizer:
    """See `Authorizer`. `account` is who signs; `locked` are the locks that stand, by id."""

    def __init__(self, account: str, locked: Mapping[str, object], *, required: bool) -> None:
        self.account = account
        self.required = required
        self._locked = locked

    async def request(self, terms: LockTerms, max_fee: Amount) -> UnsignedTx:
        """See `Authorizer`."""
        if lock_id_of(terms) not in self._locked:
            raise ActionRefusedError("there is no such lock yet", "wait for it")
        return UnsignedTx(
            "fake",
            "a claim",
            {"lock_id": lock_id_of(terms), "max_fee": str(max_fee), "pays": terms.recipient},
        )

    async def sign(self, terms: LockTerms, request: UnsignedTx, max_fee: Amount) -> dict[str, str]:
        """See `Authorizer`."""
        wanted = {"lock_id": lock_id_of(terms), "max_fee": str(max_fee), "pays": self.account}
        if request.payload != wanted:
            raise BadAuthorizationError("it is not a claim of this lock for this fee", "sign nothing")
        signature = signature_of(self.account, lock_id_of(terms), max_fee)
        return {"max_fee": str(max_fee), "signature": signature}

    async def check(self, terms: LockTerms, signed: Mapping[str, str], min_fee: Amount = Amount(0)) -> bytes:
        """See `Authorizer`."""
        max_fee = signed.get("max_fee", "")
        if not max_fee.isdecimal() or int(max_fee) < min_fee:
            raise BadAuthorizationError(
                f"it allows too small a fee: {min_fee} is needed", "sign a new request"
            )
        signature = signature_of(terms.recipient, lock_id_of(terms), Amount(int(max_fee)))
        if signed.get("signature") != signature:
            raise BadAuthorizationError("the recipient did not sign this", "sign with the recipient's key")
        return f"{max_fee} {signature}".encode()
