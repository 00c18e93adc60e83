"""The rules of consensus, to be read: one function per rule, in the order in which a node applies them.

This is the specification as code; docs/zion-protocol.md says the same in words. Nodes run faster forms of it
(`chain.rules.compiled`, `chain.rules.locks`, `chain.state.evaluation`, `chain.consensus.chain`), which must
give the same verdict, the same reason and the same state: tests/property/test_specification.py holds them to
it.

A block passes three gates: its header (`blocks.check_header`), its transactions by themselves
(`blocks.check_body`), and its transactions against the state of its parent (`transition.apply_block`).
`fork_choice.on_block` leads it through them and says which branch is followed. A broken rule raises
`RuleBrokenError` with its `Reason` and the transaction's place.

Definitions that a node uses as they are stand in modules of their own: the fields' places
(`chain.rules.records`, `chain.rules.header`), `next_target` and `median_time_past`
(`chain.rules.difficulty`), `reward` (`chain.rules.rewards`), the work hash (`kernels.reference`).
"""
