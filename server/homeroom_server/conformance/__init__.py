"""Whether a server or a client keeps the protocol: suites that try it from outside, and what they say of it."""
