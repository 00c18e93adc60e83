"""The transparency log in the API. Hashes are lower-case hex."""

from __future__ import annotations

from typing import Annotated

import msgspec

from bridge.wire.base import Wire


class LogHeadView(Wire, frozen=True):
    """The newest tree head, signed."""

    size: int
    root: str
    note: Annotated[str, msgspec.Meta(description="The head as a C2SP checkpoint, a signed note.")]
    public_key: str


class LogProofView(Wire, frozen=True):
    """That a leaf is in a tree: an audit path (RFC 9162, section 2.1.3)."""

    index: int
    size: int
    leaf_hash: str
    path: list[str]


class LogConsistencyView(Wire, frozen=True):
    """That a tree goes on from an older one (RFC 9162, section 2.1.4)."""

    first: int
    second: int
    path: list[str]


class LogLeafView(Wire, frozen=True):
    """A leaf. `receipt` is null for those of version 0.1, which held the swap's id."""

    index: int
    leaf_hash: str
    receipt: str | None


class LogLeafList(Wire, frozen=True):
    """Leaves in order."""

    leaves: list[LogLeafView]


class LogWitnessView(Wire, frozen=True):
    """Whether a head that somebody saw fits the log. `detail` says what does not."""

    agrees: bool
    detail: str
    size: int


class BundleView(Wire, frozen=True):
    """The proof of a swap's outcome."""

    bundle: Annotated[
        str, msgspec.Meta(description="Save it exactly as it is; `rainbow verify` checks it offline.")
    ]
