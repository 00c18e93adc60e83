"""EVM networks by their chain id: what is known, what is refused, and what an operator may write out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from bridge import config
from bridge.chains.network import Network
from bridge.config import ConfigError
from bridge.protocol.types import ChainId
from relayers.evm.plugin import EvmSection, settings_of
from relayers.evm.profiles import ETHEREUM_IDS, KNOWN, EvmProfile, FeeModel, ProfileError, profile_for
from relayers.evm.timing import timing_of
from relayers.evm.traits import traits_of

WRITTEN_OUT: dict[str, Any] = {
    "name": "Our chain",
    "native_symbol": "OUR",
    "block_interval": 0.4,
    "depth": 20,
    "finalized_depth": 50,
    "finalized_after": 90,
    "finalized_above": "2.5",
    "inclusion_p99": 15,
    "clock_skew": 5,
}


@pytest.mark.parametrize("network", list(Network))
def test_ethereums_own_ids_are_known(network: Network) -> None:
    assert profile_for(ETHEREUM_IDS[network], network).native_symbol == "ETH"


def test_the_networks_of_the_issue_are_known_by_their_names() -> None:
    names = {
        1: "Ethereum",
        10: "OP Mainnet",
        56: "BNB Smart Chain",
        100: "Gnosis",
        137: "Polygon PoS",
        8453: "Base",
        42161: "Arbitrum One",
    }
    assert {chain_id: profile_for(chain_id, "main").name for chain_id in names} == names
    assert profile_for(11155111, "test").name == "Sepolia"


def test_what_moves_money_on_ethereum_is_as_the_chain_has_it() -> None:
    ethereum = profile_for(1, "main")
    assert (ethereum.block_interval, ethereum.depth, ethereum.finalized_depth) == (12, 64, 96)
    assert (ethereum.finalized_after, ethereum.finalized_above) == (96 * 12, "1")
    assert [profile_for(i, "main").fee_model for i in (10, 8453, 42161, 137)] == [
        FeeModel.OP_STACK,
        FeeModel.OP_STACK,
        FeeModel.ARBITRUM,
        FeeModel.EIP1559,
    ]


def test_an_unknown_id_is_refused_and_the_known_ones_are_named() -> None:
    with pytest.raises(
        ProfileError, match=r"999 is not known on network 'main' \(known: 1, 10, 56"
    ) as refusal:
        profile_for(999, "main")
    assert "profile table" in str(refusal.value)


@pytest.mark.parametrize(("chain_id", "asked", "right"), [(1, "test", "main"), (84532, "main", "test")])
def test_an_id_of_another_network_says_which(chain_id: int, asked: str, right: str) -> None:
    with pytest.raises(ProfileError, match=f"set network = '{right}'"):
        profile_for(chain_id, asked)


def test_local_ids_count_on_dev_alone() -> None:
    assert profile_for(31_346, "dev").name == "a local network"
    for network in ("main", "test"):
        with pytest.raises(ProfileError):
            profile_for(31_337, network)


def test_a_written_out_profile_comes_first() -> None:
    written = EvmProfile.model_validate(WRITTEN_OUT)
    assert profile_for(999, "main", written) is written
    assert profile_for(1, "main", written) is written


@pytest.mark.parametrize(
    "change",
    [
        {"finalized_depth": 19},
        {"block_interval": 0},
        {"depth": 0},
        {"native_symbol": "no coin"},
        {"finalized_above": "much"},
        {"explorer": "no url"},
        {"fee_model": "free"},
        {"spelt_wrong": 1},
    ],
)
def test_a_profile_that_cannot_be_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        EvmProfile.model_validate({**WRITTEN_OUT, **change})


def test_every_number_that_is_needed_must_be_written_out() -> None:
    for key in WRITTEN_OUT:
        if key == "finalized_above":
            continue  # without it no amount is small
        with pytest.raises(ValidationError, match=key):
            EvmProfile.model_validate({name: value for name, value in WRITTEN_OUT.items() if name != key})


def test_a_written_out_profile_gives_timing_and_traits() -> None:
    written = EvmProfile.model_validate(WRITTEN_OUT)
    timing = timing_of(written)
    assert (timing.block_interval, timing.finality_base, timing.finality_cap) == (1, 20, 50)
    assert (timing.finalized_after, timing.finalized_above) == (90, {"OUR": "2.5"})
    assert traits_of(written).native_symbol == "OUR"
    assert traits_of(profile_for(137, "main")).native_symbol == "POL"


@pytest.mark.parametrize("network", ["main", "test"])
def test_every_known_network_gives_sound_timing(network: str) -> None:
    for profile in KNOWN[network].values():
        timing = timing_of(profile)
        assert timing.finality_base <= timing.finality_cap
        assert profile.explorer_page("tx").startswith("https://")
        assert profile.max_fee_per_gas_gwei <= profile.urgent_max_fee_per_gas_gwei
        assert profile.clock, profile.name


# ---------------------------------------------------------------------- in the configuration


def section(**values: Any) -> EvmSection:
    return EvmSection.model_validate(values)


def test_a_section_tells_of_an_unknown_network_instead_of_raising() -> None:
    (problem,) = section(chain_id=999).problems(Network.MAIN)
    assert "999 is not known" in problem
    assert section(chain_id=999).default_timing(Network.MAIN) == timing_of(profile_for(1, "main"))
    assert list(section(chain_id=999, profile=WRITTEN_OUT).problems(Network.MAIN)) == []
    assert list(section(chain_id=8453).problems(Network.MAIN)) == []
    assert list(section().problems(Network.DEV)) == []
    (problem,) = section(chain_id=8453).problems(Network.TEST)
    assert "Base" in problem


def configuration(**chain: Any) -> dict[str, Any]:
    return {
        "network": "main",
        "chains": {
            "zion": {"enabled": False},
            "our": {"family": "evm", "contract": "0x" + "12" * 20, **chain},
        },
        "assets": [{"chain": "our", "symbol": "OUR", "decimals": 18}],
    }


def test_a_written_out_profile_is_used_throughout_the_configuration() -> None:
    settings = config.parse(
        configuration(
            chain_id=999,
            profile=WRITTEN_OUT,
            rpc_urls=["https://rpc.example.org"],
            send_urls=["https://private.example.org"],
            read_calldata=False,
        ),
        Path("/base"),
    )
    timing = settings.chains.timing_config(ChainId("our"))
    assert (timing.finality_base, timing.finalized_above) == (20, {"OUR": "2.5"})
    made = settings_of(settings.instance(ChainId("our")))
    assert (made.chain_id, made.native.symbol, made.reads_finalized) == (999, "OUR", True)
    assert (made.send_urls, made.reads_calldata) == (("https://private.example.org",), False)
    # Only local chains may stand still.
    assert made.max_head_age == 300


def test_an_unknown_network_stops_the_configuration_with_a_hint() -> None:
    with pytest.raises(ConfigError) as error:
        config.parse(configuration(chain_id=999), Path("/base"))
    assert any("999 is not known" in problem for problem in error.value.problems)
