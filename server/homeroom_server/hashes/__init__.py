"""Version hashes of streams: from memory where they are hot, else from PostgreSQL (decision 10)."""
