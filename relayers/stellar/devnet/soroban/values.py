"""Values as wasm sees them: 64-bit words with a tag, and the objects that their handles name.

A word is absolute inside the host and relative to one contract call outside: a contract can only name
objects that it was given (soroban-env-host, host_object.rs), so handles cannot be forged.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final

from stellar_sdk import Address, scval, xdr

from relayers.stellar.devnet.soroban.errors import Code, HostError, Type

T = xdr.SCValType
WORD: Final = 2**64 - 1
FALSE, TRUE, VOID = 0, 1, 2
ERROR, U32, I32, SYMBOL_SMALL = 3, 4, 5, 14
LAST_SMALL = 14
FIRST_OBJECT, LAST_OBJECT = 64, 78
U64, I64, TIMEPOINT, DURATION, U128, I128, U256, I256 = range(64, 72)
BYTES, STRING, SYMBOL, VEC, MAP, ADDRESS, MUXED_ADDRESS = range(72, 79)

_SMALL: Final = {T.SCV_U64: 6, T.SCV_I64: 7, T.SCV_TIMEPOINT: 8, T.SCV_DURATION: 9,
                 T.SCV_U128: 10, T.SCV_I128: 11, T.SCV_U256: 12, T.SCV_I256: 13}  # fmt: skip
_LARGE: Final = {kind: tag + 58 for kind, tag in _SMALL.items()}
_SIGNED: Final = frozenset({T.SCV_I64, T.SCV_I128, T.SCV_I256})
_NUMBER_KIND: Final = {tag: kind for table in (_SMALL, _LARGE) for kind, tag in table.items()}
_LETTERS: Final = b"_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_READ_NUMBER: Final = {
    T.SCV_U64: scval.from_uint64, T.SCV_I64: scval.from_int64, T.SCV_TIMEPOINT: scval.from_timepoint,
    T.SCV_DURATION: scval.from_duration, T.SCV_U128: scval.from_uint128, T.SCV_I128: scval.from_int128,
    T.SCV_U256: scval.from_uint256, T.SCV_I256: scval.from_int256,
}  # fmt: skip
_WRITE_NUMBER: Final = {
    T.SCV_U64: scval.to_uint64, T.SCV_I64: scval.to_int64, T.SCV_TIMEPOINT: scval.to_timepoint,
    T.SCV_DURATION: scval.to_duration, T.SCV_U128: scval.to_uint128, T.SCV_I128: scval.to_int128,
    T.SCV_U256: scval.to_uint256, T.SCV_I256: scval.to_int256,
}  # fmt: skip


def tag_of(word: int) -> int:
    """Return a word's tag."""
    return word & 255


def u32_word(number: int) -> int:
    """Return a 32-bit number as a word."""
    return number << 32 | U32


def is_object(word: int) -> bool:
    """Tell whether a word names an object."""
    return FIRST_OBJECT <= word & 255 <= LAST_OBJECT


def unexpected(text: str) -> HostError:
    """Return the error for a value of the wrong type."""
    return HostError(Type.SCE_VALUE, Code.SCEC_UNEXPECTED_TYPE, text)


def symbol_bytes(value: xdr.SCVal) -> bytes:
    """Return the letters of a symbol."""
    if value.sym is None:
        raise unexpected("a symbol is needed")
    return bytes(value.sym.sc_symbol)


class Objects:
    """The objects of one transaction. A vec holds words, a map pairs of them, the rest plain values."""

    def __init__(self) -> None:
        self._objects: list[tuple[int, Any]] = []

    def add(self, tag: int, content: Any) -> int:
        """Add an object and return its absolute word."""
        self._objects.append((tag, content))
        return (len(self._objects) - 1) << 32 | tag

    def content(self, word: int, tag: int) -> Any:
        """Return what a word of that tag names."""
        if word & 255 != tag:
            raise unexpected(f"tag {word & 255} where {tag} is needed")
        return self._objects[word >> 32][1]

    def number(self, word: int) -> int:
        """Return any number of 64 bits or more."""
        tag = word & 255
        if tag > LAST_SMALL:
            return int(self._objects[word >> 32][1])
        body = word >> 8
        negative = _NUMBER_KIND[tag] in _SIGNED and body >> 55
        return body - 2**56 if negative else body

    def from_number(self, kind: xdr.SCValType, number: int) -> int:
        """Return the word of a number: in the word itself if it fits into 56 bits."""
        fits = -(2**55) <= number < 2**55 if kind in _SIGNED else number < 2**56
        if fits:
            return (number & (2**56 - 1)) << 8 | _SMALL[kind]
        return self.add(_LARGE[kind], number)

    # XDR → words

    def from_xdr(self, value: xdr.SCVal) -> int:
        """Return the word of an XDR value. Raises `HostError` for what no contract may hold."""
        kind = value.type
        if kind is T.SCV_BOOL:
            return TRUE if value.b else FALSE
        if kind is T.SCV_VOID:
            return VOID
        if kind is T.SCV_ERROR and value.error is not None:
            return _error_word(value.error)
        if value.u32 is not None:
            return u32_word(value.u32.uint32)
        if value.i32 is not None:
            return (value.i32.int32 & 0xFFFFFFFF) << 32 | I32
        if kind in _READ_NUMBER:
            return self.from_number(kind, _READ_NUMBER[kind](value))
        if value.sym is not None:
            return self._symbol(value.sym.sc_symbol)
        if value.bytes is not None:
            return self.add(BYTES, bytes(value.bytes.sc_bytes))
        if value.str is not None:
            return self.add(STRING, bytes(value.str.sc_string))
        if value.address is not None:
            return self._address(value.address)
        if value.vec is not None:
            return self.add(VEC, [self.from_xdr(each) for each in value.vec.sc_vec])
        if value.map is not None:
            return self._map(value.map)
        raise HostError(Type.SCE_VALUE, Code.SCEC_INVALID_INPUT, f"no contract may hold {kind.name}")

    def _symbol(self, letters: bytes) -> int:
        if len(letters) > 32 or any(letter not in _LETTERS for letter in letters):
            raise HostError(Type.SCE_VALUE, Code.SCEC_INVALID_INPUT, "not a symbol")
        if len(letters) > 9:
            return self.add(SYMBOL, bytes(letters))
        body = 0
        for letter in letters:
            body = body << 6 | _LETTERS.index(letter) + 1
        return body << 8 | SYMBOL_SMALL

    def _address(self, address: xdr.SCAddress) -> int:
        kind = address.type
        if kind is xdr.SCAddressType.SC_ADDRESS_TYPE_MUXED_ACCOUNT:
            return self.add(MUXED_ADDRESS, Address.from_xdr_sc_address(address).address)
        if kind in (
            xdr.SCAddressType.SC_ADDRESS_TYPE_ACCOUNT,
            xdr.SCAddressType.SC_ADDRESS_TYPE_CONTRACT,
        ):
            return self.add(ADDRESS, Address.from_xdr_sc_address(address).address)
        raise HostError(Type.SCE_OBJECT, Code.SCEC_UNEXPECTED_TYPE, "neither an account nor a contract")

    def _map(self, found: xdr.SCMap) -> int:
        pairs = [(self.from_xdr(each.key), self.from_xdr(each.val)) for each in found.sc_map]
        for (before, _), (after, _) in pairwise(pairs):
            if self.compare(before, after) >= 0:
                raise HostError(Type.SCE_OBJECT, Code.SCEC_INVALID_INPUT, "keys of a map out of order")
        return self.add(MAP, pairs)

    # Words → XDR

    def to_xdr(self, word: int) -> xdr.SCVal:
        """Return a word's value as XDR."""
        tag = word & 255
        if tag in (FALSE, TRUE):
            return scval.to_bool(tag == TRUE)
        if tag == VOID:
            return scval.to_void()
        if tag == ERROR:
            return xdr.SCVal(T.SCV_ERROR, error=_error_of(word))
        if tag == U32:
            return scval.to_uint32(word >> 32)
        if tag == I32:
            return scval.to_int32((word >> 32) - (2**32 if word >> 63 else 0))
        if tag in _NUMBER_KIND:
            return _WRITE_NUMBER[_NUMBER_KIND[tag]](self.number(word))
        if tag == SYMBOL_SMALL:
            return scval.to_symbol(self.symbol(word).decode())
        content = self.content(word, tag)
        if tag == BYTES:
            return scval.to_bytes(content)
        if tag == STRING:
            return scval.to_string(content)
        if tag == SYMBOL:
            return scval.to_symbol(content.decode())
        if tag == VEC:
            return scval.to_vec([self.to_xdr(each) for each in content])
        if tag == MAP:
            entries = [xdr.SCMapEntry(self.to_xdr(key), self.to_xdr(value)) for key, value in content]
            return xdr.SCVal(T.SCV_MAP, map=xdr.SCMap(entries))
        return scval.to_address(content)

    def symbol(self, word: int) -> bytes:
        """Return a symbol's letters."""
        if word & 255 == SYMBOL:
            return bytes(self.content(word, SYMBOL))
        if word & 255 != SYMBOL_SMALL:
            raise unexpected("a symbol is needed")
        body, letters = word >> 8, b""
        while body:
            letters = _LETTERS[(body & 63) - 1 : body & 63] + letters
            body >>= 6
        return letters

    # Order

    def compare(self, first: int, second: int) -> int:
        """Return −1, 0 or 1: by type, then by value (soroban-env-common, compare.rs)."""
        kinds = self.to_xdr_kind(first), self.to_xdr_kind(second)
        if kinds[0] is not kinds[1]:
            return -1 if kinds[0].value < kinds[1].value else 1
        one, other = self._order(first), self._order(second)
        if isinstance(one, list) and isinstance(other, list):
            for left, right in zip(one, other, strict=False):
                order = self.compare(left, right)
                if order:
                    return order
            return (len(one) > len(other)) - (len(one) < len(other))
        return int(one > other) - int(one < other)

    def to_xdr_kind(self, word: int) -> xdr.SCValType:
        """Return the XDR type of a word's value."""
        tag = word & 255
        if tag in _NUMBER_KIND:
            return _NUMBER_KIND[tag]
        plain = {
            FALSE: T.SCV_BOOL, TRUE: T.SCV_BOOL, VOID: T.SCV_VOID, ERROR: T.SCV_ERROR, U32: T.SCV_U32,
            I32: T.SCV_I32, SYMBOL_SMALL: T.SCV_SYMBOL, BYTES: T.SCV_BYTES, STRING: T.SCV_STRING,
            SYMBOL: T.SCV_SYMBOL, VEC: T.SCV_VEC, MAP: T.SCV_MAP, ADDRESS: T.SCV_ADDRESS,
            MUXED_ADDRESS: T.SCV_ADDRESS,
        }  # fmt: skip
        return plain[tag]

    def _order(self, word: int) -> Any:
        tag = word & 255
        if tag in _NUMBER_KIND:
            return self.number(word)
        if tag in (SYMBOL, SYMBOL_SMALL):
            return self.symbol(word)
        if tag == I32:
            return (word >> 32) - (2**32 if word >> 63 else 0)
        if tag in (ADDRESS, MUXED_ADDRESS):
            return scval.to_address(self.content(word, tag)).to_xdr_bytes()
        if tag == MAP:
            return [part for pair in self.content(word, MAP) for part in pair]
        if is_object(word):
            return self.content(word, tag)
        return word


def _error_word(error: xdr.SCError) -> int:
    code = error.contract_code.uint32 if error.contract_code is not None else int(error.code or 0)
    return code << 32 | error.type.value << 8 | ERROR


def _error_of(word: int) -> xdr.SCError:
    kind, code = Type(word >> 8 & 0xFFFFFF), word >> 32
    if kind is Type.SCE_CONTRACT:
        return xdr.SCError(kind, contract_code=xdr.Uint32(code))
    return xdr.SCError(kind, code=Code(code))


class Handles:
    """The objects that one contract call was shown, by relative handle."""

    def __init__(self) -> None:
        self._known: list[int] = []

    def to_absolute(self, word: int) -> int:
        """Return the host's word for a contract's. Raises `HostError` for a handle that it was not given."""
        word &= WORD
        tag = word & 255
        if is_object(word):
            handle = word >> 32
            known = self._known[handle >> 1] if not handle & 1 and handle >> 1 < len(self._known) else None
            if known is None or known & 255 != tag:
                raise HostError(Type.SCE_VALUE, Code.SCEC_INVALID_INPUT, "a handle that was never given")
            return known
        if tag > LAST_SMALL:
            raise HostError(Type.SCE_VALUE, Code.SCEC_INVALID_INPUT, f"no value has tag {tag}")
        return word

    def to_relative(self, word: int) -> int:
        """Show an object to the contract and return the word that it may use."""
        if not is_object(word):
            return word
        self._known.append(word)
        return (len(self._known) - 1) << 33 | word & 255
