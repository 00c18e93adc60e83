"""ZQAL: mining algorithms and consensus rules in one text, for every machine.

From source to machine: `parse` makes a syntax tree (`syntax`), `check` a typed one (`typed`) in which every
size, bound and overflow is decided; `oracle` runs that tree as it stands. `stage` turns it into `core`, a
few pure operations and counted loops; `legalize` leaves words of at most 64 bits; `backends` print or
compile the rest. docs/zqal/ has the tour, the reference and a description of the compiler.
"""
