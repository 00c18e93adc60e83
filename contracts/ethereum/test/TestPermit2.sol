// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IPermit2} from "../RainbowHtlc.sol";
import {TestToken} from "./TestToken.sol";

/// What Permit2's specification says of `permitWitnessTransferFrom`, for tests on chains without Permit2.
contract TestPermit2 {
    mapping(address => mapping(uint256 => bool)) public used;

    error BadPermit();

    function permitWitnessTransferFrom(
        IPermit2.PermitTransferFrom calldata permit,
        IPermit2.SignatureTransferDetails calldata transferDetails,
        address owner,
        bytes32 witness,
        string calldata witnessTypeString,
        bytes calldata signature
    ) external {
        bytes32 typeHash = keccak256(
            abi.encodePacked(
                "PermitWitnessTransferFrom(TokenPermissions permitted,address spender,uint256 nonce,uint256 deadline,",
                witnessTypeString
            )
        );
        bytes32 permitted = keccak256(
            abi.encode(
                keccak256("TokenPermissions(address token,uint256 amount)"), permit.permitted.token, permit.permitted.amount
            )
        );
        bytes32 structHash =
            keccak256(abi.encode(typeHash, permitted, msg.sender, permit.nonce, permit.deadline, witness));
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,uint256 chainId,address verifyingContract)"),
                keccak256("Permit2"),
                block.chainid,
                address(this)
            )
        );
        address signer = ecrecover(
            keccak256(abi.encodePacked(hex"1901", domain, structHash)),
            uint8(signature[64]),
            bytes32(signature[0:32]),
            bytes32(signature[32:64])
        );
        if (signer == address(0) || signer != owner) revert BadPermit();
        if (block.timestamp > permit.deadline || used[owner][permit.nonce]) revert BadPermit();
        if (transferDetails.requestedAmount > permit.permitted.amount) revert BadPermit();
        used[owner][permit.nonce] = true;
        TestToken(permit.permitted.token).transferFrom(owner, transferDetails.to, transferDetails.requestedAmount);
    }
}
