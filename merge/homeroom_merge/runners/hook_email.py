"""News by e-mail, over SMTP."""

from collections.abc import Collection
from email.message import EmailMessage
from email.utils import localtime, make_msgid

import aiosmtplib
import anyio

from homeroom_merge.report.mail import Mail, mail_of
from homeroom_merge.runners.news import HookError, News
from homeroom_merge.settings.hooks import Email, Security

_SECONDS_MAX = 60
"""For one mail, whatever the server does meanwhile."""


async def send(hook: Email, news: News, password: str) -> Collection[str]:
    """To whom the server does not deliver while it does to others. Raises HookError, OSError."""
    mail = mail_of(news.feed, news.reports, news.said, hook.report_url)
    try:
        with anyio.fail_after(_SECONDS_MAX):  # the library's own limit is for each answer
            refused, _ = await aiosmtplib.send(
                _message(hook, mail),
                hostname=hook.server,
                port=hook.port,
                use_tls=hook.security is Security.TLS,
                start_tls=hook.security is Security.STARTTLS,
                username=hook.user or None,
                password=password or None,
                timeout=_SECONDS_MAX,
            )
    except TimeoutError:
        raise HookError(f"{hook.server} did not take the mail in {_SECONDS_MAX} seconds") from None
    except aiosmtplib.SMTPException as fault:
        raise HookError(f"{hook.server} does not take the mail: {fault}") from fault
    return refused


def _message(hook: Email, mail: Mail) -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = mail.subject
    message["From"] = hook.sender
    message["To"] = ", ".join(hook.to)
    message["Date"] = localtime()
    message["Message-ID"] = make_msgid(domain=hook.sender.rpartition("@")[2])
    message["Auto-Submitted"] = "auto-generated"  # nobody's holiday notice answers it
    message.set_content(mail.text)
    message.add_alternative(mail.html, subtype="html")
    return message
