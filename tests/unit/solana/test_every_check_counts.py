"""Take the program's checks away one at a time: some attack must then succeed or be refused otherwise."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from scripts.build_solana import SOURCE, compile_object
from scripts.sbf_linker import link
from tests.unit.solana.attacks import ATTACKS
from tests.unit.solana.bank import Bank

WITHOUT_EFFECT = {
    "count <= MAX_ACCOUNTS": "the heap has room for all accounts that a transaction can name",
    "context->data_length >= OPERATION_LENGTH": "what is read instead is not an operation",
    "vault->data_length >= SOL_VAULT_SIZE": "what is read instead has no tag of ours",
    "tokens_in(to) - before == terms->amount": "the Token program of today moves exactly what it is told",
}
"""Second walls: what they keep out, the virtual machine or the Token program of today keeps out too."""

PARTS = (
    "same32(account->owner, TOKEN_PROGRAM)",
    "account->data_length == TOKEN_ACCOUNT_SIZE",
    "same32(account->data, mint)",
    "same32(account->data + TOKEN_OWNER, owner)",
    "*vault->lamports = 0;",
    "copy32(vault->owner, SYSTEM_PROGRAM);",
)


def mutants() -> list[tuple[str, str]]:
    source = SOURCE.read_text()
    made = []
    for line in re.findall(r"^ +(REQUIRE\(.*\);)$", source, re.MULTILINE):
        if not any(f"REQUIRE({harmless}," in line for harmless in WITHOUT_EFFECT):
            made.append((line, source.replace(line, "", 1)))
    for part in PARTS:
        assert source.count(part) == 1, part
        made.append((part, source.replace(part, "" if part.endswith(";") else "1")))
    return made


def test_the_list_of_harmless_checks_is_of_the_source() -> None:
    source = SOURCE.read_text()
    assert all(f"REQUIRE({harmless}," in source for harmless in WITHOUT_EFFECT)
    assert len(mutants()) > 30


@pytest.mark.parametrize(("check", "source"), mutants(), ids=lambda one: one[:60] if "\n" not in one else "")
def test_without_this_check_some_rule_is_broken(check: str, source: str, tmp_path: Path) -> None:
    shutil.copy(SOURCE.parent / "sbf.h", tmp_path)
    changed = tmp_path / "htlc.c"
    changed.write_text(source)
    code = link(compile_object(changed, ("-Wno-error",)), 0)
    for attack in ATTACKS:
        try:
            attack(Bank(code))
        except (AssertionError, ValueError):
            return
    pytest.fail(f"nothing notices that this is missing: {check}")
