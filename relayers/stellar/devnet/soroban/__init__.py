"""A Soroban ledger on top of the emulated classic one: host, asset contract, auth, fees, time to live."""
