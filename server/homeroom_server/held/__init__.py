"""Requests that wait: what they are told, and who is told when."""
