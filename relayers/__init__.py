"""One daemon per chain, and the port through which the bridge sees a chain."""
