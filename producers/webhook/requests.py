"""One HTTP request, step by step, from its first line to the hint in its body; what is wrong with it is a Problem."""

import asyncio
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


def check_form(request: web.BaseRequest, *, bytes_max: int) -> None:
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
    if request.content_length > bytes_max:
        raise _too_large(bytes_max)


async def body(request: web.BaseRequest, *, bytes_max: int, within_s: float) -> bytes:
    """The whole body, within its time and size."""
    found = bytearray()
    try:
        async with asyncio.timeout(within_s):
            if request.headers.get("Expect", "").lower() == "100-continue":
                await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                request.writer.output_size = 0
            async for chunk in request.content.iter_any():
                found += chunk
                if len(found) > bytes_max:
                    raise _too_large(bytes_max)
    except TimeoutError:
        raise Problem(
            Outcome.TOO_SLOW, f"{len(found)} bytes came within {within_s:g} s", where="body", expected="all of it"
        ) from None
    except web.RequestPayloadError as error:
        reason = type(error.__cause__ or error).__name__
        raise Problem(Outcome.BAD_HTTP, f"the body breaks off: {reason}", where="body") from error
    except OSError as error:
        raise Problem(Outcome.GONE, "before the body was there") from error
    return bytes(found)


def hint(content: bytes) -> Hint:
    """Whom the body names."""
    try:
        return webhook_hints.read(content)
    except NotJson as error:
        raise Problem(Outcome.BAD_JSON, str(error), where="body", expected="JSON in UTF-8") from error
    except Malformed as error:
        detail = f"{error.got} is not what it should be"
        raise Problem(Outcome.BAD_HINT, detail, where=error.field, expected=error.expected) from error


def _too_large(bytes_max: int) -> Problem:
    return Problem(
        Outcome.TOO_LARGE, f"more than {bytes_max} bytes", where="body", expected=f"at most {bytes_max} bytes"
    )
