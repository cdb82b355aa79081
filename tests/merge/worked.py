"""A worker process whose clock stands where the test wants it, and which looks often: `worked.py URL DATA_DIR NOW`.

NOW: a file with the time, read each time that somebody looks at the clock.
"""

import asyncio
import sys
from datetime import datetime
from pathlib import Path

import structlog

from homeroom_merge.command.worker import until_told
from homeroom_merge.runners.queue import QUEUES
from homeroom_merge.runners.work import Means
from homeroom_merge.runners.worker import Pace, Worker
from homeroom_merge.sis.forking import Forkserver

PACE = Pace(tick_seconds=0.2, poll_seconds=0.5, silent_seconds=2.0, grace_seconds=0.2)

if __name__ == "__main__":
    url, data_dir, clock = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    means = Means(
        url, data_dir, lambda: datetime.fromisoformat(clock.read_text()), beat_seconds=0.3, forkserver=Forkserver()
    )
    asyncio.run(until_told(Worker(means, QUEUES, 2, PACE)))
