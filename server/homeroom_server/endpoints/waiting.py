"""Holding a request the ordinary way, on servers that cannot park a connection: its task waits."""

import anyio
from starlette.requests import Request
from starlette.responses import Response

from homeroom.errors import HomeroomError
from homeroom_server.answer import Answer
from homeroom_server.endpoints import requests
from homeroom_server.endpoints.hang_up import unless_hung_up
from homeroom_server.services import Services
from homeroom_server.waiters import Held


class _Task:
    """An outlet that a task waits at."""

    def __init__(self) -> None:
        self._come = anyio.Event()
        self._answer: Answer | None = None
        self._failure: HomeroomError | None = None

    def answer(self, answer: Answer) -> None:
        self._answer = answer
        self._come.set()

    def refuse(self, failure: HomeroomError) -> None:
        self._failure = failure
        self._come.set()

    async def outcome(self) -> Answer:
        await self._come.wait()
        if self._failure is not None:
            raise self._failure
        assert self._answer is not None, "answered or refused"
        return self._answer


async def wait(
    request: Request, services: Services, held: Held, cursors: tuple[int, ...], wait_seconds: float
) -> Response:
    """The answer, when it comes; nothing that anybody reads if the client hangs up."""
    task = _Task()
    services.waiters.hold(held, cursors, wait_seconds, task)
    try:
        answer = await unless_hung_up(request.receive, task.outcome)
    finally:
        services.waiters.leave(held)
    return Response() if answer is None else requests.json_response(answer.body, answer.epoch)
