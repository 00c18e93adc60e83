"""An explicit-state check of `bridge.protocol`: two chains, two hostile parties, every order of events.

`chain` is what the chains do, `model` who may do what in one slot of time, `engine` what the bridge does,
`promises` what must hold, `explore` the search. Start it with `make check-protocol`.
"""
