"""Connections: who may have one, whose turn it is, and how long a client may take over what it owes."""
