"""The deployment script: it makes what is missing, once, and only on the network that was named."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from stellar_sdk import Keypair
from typer.testing import CliRunner

from bridge.keys.keystore import KeyLabel, SecretKey, write
from relayers.stellar.deploy import app
from relayers.stellar.deploying import contract_address
from relayers.stellar.devnet.local import StellarDevnet

PASSWORD = "a password for this test"


@pytest.fixture
def devnet(tmp_path: Path) -> Iterator[StellarDevnet]:
    made = StellarDevnet(tmp_path, block_time=1)
    asyncio.run(made.restart())
    yield made
    made.kill()


def test_a_contract_is_deployed_once_and_only_on_the_named_network(
    devnet: StellarDevnet, tmp_path: Path
) -> None:
    key = Keypair.random()
    keystore, password = tmp_path / "key.json", tmp_path / "password"
    write(
        keystore, SecretKey(key.raw_secret_key()), PASSWORD, KeyLabel("ed25519", key.public_key), light=True
    )
    password.write_text(PASSWORD)
    password.chmod(0o600)
    asyncio.run(StellarDevnet(tmp_path, port=devnet.port).fund(key.public_key, devnet.native, 10**12))
    asked = ["--rpc", devnet.url, "--keystore", str(keystore), "--password-file", str(password)]
    wrong = CliRunner().invoke(app, [*asked, "--network", "test"])
    assert wrong.exit_code == 1
    assert "serves the network" in wrong.output
    for _ in range(2):
        done = CliRunner().invoke(app, [*asked, "--network", "dev", "--asset", devnet.token.contract])
        assert done.exit_code == 0, done.output
        assert contract_address(key.public_key, devnet.settings.passphrase) in done.output
