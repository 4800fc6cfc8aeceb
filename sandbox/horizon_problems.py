"""The errors that Horizon answers with: problem+json (RFC 7807), in its own words."""

from typing import Any, Final

import orjson

PREFIX: Final = "https://stellar.org/horizon-errors/"
CONTENT_TYPE: Final = "application/problem+json; charset=utf-8"


class Problem(Exception):
    """An answer that is not the one asked for."""

    def __init__(  # noqa: PLR0913 - a problem has these parts
        self,
        status: int,
        type_: str,
        title: str,
        detail: str = "",
        *,
        extras: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(title)
        self.status = status
        self.type = type_
        self.detail = detail
        self.headers = headers or {}
        self.document: dict[str, Any] = {"type": PREFIX + type_, "title": title, "status": status}
        if detail:
            self.document["detail"] = detail
        if extras:
            self.document["extras"] = extras

    @property
    def body(self) -> bytes:
        return orjson.dumps(self.document, option=orjson.OPT_INDENT_2)

    @property
    def stream_text(self) -> str:
        """The same error in the middle of a stream: text, not JSON."""
        return f"problem: {self.type}. full details: {self.detail}"


def bad_request(field: str, reason: str) -> Problem:
    """400 for a parameter."""
    return Problem(
        400,
        "bad_request",
        "Bad Request",
        "The request you sent was invalid in some way.",
        extras={"invalid_field": field, "reason": reason},
    )


def not_found() -> Problem:
    """404."""
    return Problem(
        404,
        "not_found",
        "Resource Missing",
        "The resource at the url requested was not found.  This is usually occurs for one of two reasons:  The url "
        "requested is not valid, or no data in our database could be found with the parameters provided.",
    )


def not_acceptable() -> Problem:
    """406."""
    title = "An acceptable response content-type could not be provided for this request"
    return Problem(406, "not_acceptable", title)


def before_history() -> Problem:
    """410: the answer was there once."""
    return Problem(
        410,
        "before_history",
        "Data Requested Is Before Recorded History",
        "This horizon instance is configured to only track a portion of the Stellar network's latest history. This "
        "request is asking for results prior to the recorded history known to this horizon instance.",
    )


def rate_limit_exceeded(*, retry_after_s: int) -> Problem:
    """429, with how long to wait."""
    return Problem(
        429,
        "rate_limit_exceeded",
        "Rate Limit Exceeded",
        "The rate limit for the requesting IP address is over its alloted limit.  The allowed limit and requests left "
        "per time period are communicated to clients via the http response headers 'X-RateLimit-*' headers.",
        headers={"Retry-After": str(retry_after_s)},
    )


def stale_history(*, history_latest: int, core_latest: int) -> Problem:
    """503: history lags behind the network."""
    return Problem(
        503,
        "stale_history",
        "Historical DB Is Too Stale",
        "This horizon instance is configured to reject client requests when it can determine that the history database "
        "is lagging too far behind the connected instance of Stellar-Core or read replica. It's also possible that "
        "Stellar-Core is out of sync. Please try again later.",
        extras={"history_latest_ledger": history_latest, "core_latest_ledger": core_latest},
    )


def still_ingesting() -> Problem:
    """503: the state is not there yet."""
    return Problem(
        503,
        "still_ingesting",
        "Still Ingesting",
        "Data cannot be presented because it's still being ingested. Please wait for several minutes before trying "
        "your request again.",
    )


def timeout(*, transaction_hash: str = "", envelope: str = "") -> Problem:
    """504: nobody knows whether the transaction got in."""
    extras = {"hash": transaction_hash, "envelope_xdr": envelope} if transaction_hash else None
    return Problem(
        504,
        "timeout",
        "Timeout",
        "Your request timed out before completing.  Please try your request again. If you are submitting a transaction "
        "make sure you are sending exactly the same transaction (with the same sequence number).",
        extras=extras,
    )


def transaction_malformed(envelope: str) -> Problem:
    """400: not an envelope."""
    return Problem(
        400,
        "transaction_malformed",
        "Transaction Malformed",
        "Horizon could not decode the transaction envelope in this request. A transaction should be an XDR "
        "TransactionEnvelope struct encoded using base64.  The envelope read from this request is echoed in the "
        "`extras.envelope_xdr` field of this response for your convenience.",
        extras={"envelope_xdr": envelope},
    )


def transaction_failed(envelope: str, *, code: str, operation_codes: tuple[str, ...] = ()) -> Problem:
    """400: refused, or in a ledger as failed (`tx_failed`)."""
    codes: dict[str, Any] = {"transaction": code}
    if operation_codes:
        codes["operations"] = list(operation_codes)
    return Problem(
        400,
        "transaction_failed",
        "Transaction Failed",
        "The transaction failed when submitted to the stellar network. The `extras.result_codes` field on this "
        "response contains further details.  Descriptions of each code can be found at: "
        "https://developers.stellar.org/api/errors/http-status-codes/horizon-specific/transaction-failed/",
        extras={"envelope_xdr": envelope, "result_codes": codes, "result_xdr": ""},
    )
