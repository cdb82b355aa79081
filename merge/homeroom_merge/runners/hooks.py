"""Who is told how runs went. Whatever becomes of that, the runs stand."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from homeroom_merge.course import cause_of
from homeroom_merge.feed_secrets import MissingSecretError, secret_of
from homeroom_merge.report.model import Report
from homeroom_merge.reporting import kept, note
from homeroom_merge.runners import hook_command, hook_webhook
from homeroom_merge.runners.news import HookError, News, occasion_of
from homeroom_merge.scrubbing import Scrubber
from homeroom_merge.sealing import Sealed, SealError
from homeroom_merge.settings.hooks import Command, Email, Hook, Occasion, Runner, Webhook
from homeroom_merge.settings.model import Settings
from homeroom_merge.store import told
from homeroom_merge.store.connection import Conn

_SAID_MAX = 500
"""Characters of why somebody could not be told."""


async def tell(connection: Conn, settings: Settings, reports: Sequence[Report], secrets: Mapping[str, Sealed]) -> None:
    """Tell each hook of the settings what it asks for of a group of runs, and once more what it could not be told.

    What a hook fails with is noted in the runs' logs, and stands in health until it works again. A mail goes out once a
    feed, occasion and day. `secrets`: as feed_secrets.stored_secrets gives them.
    """
    feed = settings.feed.name
    await told.forget_others(connection, feed, [hook.label for hook in settings.hooks])
    for hook in settings.hooks:
        untold = [await kept(connection, run) for run in await told.untold_runs(connection, feed, hook.label)]
        # As they are by now: a held one may have been decided on.
        again = [report for report in untold if report is not None and _asks(hook, report)]
        fresh = [report for report in reports if _asks(hook, report)]
        if again or fresh:
            await _tell(connection, settings, hook, News(feed, (*again, *fresh)), fresh, secrets)


async def tell_overdue(
    connection: Conn, settings: Settings, since: datetime | None, secrets: Mapping[str, Sealed]
) -> None:
    """Tell those who ask for it that no feed has come since then (None: ever), once a day."""
    last = "at all" if since is None else f"since {since.astimezone(settings.feed.zone):%Y-%m-%d %H:%M %Z}"
    said = f"overdue: no feed has come {last}; one is expected every {settings.feed.alarm_hours} hours"
    for hook in settings.hooks:
        if Occasion.OVERDUE in hook.on:
            await _tell(connection, settings, hook, News(settings.feed.name, (), said), [], secrets)


def _asks(hook: Hook, report: Report) -> bool:
    runner = Runner(report.runner) if report.runner in set(Runner) else Runner.MANUAL
    return not report.dry_run and occasion_of(report) in hook.on and runner in hook.runners


async def _tell(
    connection: Conn,
    settings: Settings,
    hook: Hook,
    news: News,
    fresh: Sequence[Report],
    secrets: Mapping[str, Sealed],
) -> None:
    """One hook, once. `fresh`: what it is to be told again if it fails now."""
    feed, label = news.feed, hook.label
    day = datetime.now(settings.feed.zone).date()
    is_once = isinstance(hook, Email) or not news.reports
    claimed = await told.claim(connection, feed, label, day, news.occasions) if is_once else []
    if is_once and not claimed:
        await told.forget_failure(connection, feed, label)
        return
    secret = ""
    try:
        secret = secret_of(settings, hook.secret, secrets) if hook.secret else ""
        refused = await _sent(hook, news, secret)
    except Exception as fault:
        said = _why(fault, Scrubber([secret]))
        await told.release(connection, feed, label, day, claimed)
        await told.note_failure(connection, feed, label, [UUID(each.run) for each in fresh], said)
        await _note(connection, fresh, f"{label}: not told: {said}")
        return
    await told.note(connection, feed, label, day, claimed)
    if refused:
        await _note(connection, fresh, f"{label}: refused for {', '.join(refused)}")


async def _sent(hook: Hook, news: News, secret: str) -> Collection[str]:
    """To whom it did not get. Raises whatever goes wrong."""
    match hook:
        case Email():
            from homeroom_merge.runners import hook_email  # few mails are sent, and their library is slow to load

            return await hook_email.send(hook, news, secret)
        case Webhook():
            await hook_webhook.post(hook, news, secret)
        case Command():
            await hook_command.call(hook, news)
    return ()


def _why(fault: Exception, scrub: Scrubber) -> str:
    if isinstance(fault, (HookError, MissingSecretError, SealError)):
        return " ".join(scrub(str(fault)).split())[:_SAID_MAX]
    return cause_of(fault, scrub)


async def _note(connection: Conn, reports: Sequence[Report], said: str) -> None:
    for each in reports:
        await note(connection, UUID(each.run), said)
