"""Preimages open their own hashlock only, and never show themselves."""

from __future__ import annotations

import copyreg
import hashlib
import pickle

import hypothesis.strategies as st
import pytest
from hypothesis import given

from bridge.protocol.hashlock import check, new_preimage, parse_hashlock
from bridge.protocol.refusals import ProtocolError
from bridge.protocol.types import Preimage

SECRET = bytes(range(32))


@given(st.binary(max_size=64))
def test_a_preimage_of_any_accepted_length_opens_its_sha256(value: bytes) -> None:
    hashlock = hashlib.sha256(value).digest()
    assert Preimage(value).opens(hashlock)
    check(Preimage(value), hashlock)
    assert not Preimage(value).opens(hashlock[::-1])


def test_a_preimage_longer_than_64_bytes_does_not_exist() -> None:
    with pytest.raises(ValueError, match="64"):
        Preimage(b"x" * 65)


@pytest.mark.parametrize("bad", [b"", b"x" * 31, b"x" * 33, bytes(32), b"\xff" * 32])
def test_a_new_preimage_is_32_bytes_of_working_randomness(bad: bytes) -> None:
    assert new_preimage(SECRET).reveal() == SECRET
    with pytest.raises(ProtocolError):
        new_preimage(bad)


def test_no_error_text_or_pickle_gives_a_preimage_away(monkeypatch: pytest.MonkeyPatch) -> None:
    # tests/scenario/machine.py teaches pickle to copy whole worlds, in the processes that import it.
    monkeypatch.delitem(copyreg.dispatch_table, Preimage, raising=False)
    preimage = new_preimage(SECRET)
    with pytest.raises(ProtocolError) as caught:
        check(preimage, b"\0" * 32)
    text = f"{caught.value} {caught.value.hint} {preimage!r} {preimage}"
    assert SECRET.hex() not in text
    assert repr(SECRET) not in text
    with pytest.raises(TypeError):
        pickle.dumps(preimage)


def test_hashlocks_are_read_with_and_without_prefix() -> None:
    hashlock = new_preimage(SECRET).hashlock()
    assert parse_hashlock(hashlock.hex()) == hashlock
    assert parse_hashlock("0x" + hashlock.hex().upper()) == hashlock


@pytest.mark.parametrize(
    "bad", ["", "0x", "zz" * 32, "00" * 31, "00" * 33, "0x" * 32, hashlib.sha256(b"").hexdigest()]
)
def test_a_hashlock_that_is_none_or_that_everybody_can_open_is_refused(bad: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_hashlock(bad)
    assert caught.value.hint
