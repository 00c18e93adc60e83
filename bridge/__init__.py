"""The swap service of the Rainbow Bridge."""
