"""What is said to a client whose request is not answered, in OpenAI's form, so that its own errors are raised."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shouldtune.types import Completion, Failure

TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


class Refused(Exception):
    """A request that gets an error. `close` ends the connection: the rest of the body is not read."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
        close: bool = False,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.headers = {**(headers or {}), **({"connection": "close"} if close else {})}

    def body(self) -> dict[str, Any]:
        kind = TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


def bad(message: str, param: str | None = None, code: str | None = None) -> Refused:
    """400: the request cannot be understood, or asks for what this model cannot do."""
    return Refused(400, message, param=param, code=code)


_OF_FAILURE: dict[Failure, tuple[int, str]] = {
    "refused": (400, "the model behind this server declined to answer"),
    "permanent": (400, "the model behind this server cannot answer this request"),
    "transient": (503, "the model behind this server is overloaded; try again"),
    "malformed": (502, "the model behind this server sent what is no answer"),
    "unknown": (504, "the model behind this server did not answer in time"),
}


def refusal_of(completion: Completion, *, own_words: bool) -> Refused:
    """A failed call as an error. `own_words`: our own engine failed; another server's words may hold secrets."""
    unknown = (500, "no answer could be computed") if own_words else (502, "the model behind this server failed")
    status, message = _OF_FAILURE.get(completion.failure or "not_asked", unknown)
    if own_words and completion.failure == "permanent":
        message = completion.error or message
    return Refused(status, message, headers={"retry-after": "5"} if status == 503 else None)
