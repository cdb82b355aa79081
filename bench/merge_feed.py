"""How long does a whole merge of a school take, from CSV files to the hub, and how much memory one of a district?

Each student brings about 25 records: an enrolment at school, two contacts, 20 in courses. A dry run, a first merge
(held, then approved), a night on which nothing has changed, and one on which a hundredth of the students has. The Core,
its PostgreSQL and that of the merge's state are on the same machine.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench.oneroster_export import STUDENTS_PER_SCHOOL, write_export
from bench.rig import Rig, report, running_node, spread

_HELD = 3
_ENTITIES = (
    "SchoolAuthority",
    "School",
    "Course",
    "Staff",
    "Student",
    "Contact",
    "StudentSchoolEnrolment",
    "Section",
    "StaffSection",
    "CourseEnrolment",
)


@dataclass(frozen=True, slots=True)
class Done:
    """One command: how long it took, the processor time and the most memory of its process."""

    seconds: float
    cpu_seconds: float
    mib: float


class Feed:
    """A merge with its state in a folder, against a Core."""

    def __init__(self, rig: Rig, folder: Path, schools: int) -> None:
        self._folder = folder
        self._environment = {**os.environ, "HOMEROOM_KEY": rig.key, "COLUMNS": "200"}
        codes = ", ".join(f'"S.{number:04}"' for number in range(schools))
        entities = "".join(
            f"[entity.{name}]\n" + ("school_years = [2027]\n" if "Enrolment" in name or "Section" in name else "")
            for name in _ENTITIES
        )
        (folder / "feed.toml").write_text(
            f'[feed]\nname = "bench"\nauthority = "A.1"\nschools = [{codes}]\nformatter = "oneroster"\n'
            f'[hub]\nurl = "http://{rig.host}:{rig.port}"\norganizations = ["A.1"]\n'
            f'[connector]\nkind = "csv"\nfolder = "{folder / "export"}"\n'
            f'[secrets]\nhub_key = "HOMEROOM_KEY"\n{entities}'
        )
        self.do("settings", "push", str(folder / "feed.toml"))

    def do(self, *arguments: str, code: int = 0) -> Done:
        """Run a command of homeroom-merge; RuntimeError with what it says if it ends otherwise."""
        command = [
            str(Path(sys.executable).parent / "homeroom-merge"),
            *arguments,
            "--data-dir",
            str(self._folder / "state"),
        ]
        log = self._folder / "merge.log"
        begun = time.monotonic()
        with log.open("w", encoding="utf-8") as said:
            process = subprocess.Popen(command, stdout=said, stderr=said, env=self._environment)
            _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != code:
            raise RuntimeError(f"{' '.join(arguments)} ended with {process.returncode}: {log.read_text()[-4000:]}")
        return Done(time.monotonic() - begun, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def measure(students: int) -> tuple[int, dict[str, Done]]:
    """How many records, and what each step took."""
    schools = -(-students // STUDENTS_PER_SCHOOL)
    province = "code,name,parent\nO.1,Ministry,\nA.1,District,O.1\n"
    province += "".join(f"S.{number:04},School {number},A.1\n" for number in range(schools))
    with running_node("roster", province) as rig, tempfile.TemporaryDirectory(prefix="homeroom-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        records = write_export(folder / "export", students)
        feed = Feed(rig, folder, schools)
        done = {
            "dry run": feed.do("plan", "--feed", "bench", "--json", code=_HELD),
            "first merge, held": feed.do("run", "--feed", "bench", "--json", code=_HELD),
            "and approved": feed.do("approve", "--feed", "bench", "--by", "bench", "--json"),
            "a night without changes": feed.do("run", "--feed", "bench", "--json"),
        }
        write_export(folder / "export", students, changed=students // 100)
        done["1 in 100 students changed"] = feed.do("run", "--feed", "bench", "--json")
    return records, done


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--students", type=int, default=1_000, help="40,000 make a district of 1,000,000 records")
    parser.add_argument("--times", type=int, default=3)
    arguments = parser.parse_args()
    rounds = [measure(arguments.students) for _ in range(arguments.times)]
    records = rounds[0][0]
    rows, figures = [], {}
    for step in rounds[0][1]:
        done = [steps[step] for _, steps in rounds]
        seconds, cpu, mib = ([getattr(each, name) for each in done] for name in ("seconds", "cpu_seconds", "mib"))
        figures[step] = {"seconds": seconds, "cpuSeconds": cpu, "mib": mib}
        rows.append((step, spread(seconds, 1), spread(cpu, 1), spread(mib)))
    told = {"students": arguments.students, "records": records, "steps": figures}
    report(f"merge_feed_{records}", (f"{records:,} records", "s", "s of processor", "peak MiB"), rows, told)


if __name__ == "__main__":
    main()
