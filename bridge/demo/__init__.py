"""The demonstration: real value crosses between real nodes, and everything is accounted for."""
