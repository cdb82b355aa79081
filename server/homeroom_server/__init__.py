"""The Core: one live, shared view of student records."""

__version__ = "0.1.0"
