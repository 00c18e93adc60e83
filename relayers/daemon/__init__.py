"""The daemon that watches one chain and drives what the bridge does on it. Families never import it."""
