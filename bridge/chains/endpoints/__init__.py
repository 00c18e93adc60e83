"""What every chain needs of its RPC endpoints: several URLs used in turn, timeouts, errors without URLs."""
