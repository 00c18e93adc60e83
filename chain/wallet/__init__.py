"""Keys, keystores, and building and signing transactions, offline."""
