"""Backups of the Core, and restoring one (decision 19)."""
