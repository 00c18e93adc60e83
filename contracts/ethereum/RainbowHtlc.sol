// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Rainbow HTLC: hash-time-locked ETH and ERC-20, without owner, without upgrade, without pause.
///
/// A lock pays `recipient` once somebody shows the preimage of `hashlock` (SHA-256), as long as it is open,
/// or pays `sender` back from `deadline` on. A claim has no upper time bound: a preimage that comes out late
/// still wins until the refund has happened. Anyone may submit either; the money can go nowhere else.
///
/// A lock is one storage slot. Its terms travel in calldata and in the `Locked` event; storage keeps only
/// that they are open. The identity of a lock is all its terms:
///
///     native   id = keccak256(abi.encode(chainId, this, payee, hashlock, payer))
///     ERC-20   id = keccak256(abi.encode(chainId, this, payee, hashlock, token, amount, sender))
///
/// with two packed words, because calldata and logs are most of what a lock costs beyond its slot:
///
///     payee = lane (32 bits) | deadline (64 bits) | recipient (160 bits)
///     payer = amount (96 bits) | sender (160 bits)
///
/// Lane 0: the slot is the id itself, set to 1 and cleared when spent (the EVM refunds for clearing).
/// Lane n: the slot is keccak256(lane | sender), holds the id while open and 1 from then on, so that a
/// frequent sender rewrites a used slot instead of making a new one. A lane holds one lock at a time.
///
/// The four hot functions are assembly, for gas. Their arguments are in the order in which they are hashed,
/// so that the preimage of the id is laid out from address 0:
///
///     0 chainId   0x20 this   0x40 payee   0x60 hashlock   0x80 payer
///     0 chainId   0x20 this   0x40 payee   0x60 hashlock   0x80 token   0xa0 amount   0xc0 sender
///
/// They overwrite the free memory pointer and never return to Solidity: each ends in stop or revert.
contract RainbowHtlc {
    /// Every term of a lock in plain form. token 0 = the native coin; deadline in Unix seconds.
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

    struct NativeClaim {
        uint256 payee;
        bytes32 preimage;
        bytes32 payer;
    }

    struct ERC20Claim {
        uint256 payee;
        bytes32 preimage;
        uint256 amount;
        address sender;
    }

    event Locked(bytes32 indexed hashlock, uint256 payee, bytes32 payer);
    event LockedERC20(bytes32 indexed hashlock, uint256 payee, address sender, address token, uint256 amount);
    event Claimed(bytes32 indexed id, bytes32 preimage);
    event ClaimedBytes(bytes32 indexed id, bytes preimage);
    event Refunded(bytes32 indexed id);

    /// No lock with exactly these terms is open: wrong preimage, wrong terms, or already spent.
    error NotOpen();
    /// These terms are open already, or the lane is busy.
    error AlreadyOpen();
    /// Nothing to lock, 2**96 or more of the native coin, no recipient, or a deadline that is not ahead.
    error BadTerms();
    error DeadlineNotReached();
    error WrongValue();
    error MixedRecipients();
    error PreimageTooLong();
    error NativeTransferFailed();
    error ERC20TransferFailed();
    /// What arrived is not what was promised: a fee-on-transfer or rebasing token.
    error ERC20AmountMismatch();
    error Reentered();
    error SignatureInvalid();
    error SignatureExpired();
    error NonceUsed();
    error FeeTooHigh();

    string private constant NAME = "Rainbow HTLC";
    string private constant VERSION = "1";

    // Selectors of the errors that assembly reverts with.
    uint256 private constant NOT_OPEN = 0xddafad98;
    uint256 private constant ALREADY_OPEN = 0x965f8d94;
    uint256 private constant BAD_TERMS = 0x8dc59921;
    uint256 private constant DEADLINE_NOT_REACHED = 0x66ec4ee6;
    uint256 private constant NATIVE_TRANSFER_FAILED = 0xf4b3b1bc;
    uint256 private constant ERC20_AMOUNT_MISMATCH = 0xe861ad2a;
    uint256 private constant REENTERED = 0xb5dfd9e5;

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

    /// Used signature nonces, 256 to a word: `usedNonces[signer][nonce >> 8]`, bit `nonce & 255`.
    mapping(address signer => mapping(uint256 word => uint256 bits)) public usedNonces;

    // ------------------------------------------------------------------ lock

    /// Lock msg.value.
    function lockNative(uint256 payee, bytes32 hashlock) external payable {
        bytes32 topic = Locked.selector;
        assembly ("memory-safe") {
            let payer := or(shl(160, callvalue()), caller())
            mstore(0, chainid())
            mstore(0x20, address())
            mstore(0x40, payee)
            mstore(0x60, hashlock)
            mstore(0x80, payer)
            let id := keccak256(0, 0xa0)
            let slot := id
            let opened := 1
            let lane := shr(224, payee)
            if lane {
                mstore(0, or(shl(224, lane), caller()))
                slot := keccak256(0, 0x20)
                opened := id
            }
            let busy := gt(sload(slot), iszero(iszero(lane)))
            let sound :=
                and(
                    lt(sub(callvalue(), 1), 0xffffffffffffffffffffffff), // 0 < value < 2**96
                    and(
                        gt(and(shr(160, payee), 0xffffffffffffffff), timestamp()), // deadline ahead
                        gt(shl(96, payee), 0) // recipient given
                    )
                )
            if iszero(gt(sound, busy)) {
                mstore(0, ALREADY_OPEN)
                if iszero(sound) { mstore(0, BAD_TERMS) }
                revert(0x1c, 4)
            }
            sstore(slot, opened)
            mstore(0x60, payer)
            log2(0x40, 0x40, topic, hashlock)
            stop()
        }
    }

    /// Lock several amounts of the native coin; msg.value must be their sum.
    function lockNativeBatch(LockItem[] calldata items) external payable {
        uint256 sum;
        for (uint256 i; i < items.length; ++i) {
            LockItem calldata item = items[i];
            _lockNative(item.payee, item.hashlock, item.amount);
            sum += item.amount;
        }
        if (sum != msg.value) revert WrongValue();
    }

    /// Lock an ERC-20 that msg.sender has approved for this contract.
    ///
    /// What counts is what arrives (`_pull` says why nothing else matters, and what the mark is for).
    function lockERC20(uint256 payee, bytes32 hashlock, address token, uint256 amount) external {
        bytes32 topic = LockedERC20.selector;
        assembly ("memory-safe") {
            mstore(0, chainid())
            mstore(0x20, address())
            calldatacopy(0x40, 4, 0x80)
            mstore(0xc0, caller())
            let id := keccak256(0, 0xe0)
            let slot := id
            let opened := 1
            let lane := shr(224, payee)
            if lane {
                mstore(0, or(shl(224, lane), caller()))
                slot := keccak256(0, 0x20)
                opened := id
            }
            let busy := gt(sload(slot), iszero(iszero(lane)))
            let sound :=
                and(
                    gt(and(shr(160, payee), 0xffffffffffffffff), timestamp()), // deadline ahead
                    gt(shl(96, payee), 0) // recipient given
                )
            if iszero(gt(sound, busy)) {
                mstore(0, ALREADY_OPEN)
                if iszero(sound) { mstore(0, BAD_TERMS) }
                revert(0x1c, 4)
            }
            sstore(slot, opened)
            mstore(0x60, caller())
            log2(0x40, 0x80, topic, hashlock) // payee, sender, token, amount

            mstore(0, 0x70a08231) // balanceOf(this), at 0x1c: `this` is at 0x20 already
            pop(staticcall(gas(), token, 0x1c, 0x24, 0xc0, 0x20))
            let before := mload(0xc0)
            mstore(0x40, 0x23b872dd) // transferFrom(caller, this, amount), at 0x5c: two of the three are there
            mstore(0x80, address())
            let mark := gas()
            tstore(0, mark)
            pop(call(gas(), token, 0, 0x5c, 0x64, 0, 0))
            pop(staticcall(gas(), token, 0x1c, 0x24, 0xc0, 0x20))
            let arrived := sub(mload(0xc0), before)
            // The right amount, not by wrapping around, and no other deposit inside this one.
            if or(or(xor(arrived, amount), iszero(gt(mload(0xc0), before))), xor(tload(0), mark)) {
                mstore(0, REENTERED)
                if eq(tload(0), mark) { mstore(0, ERC20_AMOUNT_MISMATCH) }
                revert(0x1c, 4)
            }
            stop()
        }
    }

    /// Lock several amounts of one ERC-20 with one transfer.
    function lockERC20Batch(address token, LockItem[] calldata items) external {
        uint256 sum;
        for (uint256 i; i < items.length; ++i) {
            LockItem calldata item = items[i];
            _openERC20(item.payee, item.hashlock, token, item.amount, msg.sender);
            sum += item.amount;
        }
        _pull(token, sum);
    }

    /// Lock an ERC-20 with an EIP-2612 permit of msg.sender, in one transaction. A permit that somebody
    /// else has submitted first does no harm: what counts is the allowance.
    function lockERC20WithPermit(
        uint256 payee,
        bytes32 hashlock,
        address token,
        uint256 amount,
        uint256 permitDeadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external {
        try IERC2612(token).permit(msg.sender, address(this), amount, permitDeadline, v, r, s) {} catch {}
        _openERC20(payee, hashlock, token, amount, msg.sender);
        _pull(token, amount);
    }

    /// Lock `owner`'s ERC-20 with its Permit2 signature. The signature's witness binds this contract, the
    /// recipient, the hashlock and the deadline, so anyone may submit it. Lane 0 only.
    function lockERC20WithPermit2(
        uint256 payee,
        bytes32 hashlock,
        address token,
        uint256 amount,
        address owner,
        uint256 nonce,
        uint256 permitDeadline,
        bytes calldata signature
    ) external {
        payee &= type(uint224).max;
        _openERC20(payee, hashlock, token, amount, owner);
        bytes32 witness = keccak256(
            abi.encode(LOCK_WITNESS_TYPEHASH, address(this), address(uint160(payee)), hashlock, uint64(payee >> 160))
        );
        (uint256 mark, uint256 before) = _beginPull(token);
        IPermit2(PERMIT2).permitWitnessTransferFrom(
            IPermit2.PermitTransferFrom(IPermit2.TokenPermissions(token, amount), nonce, permitDeadline),
            IPermit2.SignatureTransferDetails(address(this), amount),
            owner,
            witness,
            LOCK_WITNESS_TYPE,
            signature
        );
        _endPull(token, amount, mark, before);
    }

    // ----------------------------------------------------------------- claim

    /// Pay a locked native coin to its recipient. Anyone may call.
    function claimNative(uint256 payee, bytes32 preimage, bytes32 payer) external {
        bytes32 topic = Claimed.selector;
        assembly ("memory-safe") {
            mstore(0, chainid())
            mstore(0x20, address())
            calldatacopy(0x40, 4, 0x60)
            // The preimage becomes its SHA-256 in place.
            if iszero(staticcall(gas(), 2, 0x60, 0x20, 0x60, 0x20)) { revert(0, 0) }
            let id := keccak256(0, 0xa0)
            let slot := id
            let opened := 1
            let spent := 0
            let lane := shr(224, payee)
            if lane {
                mstore(0, or(shl(224, lane), and(payer, 0xffffffffffffffffffffffffffffffffffffffff)))
                slot := keccak256(0, 0x20)
                opened := id
                spent := 1
            }
            if xor(sload(slot), opened) {
                mstore(0, NOT_OPEN)
                revert(0x1c, 4)
            }
            sstore(slot, spent)
            mstore(0, preimage)
            log2(0, 0x20, topic, id)
            if iszero(call(gas(), payee, shr(160, payer), 0, 0, 0, 0)) {
                mstore(0, NATIVE_TRANSFER_FAILED)
                revert(0x1c, 4)
            }
            stop()
        }
    }

    /// Pay a locked ERC-20 to its recipient. Anyone may call.
    function claimERC20(uint256 payee, bytes32 preimage, address token, uint256 amount, address sender) external {
        bytes32 id = _erc20Id(payee, _sha256(preimage), token, amount, sender);
        _spend(id, payee, uint160(sender));
        emit Claimed(id, preimage);
        _sendERC20(token, payee, amount);
    }

    /// Pay several native locks of one recipient with one transfer. Locks that are not open (any more) are
    /// left out, so that nobody can spoil a batch by claiming one of its locks first; reverts if none is open.
    function claimNativeBatch(NativeClaim[] calldata items) external {
        uint256 sum;
        uint256 recipient = items.length == 0 ? 0 : items[0].payee << 96;
        for (uint256 i; i < items.length; ++i) {
            NativeClaim calldata item = items[i];
            if (item.payee << 96 != recipient) revert MixedRecipients();
            bytes32 id = _nativeId(item.payee, _sha256(item.preimage), uint256(item.payer));
            if (!_trySpend(id, item.payee, uint256(item.payer))) continue;
            sum += uint256(item.payer) >> 160;
            emit Claimed(id, item.preimage);
        }
        if (sum == 0) revert NotOpen();
        _sendNative(recipient >> 96, sum);
    }

    /// claimNativeBatch for one ERC-20.
    function claimERC20Batch(address token, ERC20Claim[] calldata items) external {
        uint256 sum;
        uint256 recipient = items.length == 0 ? 0 : items[0].payee << 96;
        for (uint256 i; i < items.length; ++i) {
            ERC20Claim calldata item = items[i];
            if (item.payee << 96 != recipient) revert MixedRecipients();
            bytes32 id = _erc20Id(item.payee, _sha256(item.preimage), token, item.amount, item.sender);
            if (!_trySpend(id, item.payee, uint160(item.sender))) continue;
            sum += item.amount;
            emit Claimed(id, item.preimage);
        }
        if (sum == 0) revert NotOpen();
        _sendERC20(token, recipient >> 96, sum);
    }

    /// Claim with a preimage of 0 to 64 bytes (what every chain of the bridge accepts). `terms.hashlock` must
    /// be its SHA-256.
    function claimBytes(bytes calldata preimage, Terms calldata terms) external {
        _spendWith(preimage, terms);
        _send(terms.token, terms.recipient, terms.amount);
    }

    /// Claim for a recipient who has no coin for gas: msg.sender, whom the recipient's signature names, takes
    /// `fee` out of the amount, at most the `maxFee` of the signature; the recipient gets the rest.
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
        _spendWith(preimage, terms);
        _useSignature(
            terms.recipient,
            keccak256(abi.encode(CLAIM_FOR_TYPEHASH, terms, msg.sender, maxFee, nonce, expiry)),
            nonce,
            expiry,
            signature
        );
        _send(terms.token, terms.recipient, terms.amount - fee);
        if (fee != 0) _send(terms.token, msg.sender, fee);
    }

    // ---------------------------------------------------------------- refund

    /// Pay a locked native coin back to its sender, from the deadline on. Anyone may call.
    function refundNative(uint256 payee, bytes32 hashlock, bytes32 payer) external {
        bytes32 topic = Refunded.selector;
        assembly ("memory-safe") {
            mstore(0, chainid())
            mstore(0x20, address())
            mstore(0x40, payee)
            mstore(0x60, hashlock)
            mstore(0x80, payer)
            let id := keccak256(0, 0xa0)
            let slot := id
            let opened := 1
            let spent := 0
            let lane := shr(224, payee)
            if lane {
                mstore(0, or(shl(224, lane), and(payer, 0xffffffffffffffffffffffffffffffffffffffff)))
                slot := keccak256(0, 0x20)
                opened := id
                spent := 1
            }
            let early := lt(timestamp(), and(shr(160, payee), 0xffffffffffffffff))
            if or(early, xor(sload(slot), opened)) {
                mstore(0, NOT_OPEN)
                if early { mstore(0, DEADLINE_NOT_REACHED) }
                revert(0x1c, 4)
            }
            sstore(slot, spent)
            log2(0, 0, topic, id)
            if iszero(call(gas(), payer, shr(160, payer), 0, 0, 0, 0)) {
                mstore(0, NATIVE_TRANSFER_FAILED)
                revert(0x1c, 4)
            }
            stop()
        }
    }

    /// Pay a locked ERC-20 back to its sender, from the deadline on. Anyone may call.
    function refundERC20(uint256 payee, bytes32 hashlock, address token, uint256 amount, address sender) external {
        _checkDeadline(payee);
        bytes32 id = _erc20Id(payee, hashlock, token, amount, sender);
        _spend(id, payee, uint160(sender));
        emit Refunded(id);
        _sendERC20(token, uint160(sender), amount);
    }

    /// Pay a lock back before its deadline, with the recipient's signature. Anyone may submit it.
    function cooperativeRefund(Terms calldata terms, uint256 nonce, uint256 expiry, bytes calldata signature)
        external
    {
        bytes32 id = idOf(terms);
        _spend(id, _payee(terms), uint160(terms.sender));
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
        usedNonces[msg.sender][word] |= mask;
    }

    // ------------------------------------------------------------------ view

    /// The id of a lock with these terms on this chain and contract.
    function idOf(Terms calldata terms) public view returns (bytes32) {
        uint256 payee = _payee(terms);
        if (terms.token != address(0)) {
            return _erc20Id(payee, terms.hashlock, terms.token, terms.amount, terms.sender);
        }
        _checkNativeAmount(terms.amount);
        return _nativeId(payee, terms.hashlock, _payer(terms.sender, terms.amount));
    }

    /// Whether a lock with exactly these terms is open.
    function isOpen(Terms calldata terms) external view returns (bool) {
        bytes32 id = idOf(terms);
        if (terms.lane == 0) return _load(id) != 0;
        return _load(_laneSlot(_payee(terms), uint160(terms.sender))) == id;
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

    // -------------------------------------------------------------- identity

    function _nativeId(uint256 payee, bytes32 hashlock, uint256 payer) private view returns (bytes32 id) {
        // abi.encode above the free memory pointer, which need not move.
        assembly ("memory-safe") {
            let p := mload(0x40)
            mstore(p, chainid())
            mstore(add(p, 0x20), address())
            mstore(add(p, 0x40), payee)
            mstore(add(p, 0x60), hashlock)
            mstore(add(p, 0x80), payer)
            id := keccak256(p, 0xa0)
        }
    }

    function _erc20Id(uint256 payee, bytes32 hashlock, address token, uint256 amount, address sender)
        private
        view
        returns (bytes32 id)
    {
        assembly ("memory-safe") {
            let p := mload(0x40)
            mstore(p, chainid())
            mstore(add(p, 0x20), address())
            mstore(add(p, 0x40), payee)
            mstore(add(p, 0x60), hashlock)
            mstore(add(p, 0x80), token)
            mstore(add(p, 0xa0), amount)
            mstore(add(p, 0xc0), sender)
            id := keccak256(p, 0xe0)
        }
    }

    /// The slot of a lane: keccak256(lane (32 bits) | 0 (64) | sender (160)). One word is hashed, a lock's id
    /// hashes five or seven and the nonces' mapping two, so none can meet another.
    function _laneSlot(uint256 payee, uint256 payer) private pure returns (bytes32 slot) {
        assembly ("memory-safe") {
            mstore(0, or(shl(224, shr(224, payee)), and(payer, 0xffffffffffffffffffffffffffffffffffffffff)))
            slot := keccak256(0, 0x20)
        }
    }

    function _payer(address sender, uint256 amount) private pure returns (uint256) {
        return (amount << 160) | uint160(sender);
    }

    function _payee(Terms calldata terms) private pure returns (uint256) {
        return (uint256(terms.lane) << 224) | (uint256(terms.deadline) << 160) | uint160(terms.recipient);
    }

    function _sha256(bytes32 preimage) private view returns (bytes32 digest) {
        assembly ("memory-safe") {
            mstore(0, preimage)
            if iszero(staticcall(gas(), 2, 0, 0x20, 0, 0x20)) { revert(0, 0) }
            digest := mload(0)
        }
    }

    // ----------------------------------------------------------------- slots

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

    function _checkTerms(uint256 payee, uint256 amount) private view {
        if (amount == 0 || payee << 96 == 0 || uint64(payee >> 160) <= block.timestamp) revert BadTerms();
    }

    function _checkNativeAmount(uint256 amount) private pure {
        if (amount > type(uint96).max) revert BadTerms();
    }

    function _checkDeadline(uint256 payee) private view {
        if (block.timestamp < uint64(payee >> 160)) revert DeadlineNotReached();
    }

    function _lockNative(uint256 payee, bytes32 hashlock, uint256 amount) private {
        _checkTerms(payee, amount);
        _checkNativeAmount(amount);
        uint256 payer = _payer(msg.sender, amount);
        _open(_nativeId(payee, hashlock, payer), payee, payer);
        emit Locked(hashlock, payee, bytes32(payer));
    }

    function _openERC20(uint256 payee, bytes32 hashlock, address token, uint256 amount, address sender) private {
        _checkTerms(payee, amount);
        _open(_erc20Id(payee, hashlock, token, amount, sender), payee, uint160(sender));
        emit LockedERC20(hashlock, payee, sender, token, amount);
    }

    function _open(bytes32 id, uint256 payee, uint256 payer) private {
        if (payee >> 224 == 0) {
            if (_load(id) != 0) revert AlreadyOpen();
            _store(id, bytes32(uint256(1)));
        } else {
            bytes32 slot = _laneSlot(payee, payer);
            if (uint256(_load(slot)) > 1) revert AlreadyOpen();
            _store(slot, id);
        }
    }

    function _trySpend(bytes32 id, uint256 payee, uint256 payer) private returns (bool) {
        if (payee >> 224 == 0) {
            if (_load(id) == 0) return false;
            _store(id, 0);
        } else {
            bytes32 slot = _laneSlot(payee, payer);
            if (_load(slot) != id) return false;
            _store(slot, bytes32(uint256(1)));
        }
        return true;
    }

    function _spend(bytes32 id, uint256 payee, uint256 payer) private {
        if (!_trySpend(id, payee, payer)) revert NotOpen();
    }

    function _spendWith(bytes calldata preimage, Terms calldata terms) private {
        if (preimage.length > 64) revert PreimageTooLong();
        if (sha256(preimage) != terms.hashlock) revert NotOpen();
        bytes32 id = idOf(terms);
        _spend(id, _payee(terms), uint160(terms.sender));
        emit ClaimedBytes(id, preimage);
    }

    // ----------------------------------------------------------------- money

    function _send(address token, address to, uint256 amount) private {
        if (token == address(0)) _sendNative(uint160(to), amount);
        else _sendERC20(token, uint160(to), amount);
    }

    /// Pays the low 160 bits of `to`. Nothing that the receiver returns is copied.
    function _sendNative(uint256 to, uint256 amount) private {
        bool ok;
        assembly ("memory-safe") {
            ok := call(gas(), to, amount, 0, 0, 0, 0)
        }
        if (!ok) revert NativeTransferFailed();
    }

    /// Pays the low 160 bits of `to`; accepts tokens that return nothing.
    function _sendERC20(address token, uint256 to, uint256 amount) private {
        bool ok;
        assembly ("memory-safe") {
            let p := mload(0x40)
            mstore(p, 0xa9059cbb00000000000000000000000000000000000000000000000000000000) // transfer(address,uint256)
            mstore(add(p, 0x04), and(to, 0xffffffffffffffffffffffffffffffffffffffff))
            mstore(add(p, 0x24), amount)
            ok := call(gas(), token, 0, p, 0x44, 0, 0x20)
            switch returndatasize()
            case 0 { ok := and(ok, gt(extcodesize(token), 0)) }
            default { ok := and(ok, and(gt(returndatasize(), 0x1f), eq(mload(0), 1))) }
        }
        if (!ok) revert ERC20TransferFailed();
    }

    /// Takes `amount` from msg.sender. What counts is what arrives, so neither the answer of the token nor
    /// whether it has any code needs a check of its own.
    function _pull(address token, uint256 amount) private {
        (uint256 mark, uint256 before) = _beginPull(token);
        assembly ("memory-safe") {
            let p := mload(0x40)
            mstore(p, 0x23b872dd00000000000000000000000000000000000000000000000000000000) // transferFrom
            mstore(add(p, 0x04), caller())
            mstore(add(p, 0x24), address())
            mstore(add(p, 0x44), amount)
            pop(call(gas(), token, 0, p, 0x64, 0, 0))
        }
        _endPull(token, amount, mark, before);
    }

    /// No deposit may run inside another: with a token that has hooks and a fee, one deposit's arrival would
    /// count for two. Each deposit leaves its mark, the gas left, in transient storage; a deposit inside it
    /// has less gas left, so its mark differs, and the outer one finds it.
    function _beginPull(address token) private returns (uint256 mark, uint256 before) {
        before = _balance(token);
        assembly ("memory-safe") {
            mark := gas()
            tstore(0, mark)
        }
    }

    function _endPull(address token, uint256 amount, uint256 mark, uint256 before) private view {
        uint256 afterwards = _balance(token);
        bool nested;
        assembly ("memory-safe") {
            nested := xor(tload(0), mark)
        }
        if (nested) revert Reentered();
        if (afterwards <= before || afterwards - before != amount) revert ERC20AmountMismatch();
    }

    /// The tokens that this contract holds; 0 where `token` has no code or does not answer.
    function _balance(address token) private view returns (uint256 value) {
        assembly ("memory-safe") {
            mstore(0, 0x70a08231) // balanceOf(address)
            mstore(0x20, address())
            let ok := staticcall(gas(), token, 0x1c, 0x24, 0, 0x20)
            value := mul(mload(0), and(ok, gt(returndatasize(), 0x1f)))
        }
    }

    // ------------------------------------------------------------ signatures

    function _useSignature(
        address signer,
        bytes32 structHash,
        uint256 nonce,
        uint256 expiry,
        bytes calldata signature
    ) private {
        if (block.timestamp > expiry) revert SignatureExpired();
        uint256 bit = 1 << (nonce & 255);
        uint256 used = usedNonces[signer][nonce >> 8];
        if (used & bit != 0) revert NonceUsed();
        usedNonces[signer][nonce >> 8] = used | bit;
        bytes32 digest = keccak256(abi.encodePacked(hex"1901", _domainSeparator(), structHash));
        if (!_isSigned(signer, digest, signature)) revert SignatureInvalid();
    }

    /// Computed each time, so that the same code serves every chain and a chain split does no harm.
    function _domainSeparator() private view returns (bytes32) {
        return keccak256(
            abi.encode(DOMAIN_TYPEHASH, keccak256(bytes(NAME)), keccak256(bytes(VERSION)), block.chainid, address(this))
        );
    }

    /// A signature by the key of `signer`, or, where it has code (a smart wallet, or an EIP-7702 account whose
    /// key did not sign), one that its EIP-1271 method accepts. An account without code does not answer: refused.
    function _isSigned(address signer, bytes32 digest, bytes calldata signature) private view returns (bool) {
        if (signature.length == 65) {
            bytes32 r = bytes32(signature[0:32]);
            bytes32 s = bytes32(signature[32:64]);
            if (uint256(s) <= HALF_SECP256K1_N) {
                // An open lock has a recipient, so `signer` is not the 0 that ecrecover returns for garbage.
                if (ecrecover(digest, uint8(signature[64]), r, s) == signer) return true;
            }
        }
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
