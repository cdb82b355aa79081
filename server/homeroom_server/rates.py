"""How often a client may call: a bucket for each, which fills at a steady rate and holds two seconds' worth."""

import time

from homeroom.errors import Code, error
from homeroom_server.tally import Tally

_BURST_SECONDS = 2.0


class Rates:
    """`per_second_max`: calls of one client on this node; 0: as many as it likes."""

    def __init__(self, per_second_max: int, tally: Tally) -> None:
        self._per_second_max = per_second_max
        self._seconds_each = 1 / per_second_max if per_second_max else 0.0
        self._tally = tally
        self._full_at: dict[int, float] = {}

    def admit(self, client: int) -> None:
        """Count a call; raises RetryLater 2004 if the client's bucket is empty.

        A bucket is one number: when it will be full again, each call putting that off.
        """
        if not self._seconds_each:
            return
        now = time.monotonic()
        full_at = max(self._full_at.get(client, 0.0), now) + self._seconds_each
        if full_at - now > _BURST_SECONDS:
            self._tally.refusals["calls_per_client_per_second_max"] += 1
            detail = f"this client calls more than {self._per_second_max} times a second on this node"
            raise error(Code.CLIENT_LIMIT, f"{detail} (calls_per_client_per_second_max)")
        self._full_at[client] = full_at
