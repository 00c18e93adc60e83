"""One repository per kind of row; they live inside a transaction and commit nothing themselves."""
