"""The user's side: the REST client, a swap's steps, recovery files. Imports no server code."""
