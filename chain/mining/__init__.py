"""Building blocks and finding their nonces."""
