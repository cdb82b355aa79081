"""What is said to a client whose request is not taken in: it was too long in coming, or too much."""

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

_REASONS = {
    "header_bytes_max": (431, "The headers are too large", "send less than {} bytes of headers", "fix"),
    "header_seconds_max": (408, "The request was not whole in time", "send its headers within {:g} seconds", "retry"),
    "body_seconds_max": (408, "The request was not whole in time", "send its body within {:g} seconds", "retry"),
}


def refusal_of(limit: str, value: float) -> bytes:
    """Outside the protocol, as what was sent is no request yet: without one of its codes."""
    status, title, detail, action = _REASONS[limit]
    document = {
        "type": "about:blank",
        "status": status,
        "title": title,
        "detail": f"{detail.format(value)} ({limit})",
        "action": action,
    }
    body = orjson.dumps(document)
    head = b"content-type: application/problem+json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
    return STATUS_LINE[status] + head + body
