"""Version hashes of what is held: made when they must be, or when they cost little (protocol 4)."""

from dataclasses import dataclass

import anyio

from homeroom.replica.ledger import Ledger

_COST_SHARE_MAX = 0.05
"""Of all time, at most this much goes into hashes that are sent merely to be safe."""


@dataclass(frozen=True, slots=True)
class _Made:
    digest: str
    stamp: object
    at: float
    seconds: float


class Hashes:
    """The hash of each type, made anew when the storage may have been written to, by whatever hand."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._made: dict[str, _Made] = {}

    async def digest(self, name: str, *, must: bool) -> str | None:
        """The hash of what is stored now; None if it would be dear and there is no need."""
        stamp = await self._ledger.in_thread(self._ledger.storage.stamp)
        made, now = self._made.get(name), anyio.current_time()
        if made is not None and made.stamp == stamp:
            return made.digest
        if made is not None and not must and now - made.at < made.seconds / _COST_SHARE_MAX:
            return None
        digest = await self._ledger.in_thread(self._ledger.storage.version_hash, name)
        self._made[name] = _Made(digest, stamp, now, anyio.current_time() - now)
        return digest
