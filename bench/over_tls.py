"""A crowd held and woken over TLS, and beside it as many over plain TCP."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import trustme

from bench.crowd import Crowd, ready_change
from bench.holder import holding_process
from bench.rig import Bed, serving, spread
from bench.wakes import Wake, hold_warm, wake


@dataclass(frozen=True, slots=True)
class Round:
    """What one node took, and how it woke all."""

    way: str
    held: int
    kilobytes_warm: float
    wake: Wake


async def beside_tcp(bed: Bed, options: Sequence[str], crowd: Crowd, count: int) -> list[Round]:
    """A node for each way, which everyone has asked once."""
    found = []
    for way, certificate in {"TLS": _certificate(bed.folder), "TCP": None}.items():
        async with holding_process(certificate) as holder:
            with serving(bed, *options, certificate=certificate) as rig:
                kilobytes = await hold_warm(bed, rig, crowd, holder, count)
                woken = await wake(holder, count, rig.pid, await ready_change(rig, crowd))
                await holder.close()
        found.append(Round(way, count, kilobytes, woken))
    return found


def rows(server: str, rounds: Sequence[Round]) -> list[list[str]]:
    """Of the table, the ways one below the other."""
    table = []
    for way in dict.fromkeys(each.way for each in rounds):
        some = [each for each in rounds if each.way == way]
        name = f"{server}, {some[0].held:,} over {way}"
        table += [
            [name, "KB per held, warm", spread([each.kilobytes_warm for each in some], 1), ""],
            [name, "last answer, ms", spread([each.wake.last_ms for each in some], 1), ""],
            [name, "answers/s", spread([each.wake.answers_per_second for each in some]), ""],
        ]
    return table


def _certificate(folder: Path) -> Path:
    """For loopback: a file with the key, the certificate and the authority that vouches for it."""
    authority, file = trustme.CA(), folder / "certificate.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(file)
    authority.cert_pem.write_to_path(file, append=True)
    return file
