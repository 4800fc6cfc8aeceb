"""Requests that are whole, each judged by who proved what: forged, tampered, replayed, or proven nonsense."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final

import orjson

from tests.people import account_id
from tests.webhook_senders import SECRET, SHARED, STRANGE_SECRET, naming, request, signed

STRANGERS: Final = [account_id(f"stranger {number}") for number in range(50)]
CONTENT_TYPE: Final = {"content-type": "application/json"}
_CLASS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One request. `proven`: its sender holds the secret, so that it may be done; nobody tracked is named by it."""

    kind: str
    content: bytes
    proven: bool = False
    whole: bool = True  # a reply is certain, and only one


def tampered(random: Random, tracked: str) -> Case:
    """A proven request for the tracked wallet, but for one character of what is signed or of the signature."""
    body = naming(tracked)
    headers = signed(body, webhook_id=f"msg_{random.getrandbits(64):x}")
    part = random.choice(["body", "webhook-id", "webhook-timestamp", "webhook-signature"])
    text = body.decode() if part == "body" else headers[part]
    places = [
        place for place, letter in enumerate(text) if letter in _CLASS and (part != "webhook-signature" or place > 2)
    ]
    place = random.choice(places)
    letters = "0123456789" if part == "webhook-timestamp" else _CLASS
    changed = text[:place] + random.choice([each for each in letters if each != text[place]]) + text[place + 1 :]
    if part == "body":
        return Case(kind="tampered", content=request(changed.encode(), headers))
    return Case(kind="tampered", content=request(body, headers | {part: changed}))


def forged(random: Random, tracked: str) -> Case:
    """Named, and proved by nothing that counts."""
    body = naming(tracked)
    good = signed(body)
    timestamp = good["webhook-timestamp"]
    missing = random.choice([name for name in good if name.startswith("webhook")])
    headers = random.choice(
        [
            CONTENT_TYPE,
            signed(body, secret=STRANGE_SECRET),
            signed(body, age_s=random.choice([-10_000, -400, 400, 10_000, 10**8])),
            signed(naming(random.choice(STRANGERS))),
            {name: value for name, value in good.items() if name != missing},
            good | {"webhook-id": random.choice(["", "a.b", "x" * 300, "\u00f6", "msg 1", "{}"])},
            good
            | {"webhook-timestamp": random.choice([f"+{timestamp}", f"{timestamp}.0", f"0{timestamp}", "1e9", "nan"])},
            good
            | {"webhook-signature": good["webhook-signature"].replace("v1,", random.choice(["v2,", "v1 ,", "", "v1"]))},
            good
            | {
                "webhook-signature": random.choice(
                    ["v1,", "v1", ",", " ", "v1,!!!!", "v1," + "A" * 7_000, "v1,\u00e9=="]
                )
            },
            CONTENT_TYPE
            | {"authorization": random.choice([SHARED, "Bearer", "Bearer ", f"Basic {SHARED}", f"Bearer {SHARED}x"])},
        ]
    )
    return Case(kind="forged", content=request(body, headers))


def bodies(random: Random, tracked: str) -> Case:
    """Proven, and no hint, or one of strangers."""
    makes: list[Callable[[], bytes]] = [
        lambda: orjson.dumps(_json(random, 4)),
        lambda: random.randbytes(random.randrange(200)),
        lambda: b"[" * random.choice([10, 2_000, 60_000]),
        lambda: b'{"data":' * random.choice([3, 500, 7_000]) + b"1" + b"}" * 3,
        lambda: b'{"account_id": ' + b"9" * random.choice([20, 400, 60_000]) + b"}",
        lambda: b'{"account_id": "\\ud800", "account_id": "\xff"}',
        lambda: orjson.dumps({"account_id": random.choice(STRANGERS)}),
        lambda: orjson.dumps({"accounts": random.choices(STRANGERS, k=random.randrange(0, 120))}),
        lambda: orjson.dumps({"table": "stellar_wallets", "record": _json(random, 2), "old_record": _json(random, 2)}),
        lambda: orjson.dumps({"record": {"public_key": random.choice([None, 7, "G", random.choice(STRANGERS)])}}),
        lambda: orjson.dumps(
            {
                "id": random.choice(["0", "1", "-1", "9" * 19, "9" * 40, str(10**18)]),
                "transaction_hash": "a",
                "to": tracked,
            }
        ),
        lambda: b"",
    ]
    body = random.choice(makes)()
    if random.random() < 0.2:
        return Case(
            kind="bodies", proven=True, content=request(body, CONTENT_TYPE | {"authorization": f"Bearer {SHARED}"})
        )
    return Case(kind="bodies", proven=True, content=request(body, signed(body, secret=SECRET)))


def replayed(random: Random, _tracked: str) -> Case:
    """Proven, and done before."""
    body = naming(random.choice(STRANGERS))
    return Case(kind="replayed", proven=True, content=request(body, signed(body, webhook_id="msg_replayed")))


def _json(random: Random, depth: int) -> object:
    kind = random.randrange(9 if depth else 6)
    if kind < 6:
        return random.choice([None, True, 0, -1, 2**63, 1.5e300, "", "G", "\0", "\u00f6" * 9, random.choice(STRANGERS)])
    if kind == 6:
        return [_json(random, depth - 1) for _ in range(random.randrange(4))]
    names = [
        "account_id",
        "accounts",
        "record",
        "old_record",
        "data",
        "id",
        "transaction_hash",
        "table",
        "public_key",
        "",
    ]
    return {random.choice(names): _json(random, depth - 1) for _ in range(random.randrange(5))}
