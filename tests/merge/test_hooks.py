"""Who is told how runs went: real mails, real posts, real programs; and what becomes of a run where that fails."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import anyio
import pytest
import trustme

from homeroom_merge.health import ailments
from homeroom_merge.report.model import Report
from homeroom_merge.reporting import kept
from homeroom_merge.runners import hook_email, hook_webhook
from homeroom_merge.runners.hooks import tell, tell_overdue
from homeroom_merge.settings.model import Settings as FeedSettings
from homeroom_merge.settings.model import SettingsError
from homeroom_merge.settings.reading import read_settings
from homeroom_merge.settings.start import as_toml
from homeroom_merge.store import connection as state
from homeroom_merge.testing import MemorySis
from homeroom_server.settings import Settings
from tests.merge.pupils import NOW, School, opened_school
from tests.merge.receivers import Mailbox, Receiver, is_signed, opened_mailbox, opened_receiver
from tests.merge.test_merge_command import HELD, Administrator, administrator
from tests.merge.test_secrets import tables_with

__all__ = ["administrator"]  # a fixture

PLAIN = as_toml("csv", "raven", "A.9", ["S.91"], ["Student"])
PEOPLE = '\nsender = "merge@a.example"\nto = ["office@a.example", "desk@b.example"]\n'
YESTERDAY = "update homeroom_merge.told set day = day - 1"


def mail(mailbox: Mailbox, more: str = "") -> str:
    server = f'server = "127.0.0.1"\nport = {mailbox.port}\nsecurity = "none"'
    return f'[[hooks]]\nkind = "email"\n{server}{PEOPLE}{more}\n'


def webhook(receiver: Receiver, more: str = "") -> str:
    return f'[[hooks]]\nkind = "webhook"\nurl = "{receiver.url}"\n{more}\n'


def command(*words: str, more: str = "") -> str:
    return f'[[hooks]]\nkind = "command"\ncommand = {json.dumps(words)}\n{more}\n'


def told_by(*hooks: str) -> FeedSettings:
    key = 'hook_key = "RAVEN_HOOK_KEY"\n' if "webhook" in str(hooks) else ""
    plain = PLAIN.replace("\n[secrets]\n", f"\n[secrets]\n{key}")
    return read_settings(plain + "\n".join(hooks))


@pytest.fixture
async def school(database_of_test: str, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[School]:
    monkeypatch.setenv("RAVEN_HOOK_KEY", "hunter22")
    monkeypatch.setattr(hook_webhook, "_PAUSES_SECONDS", (0.0, 0.0))
    async with opened_school(database_of_test, settings, MemorySis()) as school:
        assert isinstance(school.sis, MemorySis)
        school.sis.put("Student", "r1", first="Adalbert", last="Grizzly", school="S.91")
        yield school


@pytest.fixture
async def mailbox() -> AsyncIterator[Mailbox]:
    async with opened_mailbox(Mailbox()) as mailbox:
        yield mailbox


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with opened_receiver() as receiver:
        yield receiver


async def ended(school: School, runner: str = "nightly", *, dry: bool = False) -> Report:
    """A run, held as first merges are until one is approved."""
    (course,) = await (await school.group()).run(NOW, runner=runner, dry=dry)
    assert course.report is not None
    return course.report


async def notes(school: School, report: Report) -> str:
    now = await kept(school.own, UUID(report.run))
    assert now is not None
    assert now.status == report.status
    return "\n".join(now.notes)


async def failing(school: School) -> list[tuple[str, tuple[str, ...]]]:
    return [(each.message, each.examples) for each in await ailments(school.own, "raven", {}) if each.what == "hook"]


def runs(pid: str) -> bool:
    """Whether the process is there, and is not just waiting for its parent to look."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


class TestMails:
    async def test_one_says_what_is_held_and_what_to_type_and_nothing_of_pupils(
        self, school: School, mailbox: Mailbox
    ) -> None:
        report = await ended(school)
        link = 'report_url = "https://a.example/runs/{run}?a&b"'
        await tell(school.own, told_by(mail(mailbox, link)), [report], {})
        (came,) = mailbox.mails
        assert (came["Subject"], came["From"]) == ("homeroom-merge raven: 1 held", "merge@a.example")
        assert (came["To"], came["Auto-Submitted"]) == ("office@a.example, desk@b.example", "auto-generated")
        plain, html = (came.get_body((kind,)) for kind in ("plain", "html"))
        assert plain is not None
        assert html is not None
        for part in (plain.get_content(), html.get_content()):
            assert "Student" in part
            assert "1 created" in part
            assert "a first merge is always held" in part
            assert f"homeroom-merge approve {report.run} --feed raven --by YOU" in part
            assert "Adalbert" not in part
            assert "Grizzly" not in part
        assert f"https://a.example/runs/{report.run}?a&b" in plain.get_content()
        assert f'<a href="https://a.example/runs/{report.run}?a&amp;b">' in html.get_content()

    async def test_only_trouble_that_nobody_watched_is_mailed_unless_more_is_asked_for(
        self, school: School, mailbox: Mailbox
    ) -> None:
        trouble = told_by(mail(mailbox))
        await tell(school.own, trouble, [await ended(school, "manual"), await ended(school, dry=True)], {})
        await school.merge()
        success = await ended(school, "realtime")
        assert success.status == "success"
        await tell(school.own, trouble, [success], {})
        assert mailbox.mails == []
        await tell(school.own, told_by(mail(mailbox, 'on = ["success"]\nrunners = ["realtime"]')), [success], {})
        assert [each["Subject"] for each in mailbox.mails] == ["homeroom-merge raven: 1 success"]

    async def test_each_kind_of_trouble_is_mailed_once_a_day(self, school: School, mailbox: Mailbox) -> None:
        settings, held = told_by(mail(mailbox)), await ended(school)
        for _ in range(3):
            await tell(school.own, settings, [held, await ended(school, "realtime")], {})
        assert len(mailbox.mails) == 1
        assert mailbox.mails[0]["Subject"] == "homeroom-merge raven: 2 held"
        assert isinstance(school.sis, MemorySis)
        school.sis.is_down = True
        failed = await ended(school, "realtime")
        for _ in range(2):
            await tell(school.own, settings, [held, failed], {})
        assert [each["Subject"] for each in mailbox.mails[1:]] == ["homeroom-merge raven: 1 held, 1 failed"]
        await school.own.execute(YESTERDAY)
        await tell(school.own, settings, [held], {})
        assert len(mailbox.mails) == 3

    async def test_groups_that_end_together_mail_once(
        self, school: School, mailbox: Mailbox, database_of_test: str
    ) -> None:
        settings, held = told_by(mail(mailbox)), await ended(school)
        others = [await state.connect(database_of_test) for _ in range(4)]
        async with anyio.create_task_group() as tasks:
            for own in others:
                tasks.start_soon(tell, own, settings, [held], {})
        for own in others:
            await own.close()
        assert len(mailbox.mails) == 1

    async def test_a_server_that_hangs_or_is_down_leaves_the_run_as_it_is_and_is_tried_again(
        self, school: School, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(hook_email, "_SECONDS_MAX", 0.3)
        never, held = asyncio.Event(), await ended(school)

        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await never.wait()
            writer.close()

        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        hanging = Mailbox(port=server.sockets[0].getsockname()[1])
        await tell(school.own, told_by(mail(hanging)), [held], {})
        never.set()
        server.close()
        said = "e-mail to office@a.example, desk@b.example: not told: 127.0.0.1 did not take the mail in 0.3 seconds"
        assert said in await notes(school, held)
        monkeypatch.undo()
        mailbox.is_down = True
        await tell(school.own, told_by(mail(mailbox)), [], {})
        ((message, (hook,)),) = await failing(school)
        assert "127.0.0.1 does not take the mail" in message.replace("…", "127.0.0.1")
        assert hook == "e-mail to office@a.example, desk@b.example"
        mailbox.is_down = False
        await tell(school.own, told_by(mail(mailbox)), [await ended(school)], {})
        assert [each["Subject"] for each in mailbox.mails] == ["homeroom-merge raven: 1 held"], "tried twice, then not"
        assert await failing(school) == []

    async def test_who_is_refused_is_named_and_the_others_get_it(self, school: School, mailbox: Mailbox) -> None:
        mailbox.refused = ["desk@b.example"]
        held = await ended(school)
        await tell(school.own, told_by(mail(mailbox)), [held], {})
        assert len(mailbox.mails) == 1
        assert "refused for desk@b.example" in await notes(school, held)
        assert await failing(school) == []


class TestWebhooks:
    async def test_a_post_is_signed_and_tried_again_under_the_same_id(self, school: School, receiver: Receiver) -> None:
        receiver.answers.extend([503, 429])
        held = await ended(school)
        await tell(school.own, told_by(webhook(receiver)), [held], {})
        assert len(receiver.posts) == 3
        assert len({headers["Homeroom-Id"] for headers, _ in receiver.posts}) == 1
        for headers, body in receiver.posts:
            assert is_signed(headers, body, "hunter22")
            assert not is_signed(headers, body + b" ", "hunter22")
            assert not is_signed(headers, body, "hunter23")
            assert not is_signed({**headers, "Homeroom-Timestamp": "1"}, body, "hunter22")
        said = receiver.said()[-1]
        assert (said["feed"], said["on"]) == ("raven", ["held"])
        assert [(each["run"], each["status"]) for each in said["reports"]] == [(held.run, "held")]
        assert b"Adalbert" not in receiver.posts[-1][1]
        assert await failing(school) == []
        await tell(school.own, told_by(webhook(receiver)), [held], {})
        assert len(receiver.posts) == 4, "a program is told each time"

    @pytest.mark.parametrize(("answers", "tries", "told"), [((500,) * 3, 3, "it answered"), ((302,), 1, "it refused")])
    async def test_what_fails_is_told_once_more_by_the_next_group(
        self, school: School, receiver: Receiver, answers: tuple[int, ...], tries: int, told: str
    ) -> None:
        settings = told_by(webhook(receiver))
        assert isinstance(school.sis, MemorySis)
        school.sis.is_down = True
        first, second, third = [await ended(school) for _ in range(3)]
        receiver.answers.extend(answers)
        await tell(school.own, settings, [first], {})
        assert len(receiver.posts) == tries
        assert f"webhook {receiver.url}: not told: {told}" in await notes(school, first)
        ((message, hooks),) = await failing(school)
        assert message.startswith(f"not told: {told}")
        assert hooks == (f"webhook {receiver.url}",)
        receiver.answers.extend(answers)
        await tell(school.own, settings, [second], {})
        await tell(school.own, settings, [third], {})
        runs = [[each["run"] for each in said["reports"]] for said in receiver.said()]
        assert runs[tries:] == [*[[first.run, second.run]] * tries, [second.run, third.run]]
        assert await failing(school) == []
        assert "not told" not in await notes(school, third)

    async def test_one_that_hangs_or_is_not_there_is_given_up(
        self, school: School, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(hook_webhook, "_SECONDS_MAX", 0.2)
        never = asyncio.Event()

        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await never.wait()
            writer.close()

        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        held = await ended(school)
        await tell(school.own, told_by(webhook(Receiver(url=url))), [held], {})
        never.set()
        server.close()
        await server.wait_closed()
        await tell(school.own, told_by(webhook(Receiver(url=url))), [held], {})
        said = await notes(school, held)
        assert "it did not answer in time, 3 times" in said
        assert "it could not be reached: ConnectError, 3 times" in said

    async def test_without_its_secret_nothing_is_posted(
        self, school: School, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("RAVEN_HOOK_KEY")
        held = await ended(school)
        await tell(school.own, told_by(webhook(receiver)), [held], {})
        assert receiver.posts == []
        assert "homeroom-merge secrets set raven hook_key" in await notes(school, held)


class TestCommands:
    async def test_a_program_gets_the_report_and_no_secrets(
        self, school: School, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HOMEROOM_MERGE_SECRETS_KEY", "hunter22")
        held = await ended(school)
        script = 'cat > "$1/news"; env > "$1/env"; echo "$2" > "$1/word"'
        await tell(school.own, told_by(command("/bin/sh", "-c", script, "x", str(tmp_path), "a; $HOME")), [held], {})
        assert json.loads((tmp_path / "news").read_text())["reports"][0]["run"] == held.run
        assert "hunter22" not in (tmp_path / "env").read_text()
        assert (tmp_path / "word").read_text() == "a; $HOME\n"
        assert await failing(school) == []

    @pytest.mark.parametrize("then", ["wait", "exit"])
    async def test_one_that_hangs_is_killed_with_all_that_it_began(
        self, school: School, tmp_path: Path, then: str
    ) -> None:
        held, pid = await ended(school), tmp_path / "pid"
        script = f"sleep 300 & echo $! > {pid}; {then}"
        await tell(school.own, told_by(command("/bin/sh", "-c", script, more="seconds_max = 1")), [held], {})
        assert "it did not end in 1 seconds, and was ended" in await notes(school, held)
        with anyio.fail_after(10):
            while runs(pid.read_text().strip()):
                await anyio.sleep(0.01)

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (("/bin/sh", "-c", "echo no desk; exit 3"), "it ended with exit code 3: no desk"),
            (("/nowhere/tell",), "No such file or directory"),
            (("/bin/sh", "-c", "yes | head -c 3000000; exit 1"), "it ended with exit code 1: y y y"),
        ],
    )
    async def test_one_that_fails_is_told_of_and_cut(self, school: School, words: tuple[str, ...], told: str) -> None:
        held = await ended(school)
        await tell(school.own, told_by(command(*words)), [held], {})
        said = await notes(school, held)
        assert told in said
        assert len(said) < 700
        assert len(await failing(school)) == 1
        await tell(school.own, told_by(), [held], {})
        assert await failing(school) == [], "settings have it no longer"


async def test_who_waits_for_a_feed_is_told_once_a_day(school: School, mailbox: Mailbox, receiver: Receiver) -> None:
    await ended(school)
    settings = told_by(mail(mailbox), webhook(receiver), webhook(Receiver(url=f"{receiver.url}/2"), 'on = ["held"]'))
    settings = replace(settings, feed=replace(settings.feed, alarm_hours=36))
    receiver.answers.append(400)
    for _ in range(3):
        await tell_overdue(school.own, settings, datetime(2026, 11, 20, 12, tzinfo=UTC), {})
    assert len(mailbox.mails) == 1
    assert "no feed has come since 2026-11-20 05:00 MST; one is expected every 36 hours" in mailbox.mails[0]["Subject"]
    assert [each["on"] for each in receiver.said()] == [["overdue"], ["overdue"]], "refused, told, and enough"


@pytest.mark.parametrize(
    ("hook", "told"),
    [
        ('kind = "mail"', "is none of email, webhook, command; did you mean email?"),
        ("to = []", "hooks.0.kind: this is missing"),
        ('kind = "email"\nserver = "a"\nsender = "Me <a@b>"\nto = ["a@b"]', "Me <a@b> is no address"),
        ('kind = "email"\nserver = "a"\nsender = "a@b"', "hooks.0.to: nobody is named"),
        ('kind = "email"\nserver="a"\nsender="a@b"\nto=["c@d"]\nuser="m"\nsecurity="none"', "would go in the clear"),
        ('kind = "email"\nserver="a"\nsender="a@b"\nto=["c@d"]\nuser="m"', 'write smtp_password = "SMTP_PASSWORD"'),
        ('kind = "email"\nserver="a"\nsender="a@b"\nto=["c@d"]\nreport_url="https://a"', "write {run} where its id"),
        ('kind = "webhook"\nurl = "ftp://a.example"', "this is no address of the web"),
        ('kind = "webhook"\nurl = "https://a:b@c.example"', "there is a password in this URL"),
        ('kind = "webhook"\nurl = "https://c.example"\nsecret = "hub_key"', "hub_key is not the hook's own"),
        ('kind = "webhook"\nurl = "https://c.example"', 'write hook_key = "HOOK_KEY"'),
        ('kind = "command"\ncommand = ["tell"]', "a program is named by its whole path"),
        ('kind = "command"\ncommand = ["/a"]\non = ["fail"]', "did you mean failed?"),
        (
            'kind = "command"\ncommand = ["/a"]\n[[hooks]]\nkind = "command"\ncommand = ["/a"]',
            "two hooks tell the same",
        ),
    ],
)
def test_mistakes_in_hooks_are_told(hook: str, told: str) -> None:
    with pytest.raises(SettingsError) as raised:
        read_settings(f"{PLAIN}\n[[hooks]]\n{hook}\n")
    assert told in str(raised.value)


@pytest.mark.timeout(300)
async def test_a_run_tells_by_mail_webhook_and_program(
    administrator: Administrator, receiver: Receiver, database_of_test: str
) -> None:
    do, authority = administrator.do, trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    authority.cert_pem.write_to_path(str(administrator.folder / "ca.pem"))
    file = administrator.folder / "elk.toml"
    async with opened_mailbox(Mailbox(("merge", "hunter22")), tls) as mailbox:
        more = 'runners = ["manual"]'
        hooks = [
            mail(mailbox, f'user = "merge"\n{more}').replace('"none"', '"tls"'),
            webhook(receiver, more),
            command("/bin/sh", "-c", f"cat > {administrator.folder}/news", more=more),
        ]
        names = 'hook_key = "ELK_HOOK_KEY"\nsmtp_password = "ELK_SMTP_PASSWORD"'
        file.write_text(file.read_text().replace("\n[secrets]", f"\n[secrets]\n{names}") + "\n".join(hooks))
        administrator.environment |= {
            "HOMEROOM_MERGE_DATABASE_URL": database_of_test,
            "HOMEROOM_MERGE_SECRETS_KEY": "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=",
            "SSL_CERT_FILE": str(administrator.folder / "ca.pem"),
            "ELK_SMTP_PASSWORD": "hunter33",
        }
        await do("settings", "push", "elk.toml")
        await do("secrets", "set", "elk", "hook_key", stdin="otter44\n")
        await do("secrets", "set", "elk", "smtp_password", stdin="hunter22\n")
        said = await do("run", "--feed", "elk", exit_code=HELD)
        assert mailbox.mails == []
        assert "not told: 127.0.0.1 does not take the mail" in said
        assert "535" in said
        del administrator.environment["ELK_SMTP_PASSWORD"]
        for _ in range(2):
            said += await do("run", "--feed", "elk", exit_code=HELD)
    assert [each["Subject"] for each in mailbox.mails] == ["homeroom-merge elk: 3 held"]
    assert len(receiver.posts) == 3
    assert all(is_signed(headers, body, "otter44") for headers, body in receiver.posts)
    assert len(json.loads((administrator.folder / "news").read_text())["reports"]) == 3
    own = await state.connect(database_of_test)
    for secret in ("hunter22", "hunter33", "otter44"):
        assert await tables_with(own, secret) == []
        assert secret not in said + str(mailbox.mails[0]) + str(receiver.posts)
    await own.close()
    assert "nothing fails" in await do("health", "--feed", "elk")
