"""Where others are: hosts, URLs, brokers and topics that can be, checked before anybody is asked there. Pure."""

import re
from typing import Final
from urllib.parse import urlsplit

from schema.stellar import Malformed

PORT_MAX: Final = 65_535
_BROKER: Final = re.compile(r"(?P<host>[^\s:/\[\]\"']+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?")
_TOPIC: Final = re.compile(r"[A-Za-z0-9._-]{1,249}")


def parse_host(value: str) -> str:
    """A host's name or address; Malformed when no name can be like that, on which Python's own look-up would break."""
    if not _can_be_looked_up(value):
        raise Malformed(
            value, expected="a host's name or address: up to 63 characters between two dots, and never none"
        )
    return value


def parse_url(value: str) -> str:
    """A URL of http or https, without its last slash."""
    expected = _missing_in(value)
    if expected:
        raise Malformed(value, expected=expected)
    return value.rstrip("/")


def parse_secret_url(value: str) -> str:
    """The same, where the URL may carry a key: it is not quoted."""
    expected = _missing_in(value)
    if expected:
        raise ValueError(f"expected {expected} (it is not shown, for it may carry a key)")
    return value.rstrip("/")


def parse_brokers(value: str) -> str:
    """`host:port,host:port`, without spaces."""
    brokers = [part.strip() for part in value.split(",") if part.strip()]
    for each in brokers:
        found = _BROKER.fullmatch(each)
        if found is None or not _can_be_looked_up(found["host"]) or not 0 < int(found["port"] or 1) <= PORT_MAX:
            raise Malformed(each, expected=f"host:port, with a port from 1 to {PORT_MAX:,}")
    if not brokers:
        raise Malformed(value, expected="host:port, with commas between")
    return ",".join(brokers)


def parse_topic(value: str) -> str:
    """A topic's name, by Kafka's own rule."""
    if _TOPIC.fullmatch(value) is None or value in (".", ".."):
        raise Malformed(value, expected="a topic's name: up to 249 letters, digits, dots, underscores and hyphens")
    return value


def _missing_in(url: str) -> str:
    """What should be there and is not; empty: nothing is missing."""
    if not url.startswith(("http://", "https://")):
        return "a URL that starts with http:// or https://"
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError:
        return f"http://host:port, with a port up to {PORT_MAX:,}, and an address of IPv6 between brackets"
    if not host or re.search(r"\s", url) or not _can_be_looked_up(host):
        return "a host after http:// or https://, and no spaces"
    return ""


def _can_be_looked_up(host: str) -> bool:
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return True
