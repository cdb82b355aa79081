"""The program that children are forked from: it has loaded all that they need, and knows nobody's settings or secrets.

It is told over a socket whom to fork, with the descriptors that the child gets, and says in a pipe of each child's own
its number and, once it has ended, its exit code. It ends when nobody can ask any more, and its children with it.
"""

import gc
import json
import os
import select
import signal
import socket
import sys
from contextlib import suppress
from importlib import import_module
from typing import Any, Never

from homeroom_merge.sis import child
from homeroom_merge.sis.confinement import Confinement, close_to_others, die_with

MESSAGE_BYTES_MAX = 16_384
_LOADED = ("edfi", "mapped", "oneroster", "sds", "sql")
"""Of `homeroom_merge.sources`: what a school brought is loaded by its own children alone."""
_STDOUT, _STDERR = 1, 2


def main(descriptor: int, parent: int) -> None:
    """The whole life of the process."""
    die_with(parent)
    close_to_others()
    for each in _LOADED:
        import_module(f"homeroom_merge.sources.{each}")
    gc.collect()
    gc.freeze()  # pages that nobody writes to are shared by all children
    _Server(socket.socket(fileno=descriptor)).serve()


class _Server:
    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._woken, wakes = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
        self._told: dict[int, int] = {}
        """Where it is said how a child ended."""

    def serve(self) -> None:
        """Until nobody asks any more."""
        while True:
            ready, _, _ = select.select([self._control.fileno(), self._woken], [], [])
            if self._woken in ready:
                os.read(self._woken, 4_096)
                self._bury()
            if self._control.fileno() in ready:
                message, descriptors, _, _ = socket.recv_fds(self._control, MESSAGE_BYTES_MAX, 3)
                if not message:
                    return
                self._fork(json.loads(message), *descriptors)

    def _fork(self, asked: dict[str, Any], telling: int, *given: int) -> None:
        parent, number = os.getpid(), os.fork()
        if not number:
            _live(asked, given, parent)
        for each in given:
            os.close(each)
        self._told[number] = telling
        self._say(telling, number)

    def _bury(self) -> None:
        while self._told:
            number, status = os.waitpid(-1, os.WNOHANG)
            if not number:
                return
            telling = self._told.pop(number)
            self._say(telling, os.waitstatus_to_exitcode(status))
            os.close(telling)

    def _say(self, telling: int, number: int) -> None:
        with suppress(BrokenPipeError):  # nobody wants to know any more
            os.write(telling, b"%d\n" % number)


def _live(asked: dict[str, Any], given: tuple[int, ...], parent: int) -> Never:
    """The life of a child, which gets nothing but what it is given."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        match asked:
            case {"endAll": [int(user), int(group)]}:
                end_all(user, group)
            case {"environment": environment, "confinement": confinement}:
                os.setsid()
                pipe, printed = given
                os.dup2(printed, _STDOUT)
                os.dup2(printed, _STDERR)
                descriptor = os.dup2(pipe, _STDERR + 1)
                os.closerange(descriptor + 1, os.sysconf("SC_OPEN_MAX"))
                os.environ.clear()
                os.environ.update(environment)
                child.main(descriptor, parent, Confinement(**confinement))
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def end_all(user: int, group: int) -> None:
    """Kill what a user runs, at once, so that nothing which forks meanwhile is missed; and this process with it."""
    os.setgroups([])
    os.setresgid(group, group, group)
    os.setresuid(user, user, user)
    with suppress(ProcessLookupError):  # it runs nothing
        os.kill(-1, signal.SIGKILL)
