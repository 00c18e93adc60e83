"""What a node keeps on disk: accounts, locks, blocks and undo records, and how a block changes them."""
