// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

struct Step {
    address target;
    uint256 value;
    bytes data;
}

/// A contract account for tests that reaches the HTLC in every way a contract can: several calls in one
/// transaction, calls in calls, borrowed code, calls that fail or are undone.
contract Hostile {
    error Undone();

    receive() external payable {}

    /// Do all steps; where `strict`, one that fails ends the transaction.
    function run(Step[] calldata steps, bool strict) public payable {
        for (uint256 i; i < steps.length; ++i) {
            (bool ok,) = steps[i].target.call{value: steps[i].value}(steps[i].data);
            require(ok || !strict);
        }
    }

    /// The same, `depth` calls deep.
    function nest(uint256 depth, Step[] calldata steps, bool strict) external payable {
        if (depth == 0) run(steps, strict);
        else this.nest(depth - 1, steps, strict);
    }

    /// Run another contract's code as if it were this one's.
    function borrow(address code, bytes calldata data) external payable {
        (bool ok,) = code.delegatecall(data);
        require(ok);
    }

    /// Do all steps, then take them back; the transaction succeeds.
    function undo(Step[] calldata steps) external payable {
        try this.runThenRevert(steps) {} catch {}
    }

    function runThenRevert(Step[] calldata steps) external payable {
        run(steps, true);
        revert Undone();
    }
}

/// A contract that does its steps while it is being made.
contract Born {
    constructor(Step[] memory steps) payable {
        for (uint256 i; i < steps.length; ++i) {
            (bool ok,) = steps[i].target.call{value: steps[i].value}(steps[i].data);
            require(ok);
        }
    }
}
