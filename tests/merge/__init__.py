"""The merge pipeline."""
