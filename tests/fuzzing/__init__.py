"""The Core under what nobody means well with: the interface, the bytes of a connection, text wherever it enters."""
