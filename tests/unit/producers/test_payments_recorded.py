"""Recorded operations to movements: what Horizon really says."""

from typing import Any

import orjson
import pytest

from schema.stellar import AccountId, Asset, Malformed
from tests import recordings
from tests.unit.producers.records import (
    CONTRACT,
    HASH,
    UNIT,
    moved,
)

USDC_MAINNET = Asset.parse("USDC:GA5ZSEJYB37JRC5AVCIA5MOP4RHTM335X2KGX3IHOJAPP5RE34K4KZVN")
USDC_TESTNET = Asset.parse("USDC:GBBD47IF6LWK7P7MDEVSCWR7DPUWV3NY3DTQEVFL4NAT4AQH3ZLLFLA5")


def recorded() -> list[Any]:
    """Every recorded operation, from its own file or a page."""
    if not recordings.FOLDER.is_dir():
        return []
    found = [
        pytest.param(orjson.loads(path.read_bytes()), id=path.stem)
        for path in sorted((recordings.FOLDER / "operations").glob("*.json"))
    ]
    for path in sorted((recordings.FOLDER / "operation_page").glob("*.json")):
        body = orjson.loads(path.read_bytes())
        entries = body["_embedded"]["records"] if "_embedded" in body else [body]
        found += [pytest.param(entry, id=f"{path.stem}-{number}") for number, entry in enumerate(entries)]
    return found


REFUSED = {  # the field for which a recorded record is refused, for the asset where it is
    "payment_2": "transaction_successful",
    "payment_6": "transaction_successful",
    "sac_details_transfer_clawback_burn_mint_SYNTHETIC": "transaction_successful",  # only an operation's details
    "invoke_host_function_usdc_from_contract_muxed": "transaction_hash",  # which lost a digit in the documentation
}
EXPECTED = {
    "payment_4": [
        ("GC5LF63GRVIT5ZXXCXLPI3RX2YXKJQFZVBSAO6AUELN3YIMSWPD6Z6FH", -39 * UNIT),
        ("GAFK7XFZHMLSNV7OJTBO7BAIZA66X6QIBV5RMZZYXK4Q7ZSO52J5C3WQ", 39 * UNIT),
    ],
    "operation_page_13-0": [("GAYF33NNNMI2Z6VNRFXQ64D4E4SF77PM46NW3ZUZEEU5X7FCHAZCMHKU", 15_000_000)],
}


@recordings.needed
@pytest.mark.parametrize("each", recorded())
def test_every_recorded_record_is_read_or_refused(each: dict[str, Any], request: pytest.FixtureRequest) -> None:
    """Each recorded operation gives the movements it made of Circle's USDC, or is refused with the reason named."""
    name = request.node.callspec.id
    found, refused = [], None
    for asset in (USDC_MAINNET, USDC_TESTNET):
        said = said_of(each, asset)
        refused = said.field if isinstance(said, Malformed) else refused
        found += [] if isinstance(said, Malformed) else [(wallet, stroops) for wallet, stroops, _ in said]
    assert refused == REFUSED.get(name)
    assert found == EXPECTED.get(name, [])


def said_of(each: object, asset: Asset) -> list[tuple[AccountId, int, str | None]] | Malformed:
    try:
        return moved(each, asset)
    except Malformed as malformed:
        return malformed


@recordings.needed
def test_the_recorded_contract_transfer_is_read_once_its_hash_is_whole() -> None:
    """The mainnet transfer from a contract to a muxed account moves the G account by 0.01."""
    each = recordings.load("operations/invoke_host_function_usdc_from_contract_muxed.json")
    each["transaction_hash"] = HASH
    assert moved(each, USDC_MAINNET) == [
        ("GB5FM5GICRYGBFMEGPMYEFDZQHGUYF75Z7WNB2JL5A3A57HIB4CP3TCL", 100_000, CONTRACT)
    ]
