"""What refusals have in common that end a command."""


class RefusedError(Exception):
    """What was asked cannot be done; the message says why."""
