"""The interface as pages at /docs, with programs that use it."""
