// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {TestToken} from "./TestToken.sol";

/// Keeps one percent of every transfer.
contract FeeToken is TestToken {
    function _move(address from, address to, uint256 amount) internal override {
        super._move(from, to, amount - amount / 100);
        balanceOf[from] -= amount / 100;
    }
}

/// Returns nothing, like USDT.
contract NoReturnToken is TestToken {
    function transfer(address to, uint256 amount) external override returns (bool) {
        _move(msg.sender, to, amount);
        assembly {
            return(0, 0)
        }
    }

    function transferFrom(address from, address to, uint256 amount) external override returns (bool) {
        _spendAllowance(from, amount);
        _move(from, to, amount);
        assembly {
            return(0, 0)
        }
    }
}

/// Says no by returning false instead of reverting, when told to.
contract FalseToken is TestToken {
    bool public refuses;

    function refuse(bool value) external {
        refuses = value;
    }

    function transfer(address to, uint256 amount) external override returns (bool) {
        if (refuses) return false;
        _move(msg.sender, to, amount);
        return true;
    }

    function transferFrom(address from, address to, uint256 amount) external override returns (bool) {
        if (refuses) return false;
        _spendAllowance(from, amount);
        _move(from, to, amount);
        return true;
    }
}

/// Answers like no token should: 31 zero bytes, so that what stood in the caller's memory could make it a 1.
contract ShortAnswerToken is TestToken {
    function transfer(address to, uint256 amount) external override returns (bool) {
        _move(msg.sender, to, amount);
        assembly {
            mstore(0, 0)
            return(0, 31)
        }
    }
}

/// Calls its senders and receivers, like ERC-777, and may keep a fee besides.
contract HookToken is TestToken {
    uint256 public feePercent;
    mapping(address => bool) public hooked;

    /// Ask to be called (ERC-1820 in miniature).
    function hook() external {
        hooked[msg.sender] = true;
    }

    function setFee(uint256 percent) external {
        feePercent = percent;
    }

    /// The sender is called before the move, the receiver after it.
    function _move(address from, address to, uint256 amount) internal override {
        if (hooked[from]) IHooked(from).tokensToSend(to, amount);
        uint256 fee = amount * feePercent / 100;
        super._move(from, to, amount - fee);
        balanceOf[from] -= fee;
        if (hooked[to]) IHooked(to).tokensReceived(from, amount);
    }
}

interface IHooked {
    function tokensToSend(address to, uint256 amount) external;
    function tokensReceived(address from, uint256 amount) external;
}
