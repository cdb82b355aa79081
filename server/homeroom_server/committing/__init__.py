"""How a batch of changes gets into the database."""
