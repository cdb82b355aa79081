"""HTTP in, JSON out: each module answers one service of the protocol."""
