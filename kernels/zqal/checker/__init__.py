"""The type checker: from the syntax tree to a typed program without generics, or to a list of faults.

`modules` loads files and makes functions for given sizes; `statements`, `expressions`, `choices` and `calls`
check bodies; `builtins` knows the built-in functions, `arithmetic` the rules of operators and intervals,
`scope` the names.
"""
