"""The transparency log's tree against the values of the Certificate Transparency reference implementation."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.protocol.merkle import (
    Span,
    appended,
    consistency_spans,
    fold,
    inclusion_spans,
    is_consistent,
    is_included,
    leaf_hash,
    places_of,
    root,
)

VECTORS = msgspec.json.decode((Path(__file__).parents[2] / "vectors" / "merkle_proofs.json").read_bytes())

# google/certificate-transparency, cpp/merkletree/merkle_tree_test.cc: inputs, and the roots of the first n.
ENTRIES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_are_those_of_certificate_transparency(size: int) -> None:
    assert root([leaf_hash(entry) for entry in ENTRIES[:size]]).hex() == ROOTS[size - 1]


def test_the_root_of_an_empty_log_is_the_hash_of_nothing() -> None:
    assert root([]) == hashlib.sha256(b"").digest()


@given(st.integers(1, 70), st.data())
def test_every_entry_is_provable_and_nothing_else_is(size: int, data: st.DataObject) -> None:
    leaves = [leaf_hash(bytes([number])) for number in range(size)]
    index = data.draw(st.integers(0, size - 1))
    path = [root(leaves[start:end]) for start, end in inclusion_spans(index, size)]
    head = root(leaves)
    assert is_included(leaves[index], index, size, path, head)
    assert not is_included(leaf_hash(b"another"), index, size, path, head)
    assert not is_included(leaves[index], index, size, [*path, head], head)
    other = data.draw(st.integers(0, size - 1))
    if other != index:
        assert not is_included(leaves[index], other, size, path, head)


def _b64(text: str) -> bytes:
    return base64.b64decode(text)


@pytest.mark.parametrize("case", VECTORS["inclusion"], ids=lambda case: case["name"])
def test_audit_paths_are_judged_as_the_reference_judges_them(case: dict[str, Any]) -> None:
    path = [_b64(node) for node in case["proof"] or ()]
    leaf, head = _b64(case["leafHash"]), _b64(case["root"])
    assert is_included(leaf, case["leafIdx"], case["treeSize"], path, head) is not case["wantErr"]


@pytest.mark.parametrize("case", VECTORS["consistency"], ids=lambda case: case["name"])
def test_consistency_proofs_are_judged_as_the_reference_judges_them(case: dict[str, Any]) -> None:
    path = [_b64(node) for node in case["proof"] or ()]
    first_root, second_root = _b64(case["root1"]), _b64(case["root2"])
    found = is_consistent(case["size1"], case["size2"], path, first_root, second_root)
    assert found is not case["wantErr"]


def test_stored_subtrees_give_every_root_and_every_proof() -> None:
    leaves = [leaf_hash(bytes([number])) for number in range(70)]
    nodes: dict[int, bytes] = {}
    size = 0
    for batch in (1, 2, 1, 5, 16, 45):
        nodes |= appended(size, nodes, leaves[size : size + batch])
        size += batch
    assert size == len(leaves)
    assert len(nodes) == sum(size >> level for level in range(size.bit_length()))  # each subtree once

    def proof(spans: list[Span]) -> list[bytes]:
        return [fold([nodes[place] for place in places_of(*span)]) for span in spans]

    roots = [root(leaves[:count]) for count in range(size + 1)]
    for count in range(size + 1):
        assert fold([nodes[place] for place in places_of(0, count)]) == roots[count]
    for second in range(1, size + 1):
        for first in range(1, second + 1):
            path = proof(consistency_spans(first, second))
            assert is_consistent(first, second, path, roots[first], roots[second])
            assert not is_consistent(first, second, [*path, roots[1]], roots[first], roots[second])
            if first != second:
                assert not is_consistent(first, second, path, roots[second], roots[second])
        for index in (0, second // 2, second - 1):
            path = proof(inclusion_spans(index, second))
            assert is_included(leaves[index], index, second, path, roots[second])


@pytest.mark.parametrize(("index", "size"), [(-1, 3), (3, 3), (0, 0)])
def test_no_proof_is_made_of_what_is_not_there(index: int, size: int) -> None:
    with pytest.raises(IndexError):
        inclusion_spans(index, size)
    with pytest.raises(IndexError):
        consistency_spans(size + 1, size)
