"""What somebody who waits for a backup or a restore is told."""


class Progress:
    """Tells nobody; who shows it overrides."""

    def begin(self, doing: str, total: int = 0) -> None:
        """The next step has begun; it has about so many rows (0: nobody knows)."""

    def advance(self, rows: int) -> None:
        """So many more rows of this step are done."""
