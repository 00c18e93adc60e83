// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// What rollups charge for calldata, as the tests put it where rollups have it (anvil_setCode). Storage is set from
/// outside: slot 0 is the price of a unit of the parent chain's gas in wei, slot 1 the operator's fee in wei.

library CalldataGas {
    /// 4 for a zero byte and 16 for another, as the OP stack's GasPriceOracle counts before Fjord, with the 68 bytes
    /// that a signature adds.
    function count(bytes calldata data) internal pure returns (uint256 total) {
        total = 68 * 16;
        for (uint256 i = 0; i < data.length; ++i) {
            total += data[i] == 0 ? 4 : 16;
        }
    }
}

/// The OP stack's oracle before Isthmus: there is no operator's fee.
contract TestFjordOracle {
    uint256 public price;

    function getL1Fee(bytes calldata data) external view returns (uint256) {
        return CalldataGas.count(data) * price;
    }
}

contract TestGasPriceOracle is TestFjordOracle {
    uint256 public operatorFee;

    function getOperatorFee(uint256 gasUsed) external view returns (uint256) {
        return gasUsed * operatorFee / 1e6 + operatorFee;
    }
}

/// Arbitrum's NodeInterface, which no chain has as a contract: its nodes answer for it.
contract TestNodeInterface {
    uint256 public price;

    function gasEstimateL1Component(address, bool, bytes calldata data)
        external
        view
        returns (uint64 gasEstimateForL1, uint256 baseFee, uint256 l1BaseFeeEstimate)
    {
        return (uint64(CalldataGas.count(data) * price / 1e9), block.basefee, price);
    }
}
