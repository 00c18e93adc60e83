"""The custom sections of the Soroban contract: environment, specification, metadata (SEP-46, SEP-48)."""

from __future__ import annotations

from stellar_sdk import xdr

ENVIRONMENT = 23
"""The oldest protocol that knows every host function and rule that the contract needs. A network of a later
protocol accepts it, one of an earlier protocol refuses it."""

Kind = xdr.SCSpecType
Location = xdr.SCSpecEventParamLocationV0


def _type(kind: xdr.SCSpecType, **details: object) -> xdr.SCSpecTypeDef:
    return xdr.SCSpecTypeDef(kind, **details)  # type: ignore[arg-type]


ADDRESS = _type(Kind.SC_SPEC_TYPE_ADDRESS)
I128 = _type(Kind.SC_SPEC_TYPE_I128)
U64 = _type(Kind.SC_SPEC_TYPE_U64)
BOOL = _type(Kind.SC_SPEC_TYPE_BOOL)
BYTES = _type(Kind.SC_SPEC_TYPE_BYTES)
BYTES32 = _type(Kind.SC_SPEC_TYPE_BYTES_N, bytes_n=xdr.SCSpecTypeBytesN(xdr.Uint32(32)))
TERMS = _type(
    Kind.SC_SPEC_TYPE_TUPLE, tuple=xdr.SCSpecTypeTuple([ADDRESS, ADDRESS, ADDRESS, I128, BYTES32, U64])
)
MAYBE_TERMS = _type(Kind.SC_SPEC_TYPE_OPTION, option=xdr.SCSpecTypeOption(TERMS))

Named = tuple[tuple[str, xdr.SCSpecTypeDef], ...]
TERMS_BY_NAME: Named = (
    ("sender", ADDRESS), ("recipient", ADDRESS), ("asset", ADDRESS),
    ("amount", I128), ("hashlock", BYTES32), ("deadline", U64),
)  # fmt: skip
TOPICS: Named = (("id", BYTES32), ("sender", ADDRESS), ("recipient", ADDRESS))

FUNCTIONS: tuple[tuple[str, Named, list[xdr.SCSpecTypeDef]], ...] = (
    ("lock", TERMS_BY_NAME, [BYTES32]),
    ("claim", (("id", BYTES32), ("preimage", BYTES)), []),
    ("claim_for", (("id", BYTES32), ("preimage", BYTES), ("fee", I128), ("payee", ADDRESS)), []),
    ("refund", (("id", BYTES32),), []),
    ("refund_coop", (("id", BYTES32),), []),
    ("get", (("id", BYTES32),), [MAYBE_TERMS]),
)
ERRORS = (
    "BadType", "BadAmount", "BadHashlock", "BadDeadline", "BadParty", "LockExists",
    "NoLock", "BadPreimage", "TooEarly", "BadFee", "BadToken",
)  # fmt: skip
"""In the order of the contract's error numbers, from 1."""
EVENTS: tuple[tuple[str, Named, str], ...] = (
    ("lock", TERMS_BY_NAME[2:], "VEC"),
    ("claim", (("preimage", BYTES),), "SINGLE_VALUE"),
    ("refund", (("agreed", BOOL),), "SINGLE_VALUE"),
)
METADATA = (("name", "rainbow-htlc"), ("compiler", "clang 20.1.2 (ziglang 0.15.2)"))


def _symbol(text: str) -> xdr.SCSymbol:
    return xdr.SCSymbol(text.encode())


def _function(name: str, inputs: Named, outputs: list[xdr.SCSpecTypeDef]) -> bytes:
    fields = [xdr.SCSpecFunctionInputV0(b"", each.encode(), kind) for each, kind in inputs]
    function = xdr.SCSpecFunctionV0(b"", _symbol(name), fields, outputs)
    kind = xdr.SCSpecEntryKind.SC_SPEC_ENTRY_FUNCTION_V0
    return xdr.SCSpecEntry(kind, function_v0=function).to_xdr_bytes()


def _errors() -> bytes:
    cases = [
        xdr.SCSpecUDTErrorEnumCaseV0(b"", name.encode(), xdr.Uint32(number))
        for number, name in enumerate(ERRORS, start=1)
    ]
    enum = xdr.SCSpecUDTErrorEnumV0(b"", b"", b"Error", cases)
    kind = xdr.SCSpecEntryKind.SC_SPEC_ENTRY_UDT_ERROR_ENUM_V0
    return xdr.SCSpecEntry(kind, udt_error_enum_v0=enum).to_xdr_bytes()


def _event(name: str, data: Named, form: str) -> bytes:
    topic = Location.SC_SPEC_EVENT_PARAM_LOCATION_TOPIC_LIST
    body = Location.SC_SPEC_EVENT_PARAM_LOCATION_DATA
    params = [xdr.SCSpecEventParamV0(b"", each.encode(), kind, topic) for each, kind in TOPICS]
    params += [xdr.SCSpecEventParamV0(b"", each.encode(), kind, body) for each, kind in data]
    data_format = xdr.SCSpecEventDataFormat[f"SC_SPEC_EVENT_DATA_FORMAT_{form}"]
    event = xdr.SCSpecEventV0(b"", b"", _symbol(name), [_symbol(name)], params, data_format)
    kind = xdr.SCSpecEntryKind.SC_SPEC_ENTRY_EVENT_V0
    return xdr.SCSpecEntry(kind, event_v0=event).to_xdr_bytes()


def specification() -> bytes:
    """Return functions, errors and events as tools read them."""
    functions = b"".join(_function(*each) for each in FUNCTIONS)
    return functions + _errors() + b"".join(_event(*each) for each in EVENTS)


def environment(protocol: int = ENVIRONMENT, pre_release: int = 0) -> bytes:
    """Return the version of the environment interface that the code was written for."""
    version = xdr.SCEnvMetaEntryInterfaceVersion(xdr.Uint32(protocol), xdr.Uint32(pre_release))
    kind = xdr.SCEnvMetaKind.SC_ENV_META_KIND_INTERFACE_VERSION
    return xdr.SCEnvMetaEntry(kind, interface_version=version).to_xdr_bytes()


def metadata() -> bytes:
    """Return what the contract says of itself."""
    pairs = [xdr.SCMetaV0(key.encode(), value.encode()) for key, value in METADATA]
    return b"".join(xdr.SCMetaEntry(xdr.SCMetaKind.SC_META_V0, v0=pair).to_xdr_bytes() for pair in pairs)


def uleb128(number: int) -> bytes:
    """Encode an unsigned number as WebAssembly does."""
    encoded = b""
    while number >= 128:
        encoded += bytes([number & 127 | 128])
        number >>= 7
    return encoded + bytes([number])


def custom_section(name: str, content: bytes) -> bytes:
    """Return one custom section."""
    body = uleb128(len(name)) + name.encode() + content
    return b"\0" + uleb128(len(body)) + body


def sections() -> bytes:
    """Return all three, as they follow the code."""
    return (
        custom_section("contractspecv0", specification())
        + custom_section("contractenvmetav0", environment())
        + custom_section("contractmetav0", metadata())
    )
