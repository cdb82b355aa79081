"""Every call goes through here: it waits where that helps, and says what to do where it does not."""

import os
import random
import sys
import time

import httpx

HEADERS = {"Authorization": f"Bearer {os.environ['HOMEROOM_KEY']}"}
if "HOMEROOM_ORGANIZATION" in os.environ:  # needed by a client that acts for several
    HEADERS["Organization"] = os.environ["HOMEROOM_ORGANIZATION"]
HTTP = httpx.Client(base_url=os.environ["HOMEROOM_URL"], headers=HEADERS, timeout=90)  # longer than any wait below
ATTEMPTS_MAX = 8


class Refused(Exception):
    """The same call will not succeed later. `problem["action"]`: fix the request, resync what you hold, or stop."""

    def __init__(self, problem):
        super().__init__("{code} {title}: {detail} (what to do: {action})".format(**problem))
        self.problem = problem


def call(method, path, body=None, headers=None):
    """The JSON of the answer."""
    return send(method, path, body, headers).json()


def send(method, path, body=None, headers=None, stream=False):
    """The answer, once there is one that is good."""
    request = HTTP.build_request(method, path, json=body, headers=headers)
    for attempt in range(ATTEMPTS_MAX):
        try:
            answer = HTTP.send(request, stream=stream)
            if answer.is_success:
                return answer
            answer.read()
        except httpx.TransportError as failure:  # the network, or a Core that restarts
            reason, retry_after = repr(failure), 0.0
        else:
            problem = problem_of(answer)
            if problem["action"] != "retry":
                raise Refused(problem)
            reason, retry_after = problem["title"], float(answer.headers.get("Retry-After", 0))
        pause = retry_after + random.uniform(0, 2**attempt)  # chance keeps clients from coming back in step
        print(f"waiting {pause:.1f} s: {reason}", file=sys.stderr)
        time.sleep(pause)
    raise TimeoutError(f"no answer to {method} {path} after {ATTEMPTS_MAX} attempts: {reason}")


def problem_of(answer):
    """What the Core says is wrong; a proxy that gave up says nothing of the kind."""
    told = {"code": answer.status_code, "title": answer.reason_phrase, "detail": "not said by the Core"}
    told["action"] = "retry" if answer.status_code >= 500 else "stop"
    if answer.headers.get("Content-Type") == "application/problem+json":
        told |= answer.json()
    return told
