"""Stellar: XLM and issued assets in hash time-locks made of a gate account and a claimable balance."""
