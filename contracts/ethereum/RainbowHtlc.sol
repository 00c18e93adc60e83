// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Rainbow HTLC: hash-time-locked ETH and ERC-20, without owner, without upgrade, without pause.
///
/// A lock pays `recipient` whoever shows the preimage of `hashlock` (SHA-256), as long as it is open, or
/// pays `sender` back from `deadline` on. A claim has no upper time bound: a preimage that comes out late
/// still wins until the refund has happened. Anyone may submit either; the money can go nowhere else.
///
/// A lock is one storage slot. Its terms travel in calldata and in the `Locked` event; storage keeps only
/// that they are open. The identity of a lock is all its terms:
///
///     id = keccak256(abi.encode(chainId, this, sender, token, amount, hashlock, payee))
///
/// Two words are packed, because calldata and logs are most of what a lock costs beyond its slot:
///
///     payee = lane (32 bits) | deadline (64 bits) | recipient (160 bits)      who is paid, and until when
///     payer = amount (96 bits) | sender (160 bits)                            coin only; tokens have full words
///
/// Lane 0: the slot is the id itself, set to 1 and cleared when spent (the clearing is refunded by the EVM).
/// Lane n: the slot is keccak256(lane | sender), holds the id while open and 1 for ever after, so that a
/// frequent locker rewrites a warm-priced slot instead of creating one. A lane holds one lock at a time.
contract RainbowHtlc {
    /// Every term of a lock in plain form. token 0 = the coin (ETH); deadline in Unix seconds.
    struct Terms {
        address sender;
        address recipient;
        address token;
        uint256 amount;
        bytes32 hashlock;
        uint64 deadline;
        uint32 lane;
    }

    struct LockItem {
        uint256 payee;
        bytes32 hashlock;
        uint256 amount;
    }

    struct CoinClaim {
        uint256 payee;
        bytes32 preimage;
        uint256 payer;
    }

    struct TokenClaim {
        bytes32 preimage;
        uint256 payee;
        uint256 amount;
        address sender;
    }

    event Locked(bytes32 indexed hashlock, uint256 payee, uint256 payer);
    event LockedToken(bytes32 indexed hashlock, uint256 payee, address sender, address token, uint256 amount);
    event Claimed(bytes32 indexed id, bytes32 preimage);
    event ClaimedBytes(bytes32 indexed id, bytes preimage);
    event Refunded(bytes32 indexed id);

    /// No lock with exactly these terms is open: wrong preimage, wrong terms, or already spent.
    error NotOpen();
    /// These terms are open already, or the lane is busy.
    error AlreadyOpen();
    error ZeroAmount();
    error AmountTooLarge();
    error ZeroRecipient();
    error DeadlinePassed();
    error DeadlineNotReached();
    error WrongValue();
    error MixedRecipients();
    error PreimageTooLong();
    error EthTransferFailed();
    error TokenTransferFailed();
    /// What arrived is not what was promised: a fee-on-transfer or rebasing token.
    error TokenAmountMismatch();
    error Reentered();
    error SignatureInvalid();
    error SignatureExpired();
    error NonceUsed();
    error FeeTooHigh();

    string private constant NAME = "Rainbow HTLC";
    string private constant VERSION = "1";

    bytes32 private constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant CLAIM_FOR_TYPEHASH = keccak256(
        "ClaimFor(address sender,address recipient,address token,uint256 amount,bytes32 hashlock,uint64 deadline,uint32 lane,address relayer,uint256 maxFee,uint256 nonce,uint256 expiry)"
    );
    bytes32 private constant COOPERATIVE_REFUND_TYPEHASH = keccak256(
        "CooperativeRefund(address sender,address recipient,address token,uint256 amount,bytes32 hashlock,uint64 deadline,uint32 lane,uint256 nonce,uint256 expiry)"
    );

    bytes32 private constant LOCK_WITNESS_TYPEHASH =
        keccak256("LockWitness(address htlc,address recipient,bytes32 hashlock,uint64 deadline)");
    string private constant LOCK_WITNESS_TYPE =
        "LockWitness witness)LockWitness(address htlc,address recipient,bytes32 hashlock,uint64 deadline)TokenPermissions(address token,uint256 amount)";

    /// Uniswap's Permit2, at this address on every chain that has it.
    address private constant PERMIT2 = 0x000000000022D473030F116dDEE9F6B43aC78BA3;

    uint256 private constant HALF_SECP256K1_N =
        0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0;

    /// Used signature nonces, 256 to a word: `nonceBitmap[signer][nonce >> 8]`, bit `nonce & 255`.
    mapping(address signer => mapping(uint256 word => uint256 bits)) public nonceBitmap;

    // ------------------------------------------------------------------ lock

    /// Lock msg.value.
    function lockCoin(uint256 payee, bytes32 hashlock) external payable {
        _open(msg.sender, address(0), msg.value, hashlock, payee);
        _checkEth(msg.value);
        emit Locked(hashlock, payee, _payer(msg.sender, msg.value));
    }

    /// Lock several amounts of ETH; msg.value must be their sum.
    function lockCoinBatch(LockItem[] calldata items) external payable {
        uint256 sum;
        for (uint256 i; i < items.length; ++i) {
            LockItem calldata item = items[i];
            _open(msg.sender, address(0), item.amount, item.hashlock, item.payee);
            _checkEth(item.amount);
            sum += item.amount;
            emit Locked(item.hashlock, item.payee, _payer(msg.sender, item.amount));
        }
        if (sum != msg.value) revert WrongValue();
    }

    /// Lock an ERC-20 that msg.sender has approved for this contract.
    function lockToken(address token, bytes32 hashlock, uint256 payee, uint256 amount) external {
        _lockToken(token, hashlock, payee, amount);
    }

    /// Lock several amounts of one ERC-20 with one transfer.
    function lockTokenBatch(address token, LockItem[] calldata items) external {
        uint256 sum;
        for (uint256 i; i < items.length; ++i) {
            LockItem calldata item = items[i];
            _open(msg.sender, token, item.amount, item.hashlock, item.payee);
            sum += item.amount;
            emit LockedToken(item.hashlock, item.payee, msg.sender, token, item.amount);
        }
        uint256 before = _beginPull(token);
        _transferFrom(token, msg.sender, sum);
        _endPull(token, before, sum);
    }

    /// Lock an ERC-20 with an EIP-2612 permit of msg.sender, in one transaction. A permit that somebody
    /// else has submitted first does no harm: what counts is the allowance.
    function lockTokenWithPermit(
        address token,
        bytes32 hashlock,
        uint256 payee,
        uint256 amount,
        uint256 permitDeadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external {
        try IERC2612(token).permit(msg.sender, address(this), amount, permitDeadline, v, r, s) {} catch {}
        _lockToken(token, hashlock, payee, amount);
    }

    /// Lock `owner`'s ERC-20 with its Permit2 signature. The signature's witness binds this contract, the
    /// recipient, the hashlock and the deadline, so anyone may submit it. Lane 0 only.
    function lockTokenWithPermit2(
        address token,
        bytes32 hashlock,
        uint256 payee,
        uint256 amount,
        address owner,
        uint256 nonce,
        uint256 permitDeadline,
        bytes calldata signature
    ) external {
        payee &= type(uint224).max;
        _open(owner, token, amount, hashlock, payee);
        emit LockedToken(hashlock, payee, owner, token, amount);
        bytes32 witness = keccak256(
            abi.encode(LOCK_WITNESS_TYPEHASH, address(this), address(uint160(payee)), hashlock, uint64(payee >> 160))
        );
        uint256 before = _beginPull(token);
        IPermit2(PERMIT2).permitWitnessTransferFrom(
            IPermit2.PermitTransferFrom(IPermit2.TokenPermissions(token, amount), nonce, permitDeadline),
            IPermit2.SignatureTransferDetails(address(this), amount),
            owner,
            witness,
            LOCK_WITNESS_TYPE,
            signature
        );
        _endPull(token, before, amount);
    }

    // ----------------------------------------------------------------- claim

    /// Pay locked ETH to its recipient. Anyone may call.
    function claimCoin(uint256 payee, bytes32 preimage, uint256 payer) external {
        uint256 amount = payer >> 160;
        bytes32 id = _lockId(address(uint160(payer)), address(0), amount, _sha256(preimage), payee);
        _spend(id, address(uint160(payer)), payee >> 224);
        emit Claimed(id, preimage);
        _sendEth(address(uint160(payee)), amount);
    }

    /// Pay a locked ERC-20 to its recipient. Anyone may call.
    function claimToken(address token, bytes32 preimage, uint256 payee, uint256 amount, address sender) external {
        bytes32 id = _lockId(sender, token, amount, _sha256(preimage), payee);
        _spend(id, sender, payee >> 224);
        emit Claimed(id, preimage);
        _sendToken(token, address(uint160(payee)), amount);
    }

    /// Pay several ETH locks of one recipient with one transfer. Locks that are not open (any more) are
    /// left out, so that nobody can spoil a batch by claiming one of its locks first; reverts if none is open.
    function claimCoinBatch(CoinClaim[] calldata items) external {
        uint256 sum;
        address recipient = items.length == 0 ? address(0) : address(uint160(items[0].payee));
        for (uint256 i; i < items.length; ++i) {
            CoinClaim calldata item = items[i];
            if (address(uint160(item.payee)) != recipient) revert MixedRecipients();
            uint256 amount = item.payer >> 160;
            bytes32 id =
                _lockId(address(uint160(item.payer)), address(0), amount, _sha256(item.preimage), item.payee);
            if (!_trySpend(id, address(uint160(item.payer)), item.payee >> 224)) continue;
            sum += amount;
            emit Claimed(id, item.preimage);
        }
        if (sum == 0) revert NotOpen();
        _sendEth(recipient, sum);
    }

    /// claimCoinBatch for one ERC-20.
    function claimTokenBatch(address token, TokenClaim[] calldata items) external {
        uint256 sum;
        address recipient = items.length == 0 ? address(0) : address(uint160(items[0].payee));
        for (uint256 i; i < items.length; ++i) {
            TokenClaim calldata item = items[i];
            if (address(uint160(item.payee)) != recipient) revert MixedRecipients();
            bytes32 id = _lockId(item.sender, token, item.amount, _sha256(item.preimage), item.payee);
            if (!_trySpend(id, item.sender, item.payee >> 224)) continue;
            sum += item.amount;
            emit Claimed(id, item.preimage);
        }
        if (sum == 0) revert NotOpen();
        _sendToken(token, recipient, sum);
    }

    /// Claim with a preimage of 0 to 64 bytes (what every chain of the bridge accepts). `terms.hashlock` must
    /// be its SHA-256.
    function claimBytes(bytes calldata preimage, Terms calldata terms) external {
        bytes32 id = _spendWith(preimage, terms);
        emit ClaimedBytes(id, preimage);
        _send(terms.token, terms.recipient, terms.amount);
    }

    /// Claim for a recipient who has no ETH: msg.sender, whom the recipient's signature names, takes `fee`
    /// out of the amount, at most the `maxFee` of the signature; the recipient gets the rest.
    function claimFor(
        bytes calldata preimage,
        Terms calldata terms,
        uint256 fee,
        uint256 maxFee,
        uint256 nonce,
        uint256 expiry,
        bytes calldata signature
    ) external {
        if (fee > maxFee || fee > terms.amount) revert FeeTooHigh();
        bytes32 id = _spendWith(preimage, terms);
        _useSignature(
            terms.recipient,
            keccak256(abi.encode(CLAIM_FOR_TYPEHASH, terms, msg.sender, maxFee, nonce, expiry)),
            nonce,
            expiry,
            signature
        );
        emit ClaimedBytes(id, preimage);
        _send(terms.token, terms.recipient, terms.amount - fee);
        if (fee != 0) _send(terms.token, msg.sender, fee);
    }

    // ---------------------------------------------------------------- refund

    /// Pay locked ETH back to its sender, from the deadline on. Anyone may call.
    function refundCoin(uint256 payee, bytes32 hashlock, uint256 payer) external {
        uint256 amount = payer >> 160;
        _checkDeadline(payee);
        bytes32 id = _lockId(address(uint160(payer)), address(0), amount, hashlock, payee);
        _spend(id, address(uint160(payer)), payee >> 224);
        emit Refunded(id);
        _sendEth(address(uint160(payer)), amount);
    }

    /// Pay a locked ERC-20 back to its sender, from the deadline on. Anyone may call.
    function refundToken(address token, bytes32 hashlock, uint256 payee, uint256 amount, address sender) external {
        _checkDeadline(payee);
        bytes32 id = _lockId(sender, token, amount, hashlock, payee);
        _spend(id, sender, payee >> 224);
        emit Refunded(id);
        _sendToken(token, sender, amount);
    }

    /// Pay a lock back before its deadline, with the recipient's signature. Anyone may submit it.
    function cooperativeRefund(Terms calldata terms, uint256 nonce, uint256 expiry, bytes calldata signature)
        external
    {
        bytes32 id = lockId(terms);
        _spend(id, terms.sender, terms.lane);
        _useSignature(
            terms.recipient,
            keccak256(abi.encode(COOPERATIVE_REFUND_TYPEHASH, terms, nonce, expiry)),
            nonce,
            expiry,
            signature
        );
        emit Refunded(id);
        _send(terms.token, terms.sender, terms.amount);
    }

    /// Withdraw signatures of msg.sender that have not been used: nonces of word `word` whose bit is in `mask`.
    function cancelNonces(uint256 word, uint256 mask) external {
        nonceBitmap[msg.sender][word] |= mask;
    }

    // ------------------------------------------------------------------ view

    /// The id of a lock with these terms on this chain and contract.
    function lockId(Terms calldata terms) public view returns (bytes32) {
        return _lockId(terms.sender, terms.token, terms.amount, terms.hashlock, _payee(terms));
    }

    /// Whether a lock with exactly these terms is open.
    function isOpen(Terms calldata terms) external view returns (bool) {
        bytes32 id = lockId(terms);
        if (terms.lane == 0) return _load(id) != 0;
        return _load(_laneSlot(terms.sender, terms.lane)) == id;
    }

    /// Whether `sender` can put a new lock into `lane`.
    function isLaneFree(address sender, uint32 lane) external view returns (bool) {
        return lane == 0 || uint256(_load(_laneSlot(sender, lane))) <= 1;
    }

    /// The EIP-712 domain of this contract on this chain, as EIP-5267 describes it.
    function eip712Domain()
        external
        view
        returns (
            bytes1 fields,
            string memory name,
            string memory version,
            uint256 chainId,
            address verifyingContract,
            bytes32 salt,
            uint256[] memory extensions
        )
    {
        return (0x0f, NAME, VERSION, block.chainid, address(this), 0, new uint256[](0));
    }

    function _domainSeparator() private view returns (bytes32) {
        return keccak256(
            abi.encode(DOMAIN_TYPEHASH, keccak256(bytes(NAME)), keccak256(bytes(VERSION)), block.chainid, address(this))
        );
    }

    // -------------------------------------------------------------- internal

    function _lockId(address sender, address token, uint256 amount, bytes32 hashlock, uint256 payee)
        private
        view
        returns (bytes32 id)
    {
        // Hashes abi.encode(...) in place above the free memory pointer, without moving it.
        assembly ("memory-safe") {
            let p := mload(0x40)
            mstore(p, chainid())
            mstore(add(p, 0x20), address())
            mstore(add(p, 0x40), sender)
            mstore(add(p, 0x60), token)
            mstore(add(p, 0x80), amount)
            mstore(add(p, 0xa0), hashlock)
            mstore(add(p, 0xc0), payee)
            id := keccak256(p, 0xe0)
        }
    }

    function _laneSlot(address sender, uint256 lane) private pure returns (bytes32 slot) {
        assembly ("memory-safe") {
            mstore(0, or(shl(224, lane), sender))
            slot := keccak256(0, 0x20)
        }
    }

    function _load(bytes32 slot) private view returns (bytes32 value) {
        assembly ("memory-safe") {
            value := sload(slot)
        }
    }

    function _store(bytes32 slot, bytes32 value) private {
        assembly ("memory-safe") {
            sstore(slot, value)
        }
    }

    function _payer(address sender, uint256 amount) private pure returns (uint256) {
        return (amount << 160) | uint160(sender);
    }

    function _payee(Terms calldata terms) private pure returns (uint256) {
        return (uint256(terms.lane) << 224) | (uint256(terms.deadline) << 160) | uint160(terms.recipient);
    }

    function _checkEth(uint256 amount) private pure {
        if (amount > type(uint96).max) revert AmountTooLarge();
    }

    function _checkDeadline(uint256 payee) private view {
        if (block.timestamp < uint64(payee >> 160)) revert DeadlineNotReached();
    }

    function _open(address sender, address token, uint256 amount, bytes32 hashlock, uint256 payee) private {
        if (amount == 0) revert ZeroAmount();
        if (address(uint160(payee)) == address(0)) revert ZeroRecipient();
        if (uint64(payee >> 160) <= block.timestamp) revert DeadlinePassed();
        bytes32 id = _lockId(sender, token, amount, hashlock, payee);
        uint256 lane = payee >> 224;
        if (lane == 0) {
            if (_load(id) != 0) revert AlreadyOpen();
            _store(id, bytes32(uint256(1)));
        } else {
            bytes32 slot = _laneSlot(sender, lane);
            if (uint256(_load(slot)) > 1) revert AlreadyOpen();
            _store(slot, id);
        }
    }

    function _trySpend(bytes32 id, address sender, uint256 lane) private returns (bool) {
        if (lane == 0) {
            if (_load(id) == 0) return false;
            _store(id, 0);
        } else {
            bytes32 slot = _laneSlot(sender, lane);
            if (_load(slot) != id) return false;
            _store(slot, bytes32(uint256(1)));
        }
        return true;
    }

    function _spend(bytes32 id, address sender, uint256 lane) private {
        if (!_trySpend(id, sender, lane)) revert NotOpen();
    }

    function _spendWith(bytes calldata preimage, Terms calldata terms) private returns (bytes32 id) {
        if (preimage.length > 64) revert PreimageTooLong();
        if (sha256(preimage) != terms.hashlock) revert NotOpen();
        id = lockId(terms);
        _spend(id, terms.sender, terms.lane);
    }

    function _sha256(bytes32 preimage) private view returns (bytes32 digest) {
        assembly ("memory-safe") {
            mstore(0, preimage)
            // The precompile cannot fail but for want of gas, and then all of this reverts below.
            if iszero(staticcall(gas(), 2, 0, 0x20, 0, 0x20)) { revert(0, 0) }
            digest := mload(0)
        }
    }

    function _send(address token, address to, uint256 amount) private {
        if (token == address(0)) _sendEth(to, amount);
        else _sendToken(token, to, amount);
    }

    function _sendEth(address to, uint256 amount) private {
        bool ok;
        assembly ("memory-safe") {
            ok := call(gas(), to, amount, 0, 0, 0, 0)
        }
        if (!ok) revert EthTransferFailed();
    }

    function _sendToken(address token, address to, uint256 amount) private {
        bool ok;
        assembly ("memory-safe") {
            mstore(0x14, to)
            mstore(0x34, amount)
            mstore(0, 0xa9059cbb000000000000000000000000) // transfer(address,uint256)
            ok := call(gas(), token, 0, 0x10, 0x44, 0, 0x20)
            ok := and(ok, or(and(eq(mload(0), 1), gt(returndatasize(), 0x1f)), iszero(returndatasize())))
            if iszero(returndatasize()) { ok := and(ok, gt(extcodesize(token), 0)) }
            mstore(0x34, 0) // the upper half of the free memory pointer
        }
        if (!ok) revert TokenTransferFailed();
    }

    function _lockToken(address token, bytes32 hashlock, uint256 payee, uint256 amount) private {
        _open(msg.sender, token, amount, hashlock, payee);
        emit LockedToken(hashlock, payee, msg.sender, token, amount);
        uint256 before = _beginPull(token);
        _transferFrom(token, msg.sender, amount);
        _endPull(token, before, amount);
    }

    /// A deposit counts what arrives, so no other deposit may run inside it (a token with hooks and a fee
    /// could make one deposit's arrival count for two).
    function _beginPull(address token) private returns (uint256 before) {
        bool entered;
        assembly ("memory-safe") {
            entered := tload(0)
            tstore(0, 1)
        }
        if (entered) revert Reentered();
        return _balance(token);
    }

    function _endPull(address token, uint256 before, uint256 amount) private {
        if (_balance(token) - before != amount) revert TokenAmountMismatch();
        assembly ("memory-safe") {
            tstore(0, 0)
        }
    }

    function _balance(address token) private view returns (uint256 value) {
        bool ok;
        assembly ("memory-safe") {
            mstore(0, 0x70a0823100000000000000000000000000000000000000000000000000000000) // balanceOf(address)
            mstore(4, address())
            // A codeless address answers with no data.
            ok := and(gt(returndatasize(), 0x1f), staticcall(gas(), token, 0, 0x24, 0, 0x20))
            value := mload(0)
        }
        if (!ok) revert TokenTransferFailed();
    }

    function _transferFrom(address token, address from, uint256 amount) private {
        bool ok;
        assembly ("memory-safe") {
            let p := mload(0x40)
            mstore(p, 0x23b872dd00000000000000000000000000000000000000000000000000000000) // transferFrom
            mstore(add(p, 0x04), from)
            mstore(add(p, 0x24), address())
            mstore(add(p, 0x44), amount)
            ok := call(gas(), token, 0, p, 0x64, 0, 0x20)
            ok := and(ok, or(and(eq(mload(0), 1), gt(returndatasize(), 0x1f)), iszero(returndatasize())))
        }
        if (!ok) revert TokenTransferFailed();
    }

    function _useSignature(
        address signer,
        bytes32 structHash,
        uint256 nonce,
        uint256 expiry,
        bytes calldata signature
    ) private {
        if (block.timestamp > expiry) revert SignatureExpired();
        uint256 bit = 1 << (nonce & 255);
        uint256 used = nonceBitmap[signer][nonce >> 8];
        if (used & bit != 0) revert NonceUsed();
        nonceBitmap[signer][nonce >> 8] = used | bit;
        bytes32 digest = keccak256(abi.encodePacked(hex"1901", _domainSeparator(), structHash));
        if (!_isSigned(signer, digest, signature)) revert SignatureInvalid();
    }

    /// A signature by the key of `signer`, or, where it has code (a smart wallet, or an EIP-7702 account whose
    /// key did not sign), one that its EIP-1271 method accepts.
    function _isSigned(address signer, bytes32 digest, bytes calldata signature) private view returns (bool) {
        if (signature.length == 65) {
            bytes32 r = bytes32(signature[0:32]);
            bytes32 s = bytes32(signature[32:64]);
            if (uint256(s) <= HALF_SECP256K1_N) {
                address recovered = ecrecover(digest, uint8(signature[64]), r, s);
                if (recovered == signer && recovered != address(0)) return true;
            }
        }
        if (signer.code.length == 0) return false;
        (bool ok, bytes memory answer) =
            signer.staticcall(abi.encodeCall(IERC1271.isValidSignature, (digest, signature)));
        return ok && answer.length >= 32 && bytes32(answer) == bytes32(IERC1271.isValidSignature.selector);
    }
}

interface IERC1271 {
    function isValidSignature(bytes32 digest, bytes calldata signature) external view returns (bytes4);
}

interface IERC2612 {
    function permit(address owner, address spender, uint256 value, uint256 deadline, uint8 v, bytes32 r, bytes32 s)
        external;
}

interface IPermit2 {
    struct TokenPermissions {
        address token;
        uint256 amount;
    }

    struct PermitTransferFrom {
        TokenPermissions permitted;
        uint256 nonce;
        uint256 deadline;
    }

    struct SignatureTransferDetails {
        address to;
        uint256 requestedAmount;
    }

    function permitWitnessTransferFrom(
        PermitTransferFrom calldata permit,
        SignatureTransferDetails calldata transferDetails,
        address owner,
        bytes32 witness,
        string calldata witnessTypeString,
        bytes calldata signature
    ) external;
}
