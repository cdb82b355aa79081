"""Holding a request the ordinary way, on servers that cannot park a connection: its task waits."""

import anyio
from starlette.requests import Request
from starlette.responses import Response

from homeroom.errors import HomeroomError
from homeroom_server.endpoints import requests
from homeroom_server.endpoints.hang_up import unless_hung_up
from homeroom_server.held.answer import Answer
from homeroom_server.held.waiters import Held
from homeroom_server.services import Services


class WaitingTask:
    """An outlet at which the task of a request waits."""

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

    async def response(self, request: Request, services: Services, held: Held) -> Response:
        """The answer, when it comes; nothing that anybody reads if the client hangs up. Raises why it is refused."""
        try:
            await unless_hung_up(request.receive, self._come.wait)
        finally:
            services.waiters.leave(held)
        if self._failure is not None:
            raise self._failure
        return Response() if self._answer is None else requests.json_response(self._answer.body, self._answer.epoch)
