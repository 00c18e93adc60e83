"""What all answers are made of: their base class, points in time, amounts of money."""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin, get_type_hints

import msgspec

from bridge.protocol.amounts import to_text
from bridge.protocol.types import Asset, UnixSeconds

if TYPE_CHECKING:
    from pydantic import BaseModel, GetCoreSchemaHandler
    from pydantic_core import CoreSchema


class Wire(msgspec.Struct, frozen=True):
    """Base of all answers and events. Reading one ignores unknown fields: a newer server may add some."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Let FastAPI describe and write this struct: it sees a pydantic model of the same fields."""
        return handler(_pydantic_model(cls))


@functools.cache
def _pydantic_model(struct: type[Wire]) -> type[BaseModel]:
    """Return the pydantic model of a struct: its fields, their wire names, descriptions and examples.

    pydantic is imported here, because only the server needs it and a client's start would take twice as long.
    """
    from pydantic import ConfigDict, Field, create_model

    hints = get_type_hints(struct, include_extras=True)
    fields: dict[str, Any] = {}
    for field in msgspec.structs.fields(struct):
        hint = hints[field.name]
        described: dict[str, Any] = {}
        if field.encode_name != field.name:
            described["alias"] = field.encode_name
        for meta in get_args(hint)[1:] if get_origin(hint) is Annotated else ():
            if isinstance(meta, msgspec.Meta):
                described |= {"description": meta.description, "examples": meta.examples}
        default = ... if field.default is msgspec.NODEFAULT else field.default
        fields[field.name] = (hint, Field(default, **described))
    return create_model(
        struct.__name__,
        __doc__=struct.__doc__,
        __module__=struct.__module__,
        __config__=ConfigDict(frozen=True, populate_by_name=True),
        **fields,
    )


class Moment(Wire, frozen=True):
    """A point in time."""

    rfc3339: Annotated[str, msgspec.Meta(examples=["2026-01-31T12:00:00Z"])]
    unix: UnixSeconds

    @classmethod
    def at(cls, seconds: int) -> Moment:
        """Make one from Unix seconds."""
        text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        return cls(rfc3339=text, unix=UnixSeconds(seconds))

    @classmethod
    def at_ms(cls, milliseconds: int) -> Moment:
        """Make one from Unix milliseconds, rounded down."""
        return cls.at(milliseconds // 1000)


class Money(Wire, frozen=True):
    """An amount of an asset: `amount` in smallest units counts, `display` is for people."""

    asset: str
    amount: str
    display: str
    decimals: int

    @classmethod
    def of(cls, asset: Asset, units: int) -> Money:
        """Make one from smallest units."""
        return cls(
            asset=asset.key,
            amount=str(units),
            display=to_text(units, asset.decimals),
            decimals=asset.decimals,
        )
