"""What pages about runs call things, and times in the zone of a feed's people."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, tzinfo

import orjson

from homeroom_merge.console.visit import FeedVisit
from homeroom_merge.report.model import name_of, problems_of
from homeroom_merge.report.page import FIELDS_MAX
from homeroom_merge.report.words import STEPS, cut, took, value_text

BODY_MAX = 20_000
"""Characters shown of a body; downloads have all of it."""

RUNNERS: Mapping[str, str] = {
    "nightly": "Nightly",
    "realtime": "Realtime",
    "manual": "By hand",
    "undo": "Undo",
    "restore": "Restore",
    "approval": "Held anew",
}
STATUSES: Mapping[str, str] = {
    "running": "going on",
    "success": "all went well",
    "finishedWithIssues": "done, some records need you",
    "noData": "the feed was empty",
    "held": "held",
    "failed": "failed",
    "cancelled": "cancelled",
}
JOB_STATUSES: Mapping[str, str] = {
    "todo": "waits",
    "doing": "is being done",
    "succeeded": "done",
    "failed": "failed",
    "cancelled": "dropped",
    "aborting": "is told to end",
    "aborted": "ended before it was done",
}
TASKS: Mapping[str, str] = {
    "nightly": "The night",
    "realtime": "What has moved",
    "manual": "A run by hand",
    "approve": "Approve held plans",
    "undo": "Take runs back",
    "value": "Settle a conflict by a typed value",
}


def words(visit: FeedVisit) -> Mapping[str, object]:
    """By which templates tell of runs and records."""
    zone = zone_of(visit)
    said: dict[str, Callable[..., str]] = {
        "moment": lambda at: "" if at is None else at.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S"),
        "minute": lambda at: "" if at is None else at.astimezone(zone).strftime("%Y-%m-%d %H:%M"),
        "value": value_text,
        "body": lambda body: cut(orjson.dumps(body, option=orjson.OPT_INDENT_2).decode(), BODY_MAX),
        "took": took,
        "lasted": lasted,
        "name_of": name_of,
    }
    labels = {"runners": RUNNERS, "statuses": STATUSES, "step_names": STEPS, "tasks": TASKS}
    zone_name = datetime.now(UTC).astimezone(zone).strftime("%Z")
    others = {"zone": zone_name, "fields_max": FIELDS_MAX, "problems_of": problems_of, "job_statuses": JOB_STATUSES}
    return {**said, **labels, **others}


def zone_of(visit: FeedVisit) -> tzinfo:
    """In which a feed's people tell time; UTC where no settings say."""
    return UTC if visit.settings is None else visit.settings.feed.zone


def lasted(begun_at: datetime, ended_at: datetime | None) -> str:
    """How long it took, for people."""
    if ended_at is None:
        return ""
    seconds = (ended_at - begun_at).total_seconds()
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
