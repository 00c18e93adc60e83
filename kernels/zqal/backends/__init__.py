"""The backends: each prints or compiles legalized core for one kind of machine."""
