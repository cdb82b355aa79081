"""What all refusals have in common."""


class RefusedError(Exception):
    """What was asked cannot be done; the message says why, and what to do."""
