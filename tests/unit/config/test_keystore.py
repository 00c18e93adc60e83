"""Keystores: keys never show themselves, files are private, devnet keys stay on devnets."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path

import pytest
from eth_account import Account

from bridge.keys.keystore import (
    DEV_NETWORK,
    KeyLabel,
    KeystoreError,
    SecretKey,
    devnet_key,
    find_password,
    load,
    read_label,
    write,
)

LABEL = KeyLabel("ethereum/bridge", DEV_NETWORK, "0x" + "ab" * 20)
ANVIL_KEY = bytes.fromhex("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")


def store(path: Path, key: SecretKey | None = None, label: KeyLabel = LABEL) -> SecretKey:
    key = key or SecretKey.generate()
    write(path, key, "correct horse", label, light=True)
    return key


def test_a_key_shows_itself_nowhere() -> None:
    key = SecretKey.generate()
    for shown in (repr(key), str(key), f"{key}", repr([key]), repr({"key": key})):
        assert key.reveal().hex() not in shown
    with pytest.raises(TypeError):
        pickle.dumps(key)
    with pytest.raises(TypeError):
        copy.deepcopy(key)


def test_a_file_gives_the_key_back_to_its_password_alone(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    key = store(path)
    assert load(path, "correct horse", DEV_NETWORK) == key
    with pytest.raises(KeystoreError, match="does not open") as error:
        load(path, "wrong", DEV_NETWORK)
    assert "RAINBOW_KEYSTORE_PASSWORD" in error.value.hint
    assert key.reveal().hex() not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600


def test_other_software_reads_the_file(tmp_path: Path) -> None:
    key = store(tmp_path / "key.json")
    opened = Account.decrypt(json.loads((tmp_path / "key.json").read_text()), "correct horse")
    assert bytes(opened) == key.reveal()


def test_a_file_of_other_software_is_read(tmp_path: Path) -> None:
    path = tmp_path / "geth.json"
    account = Account.create()
    path.write_text(json.dumps(Account.encrypt(account.key, "pw", kdf="scrypt", iterations=4096)))
    path.chmod(0o600)
    assert load(path, "pw", "main").reveal() == bytes(account.key)
    assert read_label(path).network == ""


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    key = store(path)
    with pytest.raises(KeystoreError, match="exists"):
        store(path)
    assert load(path, "correct horse", DEV_NETWORK) == key
    assert [file.name for file in tmp_path.iterdir()] == ["key.json"]


def test_a_file_that_others_can_read_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    store(path)
    path.chmod(0o640)
    with pytest.raises(KeystoreError, match="open to other users") as error:
        load(path, "correct horse", DEV_NETWORK)
    assert error.value.hint.startswith("chmod 600")


def test_a_key_of_one_network_is_refused_on_another(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    store(path)
    with pytest.raises(KeystoreError, match="holds a key for network 'dev'"):
        load(path, "correct horse", "main")


@pytest.mark.parametrize("key", [devnet_key("ethereum/bridge"), SecretKey(ANVIL_KEY)])
def test_published_keys_are_refused_on_real_networks(tmp_path: Path, key: SecretKey) -> None:
    with pytest.raises(KeystoreError, match="published"):
        write(tmp_path / "a.json", key, "correct horse", KeyLabel("ethereum/bridge", "main"))
    # The same when the label lies, or there is none: the bytes are known.
    path = tmp_path / "b.json"
    path.write_text(json.dumps(Account.encrypt(key.reveal(), "pw", kdf="scrypt", iterations=4096)))
    path.chmod(0o600)
    with pytest.raises(KeystoreError, match="published"):
        load(path, "pw", "test")
    assert load(path, "pw", DEV_NETWORK) == key


def test_weak_protection_is_refused_on_real_networks(tmp_path: Path) -> None:
    for password, light in (("", False), ("long enough", True)):
        with pytest.raises(KeystoreError):
            write(tmp_path / "k.json", SecretKey.generate(), password, KeyLabel("x", "main"), light=light)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"version": 3}', b'{"rainbow": 1}', b"\xff"])
def test_a_damaged_file_is_told_as_such(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key.json"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(KeystoreError) as error:
        load(path, "pw", DEV_NETWORK)
    assert error.value.hint


def test_the_password_comes_from_the_environment_then_a_private_file_then_a_prompt(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("from file\n")
    file.chmod(0o600)
    both = {"RAINBOW_KEYSTORE_PASSWORD": "from env", "RAINBOW_KEYSTORE_PASSWORD_FILE": str(file)}
    assert find_password(file, environment=both) == "from env"
    assert find_password(None, environment={"RAINBOW_KEYSTORE_PASSWORD_FILE": str(file)}) == "from file"
    assert find_password(file, environment={}) == "from file"
    assert find_password(None, environment={}, prompt=lambda _: "typed") == "typed"
    file.chmod(0o644)
    with pytest.raises(KeystoreError, match="open to other users"):
        find_password(file, environment={})
