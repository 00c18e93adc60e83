// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// A contract account for tests: does what it is told, can refuse coins, can be an EIP-1271 wallet, and can
/// react with any calls to receiving coins or to the hooks of a token.
contract Actor {
    struct Step {
        address target;
        uint256 value;
        bytes data;
    }

    bool public refuses;
    bool public swallows;
    bool public answersShort;
    uint256 public reactions;
    Step[] private steps;
    mapping(bytes32 => bool) public approved;

    error Refused();

    function run(address target, uint256 value, bytes calldata data) external payable returns (bytes memory) {
        return _do(target, value, data);
    }

    /// Several calls in one transaction.
    function runAll(Step[] calldata all) external payable {
        for (uint256 i; i < all.length; ++i) {
            _do(all[i].target, all[i].value, all[i].data);
        }
    }

    function refuse(bool value) external {
        refuses = value;
    }

    /// Whether failures of reactions are swallowed.
    function swallow(bool value) external {
        swallows = value;
    }

    /// What to do, once, at the next receipt of coins or the next token hook.
    function react(Step[] calldata all) external {
        for (uint256 i; i < all.length; ++i) {
            steps.push(all[i]);
        }
    }

    function approveDigest(bytes32 digest) external {
        approved[digest] = true;
    }

    /// Answer EIP-1271 with four bytes instead of a word.
    function answerShort(bool value) external {
        answersShort = value;
    }

    function isValidSignature(bytes32 digest, bytes calldata) external view returns (bytes4) {
        if (answersShort && approved[digest]) {
            bytes32 magic = this.isValidSignature.selector;
            assembly {
                mstore(0, magic)
                return(0, 4)
            }
        }
        return approved[digest] ? this.isValidSignature.selector : bytes4(0xffffffff);
    }

    function tokensToSend(address, uint256) external {
        _reactOnce();
    }

    function tokensReceived(address, uint256) external {
        _reactOnce();
    }

    receive() external payable {
        if (refuses) revert Refused();
        _reactOnce();
    }

    function _reactOnce() private {
        if (reactions == steps.length) return;
        uint256 first = reactions;
        reactions = steps.length;
        for (uint256 i = first; i < reactions; ++i) {
            Step memory step = steps[i];
            if (swallows) {
                (bool ok,) = step.target.call{value: step.value}(step.data);
                ok;
            } else {
                _do(step.target, step.value, step.data);
            }
        }
    }

    function _do(address target, uint256 value, bytes memory data) private returns (bytes memory answer) {
        bool ok;
        (ok, answer) = target.call{value: value}(data);
        if (!ok) {
            assembly {
                revert(add(answer, 0x20), mload(answer))
            }
        }
    }
}
