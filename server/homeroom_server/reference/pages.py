"""`/docs`: what there is to read of one Core's interface, made of its OpenAPI document."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from homeroom.errors import MEANINGS, Code
from homeroom_server.openapi.advice import ADVICE, ends_a_call
from homeroom_server.openapi.document import document
from homeroom_server.openapi.kinds import body_name
from homeroom_server.reference.members import members_of
from homeroom_server.reference.programs import TASKS, programs, tasks_of, text_of
from homeroom_server.reference.rendering import page, response, style
from homeroom_server.services import Services

Json = Mapping[str, Any]


class Said(NamedTuple):
    """A service as its page says it. `path_parameters`: what its path takes besides its own parameters."""

    method: str
    path: str
    operation: Json
    path_parameters: list[Json]

    @property
    def codes(self) -> list[Code]:
        """The problems that may end a call."""
        problems = [each["content"].get("application/problem+json") for each in self.operation["responses"].values()]
        return [Code(int(name)) for each in problems if each for name in each["examples"] if name.isdecimal()]

    @property
    def answer(self) -> tuple[str, Json]:
        """The media type of a 200, and what is said of it."""
        ((media_type, found),) = self.operation["responses"]["200"]["content"].items()
        return media_type, found


class Reference:
    """The pages, each made once a school year."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._year = 0
        self._document: Json = {}
        self._made: dict[str, str] = {}

    def routes(self) -> list[Route]:
        return [
            Route("/docs", self.overview),
            Route("/docs/services/{name}", self.service),
            Route("/docs/types/{name}", self.kind),
            Route("/docs/problems", self.problems),
            Route("/docs/programs", self.programs),
            Route("/docs/programs/{file}", self.program),
            Route("/docs/static/{name}", self.static),
        ]

    async def overview(self, request: Request) -> Response:
        self._renew()
        return self._page("overview", "overview.html", types=self._services.catalogue.types)

    async def service(self, request: Request) -> Response:
        self._renew()
        name = request.path_params["name"]
        if name not in self._services_said():
            raise HTTPException(404)
        said = self._services_said()[name]
        return self._page(
            f"service {name}",
            "service.html",
            said=said,
            problems=_explained(said.codes),
            rejections=_explained(_of_records() if name in ("submit", "acknowledge") else []),
            tasks=tasks_of(name),
        )

    async def kind(self, request: Request) -> Response:
        self._renew()
        definition = self._services.catalogue.types.get(request.path_params["name"])
        if definition is None:
            raise HTTPException(404)
        schema = self._document["components"]["schemas"][body_name(definition)]
        return self._page(f"type {definition.name}", "kind.html", definition=definition, schema=schema)

    async def problems(self, request: Request) -> Response:
        self._renew()
        return self._page(
            "problems",
            "problems.html",
            problems=_explained([code for code in Code if ends_a_call(code)]),
            rejections=_explained(_of_records()),
        )

    async def programs(self, request: Request) -> Response:
        self._renew()
        return self._page("programs", "programs.html", tasks=programs())

    async def program(self, request: Request) -> Response:
        """The file itself."""
        text = text_of(request.path_params["file"])
        if text is None:
            raise HTTPException(404)
        return response(text, "text/plain")

    async def static(self, request: Request) -> Response:
        found = style(request.path_params["name"])
        if found is None:
            raise HTTPException(404)
        return response(found, "text/css")

    def _renew(self) -> None:
        """Names of types carry the year."""
        this_year = datetime.now(self._services.time_zone).year
        if this_year != self._year:
            self._document = document(self._services.catalogue, this_year)
            self._made.clear()
            self._year = this_year

    def _page(self, key: str, template: str, **told: Any) -> Response:
        if key not in self._made:
            by_tag = {tag["name"]: (tag["description"], self._of_tag(tag["name"])) for tag in self._document["tags"]}
            self._made[key] = page(
                template,
                tags=by_tag,
                titles=TASKS,
                members_of=lambda schema: list(members_of(schema, self._document["components"]["schemas"])),
                **told,
            )
        return response(self._made[key])

    def _services_said(self) -> Mapping[str, Said]:
        return {
            operation["operationId"]: Said(method.upper(), path, operation, item.get("parameters", []))
            for path, item in self._document["paths"].items()
            for method, operation in item.items()
            if method != "parameters"
        }

    def _of_tag(self, tag: str) -> list[Said]:
        return [said for said in self._services_said().values() if tag in said.operation["tags"]]


def _explained(codes: list[Code]) -> list[tuple[Code, Any, str]]:
    return [(code, MEANINGS[code], ADVICE[code].what_to_do) for code in sorted(codes)]


def _of_records() -> list[Code]:
    return [code for code in Code if not ends_a_call(code)]
