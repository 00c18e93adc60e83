"""What every chain needs of its endpoints: which one to ask, how an answer is judged, errors without URLs.

An endpoint that answers is not yet a good one. `selection` decides whom to ask (pure), `pool` asks, `http`
and `json_rpc` are the two ways to speak, `answers` says what an answer may be. A chain says only how to ask
and how to read an error.
"""
