"""Only the committed program is used, and only where nobody can change it."""

from __future__ import annotations

import pytest
from solders.account import Account
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from spl.token.constants import TOKEN_PROGRAM_ID

from bridge.chains.errors import PortError, PortUnavailableError
from relayers.solana import deployed, program
from relayers.solana.devnet.node import SolanaNode
from relayers.solana.settings import SOL
from tests.unit.solana.conftest import Opener

AUTHORITY = bytes(Keypair().pubkey())


def data_of(node: SolanaNode) -> tuple[Pubkey, Account]:
    found = node.ledger.account(node.program)
    assert found is not None
    at = deployed.code_account(str(found.owner), bytes(found.data))
    assert at is not None
    data = node.ledger.account(at)
    assert data is not None
    return at, data


def changed(account: Account, at: int, to: bytes) -> Account:
    data = bytes(account.data)
    return Account(account.lamports, data[:at] + to + data[at + len(to) :], account.owner)


async def refusal(opened: Opener, **changes: str) -> PortError:
    with pytest.raises(PortError) as failure:
        await opened("deployed", **changes).fees(SOL)
    assert not isinstance(failure.value, PortUnavailableError)
    assert failure.value.hint
    return failure.value


@pytest.mark.parametrize("version", [0, 3])
async def test_the_committed_program_in_either_version_is_accepted(version: int) -> None:
    _, data = data_of(SolanaNode(version=version))
    deployed.check_code(deployed.code_of(bytes(data.data)))
    deployed.check_code(program.program_bytes(version) + bytes(1000))


async def test_a_program_that_somebody_can_change_is_refused(started: SolanaNode, opened: Opener) -> None:
    assert (await opened("deployed").fees(SOL)).lock > 0
    at, data = data_of(started)
    started.ledger.svm.set_account(at, changed(data, 12, b"\x01" + AUTHORITY))
    assert "can still change" in (await refusal(opened)).message


async def test_a_program_with_another_code_is_refused(started: SolanaNode, opened: Opener) -> None:
    at, data = data_of(started)
    last = len(bytes(data.data).rstrip(b"\0")) - 1
    started.ledger.svm.set_account(at, changed(data, last, bytes([data.data[last] ^ 1])))
    assert "not the committed" in (await refusal(opened)).message


@pytest.mark.usefixtures("started")
async def test_some_other_program_is_refused(opened: Opener) -> None:
    await refusal(opened, program=str(TOKEN_PROGRAM_ID))


@pytest.mark.parametrize(
    ("owner", "data"),
    [
        (deployed.UPGRADEABLE, b""),
        (deployed.UPGRADEABLE, (3).to_bytes(4, "little") + bytes(32)),
        (TOKEN_PROGRAM_ID, (2).to_bytes(4, "little") + bytes(32)),
    ],
)
def test_other_loaders_and_states_are_no_program_of_ours(owner: Pubkey, data: bytes) -> None:
    with pytest.raises(PortError):
        deployed.code_account(str(owner), data)
    with pytest.raises(PortError):
        deployed.code_of(data)


def test_a_program_of_the_immutable_loader_is_its_code() -> None:
    assert deployed.code_account(str(deployed.IMMUTABLE), b"code") is None
