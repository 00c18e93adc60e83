import hashlib
from collections.abc import Callable

import pytest

from relayers.evm.htlc import COIN, EvmLockTerms
from tests.unit.ethereum_contract.evm import ETHER, Chain

PREIMAGE = hashlib.sha256(b"a secret of 32 bytes").digest()
HASHLOCK = hashlib.sha256(PREIMAGE).digest()

Terms = Callable[..., EvmLockTerms]


@pytest.fixture
def chain() -> Chain:
    return Chain()


@pytest.fixture(params=["native", "erc20"])
def token(request: pytest.FixtureRequest, chain: Chain) -> str:
    """The asset to lock: the coin, or a plain token."""
    return COIN if request.param == "native" else chain.token()


@pytest.fixture(params=[0, 7], ids=["fresh", "lane"])
def lane(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def terms(chain: Chain) -> Terms:
    """Terms of a lock of alice's for bob: one unit, an hour; override any."""

    def make(**changes: object) -> EvmLockTerms:
        values: dict[str, object] = {
            "sender": chain.alice.address,
            "recipient": chain.bob.address,
            "token": COIN,
            "amount": ETHER,
            "hashlock": HASHLOCK,
            "deadline": chain.now + 3600,
        }
        return EvmLockTerms(**(values | changes))  # type: ignore[arg-type]

    return make
