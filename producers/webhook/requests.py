"""One HTTP request, step by step, from its first line to the hint in its body; what is wrong with it is a Problem."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Final

from aiohttp import web

from producers.webhook import hints as webhook_hints
from producers.webhook import signatures as webhook_signatures
from producers.webhook.answers import Outcome, Problem
from producers.webhook.hints import Hint, NotJson
from producers.webhook.signatures import Unproven
from schema.stellar import Malformed

PATH: Final = "/webhooks/stellar"


def check_address(request: web.BaseRequest) -> None:
    """The page, and the method it takes."""
    if request.rel_url.raw_path != PATH:
        raise Problem(Outcome.NOT_FOUND, "there is one page, and it is another", where="path", expected=PATH)
    if request.method != "POST":
        raise Problem(Outcome.BAD_METHOD, "this page takes no other method", where="method", expected="POST")


def headers(request: web.BaseRequest) -> dict[str, Sequence[str]]:
    """Those that may prove who sent it."""
    return {name: request.headers.getall(name, []) for name in webhook_signatures.HEADERS}


@contextlib.contextmanager
def proving() -> Iterator[None]:
    """What is not proved is a Problem."""
    try:
        yield
    except Unproven as unproven:
        raise Problem(
            Outcome.UNAUTHORIZED, str(unproven), where=unproven.where, expected=unproven.expected
        ) from unproven


def check_form(request: web.BaseRequest) -> None:
    """What the headers say of the body, before it is read."""
    kind, _, parameters = request.headers.get("Content-Type", "").lower().partition(";")
    charset = parameters.strip().removeprefix("charset=").strip('"')
    if kind.strip() != "application/json" or charset not in ("", "utf-8"):
        raise Problem(
            Outcome.BAD_TYPE, "another type", where="Content-Type", expected="application/json, if in words in utf-8"
        )
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Problem(Outcome.BAD_TYPE, "the body is packed", where="Content-Encoding", expected="none")
    if "Transfer-Encoding" in request.headers:
        return  # in chunks: counted as they come
    if request.content_length is None:
        raise Problem(Outcome.NO_LENGTH, "it is missing", where="Content-Length", expected="the bytes of the body")


def hint(content: bytes) -> Hint:
    """Whom the body names."""
    try:
        return webhook_hints.read(content)
    except NotJson as error:
        raise Problem(Outcome.BAD_JSON, str(error), where="body", expected="JSON in UTF-8") from error
    except Malformed as error:
        detail = f"{error.got} is not what it should be"
        raise Problem(Outcome.BAD_HINT, detail, where=error.field, expected=error.expected) from error
