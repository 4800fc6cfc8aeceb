"""From an effect to the wallets whose trustline of our asset it may have changed; and what is refused."""

import contextlib
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers import effects
from sandbox.chain_effects import TYPE_NUMBERS
from schema.stellar import Asset, Malformed
from tests import recordings
from tests.people import account_id
from tests.unit.producers.records import (
    ALICE,
    ASSET,
    BOB,
    CONTRACT,
    ISSUER,
    LEDGER,
    asset_fields,
    effect,
    operation_id,
    pool,
)

COUNTERFEIT = Asset("USDC", account_id("counterfeiter"))
XLM = {"asset_type": "native"}
ANOTHER = Asset("USDCoin", ISSUER)
GIVEN = (
    "trustline_authorized",
    "trustline_deauthorized",
    "trustline_authorized_to_maintain_liabilities",
    "trustline_flags_updated",
)
OWN = ("account_credited", "account_debited", "trustline_created", "trustline_removed", "trustline_updated")
POOLS = ("liquidity_pool_deposited", "liquidity_pool_withdrew", "liquidity_pool_revoked", "liquidity_pool_trade")


def about(asset: Asset | None) -> list[dict[str, Any]]:
    """One effect of each kind that names an asset, about this one; Alice's, and Bob's where there are two."""
    fields = XLM if asset is None else asset_fields(asset)
    name = "native" if asset is None else str(asset)
    other: dict[str, Any] = {"bought_asset_type": "native"}
    sold: dict[str, Any] = {f"sold_{key}": value for key, value in fields.items()}
    bought: dict[str, Any] = {f"bought_{key}": value for key, value in fields.items()}
    return [
        *(effect(kind, **fields) for kind in OWN),
        *(effect(kind, account=ISSUER, trustor=ALICE, **fields) for kind in GIVEN),
        *(effect(kind, liquidity_pool=pool(None, asset)) for kind in POOLS),
        effect("claimable_balance_created", asset=name),
        effect("claimable_balance_claimed", asset=name),
        effect("trade", seller=BOB, **sold, **other),
        effect("trade", seller=BOB, **bought, sold_asset_type="native"),
    ]


@pytest.mark.parametrize("each", about(ASSET), ids=lambda each: each["type"])
def test_each_kind_touches_whose_trustline_it_changed(each: dict[str, Any]) -> None:
    """The account of the effect; both sides of a trade; of a flag the one it was given to and not the issuer."""
    expected = {ALICE, BOB} if each["type"] == "trade" else {ALICE}
    assert effects.touched(each, ASSET) == expected


@pytest.mark.parametrize("asset", [COUNTERFEIT, ANOTHER, None], ids=["counterfeit", "another", "XLM"])
def test_other_assets_touch_nobody(asset: Asset | None) -> None:
    """A counterfeit of the code, another asset of the issuer, and XLM are nothing, in every kind of effect."""
    for each in about(asset):
        assert effects.touched(each, ASSET) == frozenset(), each["type"]


def test_a_flag_without_an_issuer_is_its_givers() -> None:
    """Horizon leaves the issuer out of the older kinds: whoever gave the flag is it, a counterfeiter's is nothing."""
    fields = asset_fields()
    del fields["asset_issuer"]
    assert effects.touched(effect(GIVEN[0], account=ISSUER, trustor=ALICE, **fields), ASSET) == {ALICE}
    fake = effect(GIVEN[0], account=COUNTERFEIT.issuer, trustor=ALICE, **fields)
    assert effects.touched(fake, ASSET) == frozenset()


def test_the_type_of_the_asset_counts() -> None:
    """Code and issuer of ours under another asset type are not our asset."""
    odd = effect("account_credited", **{**asset_fields(), "asset_type": "credit_alphanum12"})
    assert effects.touched(odd, ASSET) == frozenset()


def test_an_account_that_ended_is_touched() -> None:
    """A merged account has no trustline left, whatever it held."""
    assert effects.touched(effect("account_removed"), ASSET) == {ALICE}


@pytest.mark.parametrize("kind", sorted(effects.NOBODYS))
def test_what_changes_no_trustlines_balance_touches_nobody(kind: str) -> None:
    """Signers, data, offers, sponsors, contracts and what lies in a claimable balance are not asked about."""
    assert effects.touched(effect(kind, **asset_fields(), asset=str(ASSET)), ASSET) == frozenset()


def test_an_effect_of_the_future_touches_everyone_it_names() -> None:
    """A kind that is not known here is about our asset when it names it anywhere; then every account in it is read."""
    named = effect("vault_opened", **asset_fields(), keeper=BOB)
    deep = effect("vault_opened", parts=[{"asset": str(ASSET), "keeper": BOB}])
    other = effect("vault_opened", **asset_fields(COUNTERFEIT), keeper=BOB, note=[str(COUNTERFEIT), {"code": "USDC"}])
    assert effects.touched(named, ASSET) == {ALICE, BOB, ISSUER}
    assert effects.touched(deep, ASSET) == {ALICE, BOB, ISSUER}
    assert effects.touched(other, ASSET) == frozenset()


@pytest.mark.parametrize("within", [lambda inner: [inner], lambda inner: {"part": inner}], ids=["lists", "objects"])
def test_a_mention_is_searched_to_a_depth(within: Callable[[Any], Any]) -> None:
    """An effect nested beyond any sense is left alone, and one just within is not."""
    deep: Any = str(ASSET)
    for _ in range(15):
        deep = within(deep)
    assert effects.touched(effect("vault_opened", parts=deep), ASSET) == {ALICE, ISSUER}
    assert effects.touched(effect("vault_opened", parts=within(deep)), ASSET) == frozenset()


@pytest.mark.parametrize(
    ("bent", "place"),
    [
        ("not a record", "value"),
        (effect("account_credited", type=7), "type"),
        (effect("account_credited"), "asset_type"),
        (effect("account_credited", account="G" + "A" * 55, **asset_fields()), "account"),
        (effect("account_credited", account=CONTRACT, **asset_fields()), "account"),
        (effect("trade", **asset_fields(prefix="sold_"), bought_asset_type="native"), "seller"),
        (effect("trade", **asset_fields(prefix="sold_"), seller=BOB), "bought_asset_type"),
        (effect("trustline_flags_updated", account=ISSUER, **asset_fields()), "trustor"),
        (effect("liquidity_pool_withdrew"), "liquidity_pool"),
        (effect("liquidity_pool_withdrew", liquidity_pool={}), "liquidity_pool.reserves"),
        (effect("liquidity_pool_trade", liquidity_pool={"reserves": [7]}), "liquidity_pool.reserves[0]"),
        (effect("liquidity_pool_trade", liquidity_pool={"reserves": [{}]}), "liquidity_pool.reserves[0].asset"),
        (effect("claimable_balance_claimed"), "asset"),
        ({**effect("account_removed"), "account": None}, "account"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_place(bent: object, place: str) -> None:
    """An effect that may be about our asset and cannot be read is refused, and the refusal names the field."""
    with pytest.raises(Malformed) as refused:
        effects.touched(bent, ASSET)
    assert (refused.value.field or "value") == place


@pytest.mark.parametrize(
    ("read", "bent", "words"),
    [
        (
            lambda bent: effects.touched(bent, ASSET),
            effect("liquidity_pool_withdrew", liquidity_pool={"reserves": "two"}),
            "liquidity_pool.reserves is 'two', expected a list",
        ),
        (
            effects.place_of,
            {**effect("trade"), "paging_token": "12"},
            "paging_token is '12', expected an operation id, a dash and a number",
        ),
    ],
)
def test_a_refusal_says_what_was_expected(read: Callable[[object], object], bent: object, words: str) -> None:
    """The field, what stood there, and what should."""
    with pytest.raises(Malformed) as refused:
        read(bent)
    assert str(refused.value) == words


def test_where_an_effect_stands() -> None:
    """Its operation's id and its number, as numbers: the tenth comes after the ninth; and the operation's ledger."""
    ninth, tenth = effect("trade", order=9), effect("trade", order=10)
    assert effects.place_of(ninth) == ((int(operation_id()), 9), LEDGER)
    assert effects.place_of(ninth) < effects.place_of(tenth)


@pytest.mark.parametrize("token", [None, 7, "", "12", "12-3-4", "-1", f"{2**63}-1", "12345-3", f"{operation_id()}-x"])
def test_a_place_that_is_none_is_refused(token: object) -> None:
    """A paging token that is not an operation's id with a ledger in it, a dash and a number."""
    with pytest.raises(Malformed, match="paging_token"):
        effects.place_of(effect("trade", paging_token=token))


@given(
    bent=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=8,
    ),
    number=st.integers(0, len(about(ASSET)) - 1),
    drawn=st.data(),
)
def test_nothing_but_malformed_escapes(bent: object, number: int, drawn: st.DataObject) -> None:
    """Whatever stands in a field, an effect gives accounts or Malformed, nothing else; and never a counterfeit's."""
    ours, fake = about(ASSET)[number], about(COUNTERFEIT)[number]
    name = drawn.draw(st.sampled_from(sorted(ours)))
    ours[name] = bent
    with contextlib.suppress(Malformed):
        effects.touched(ours, ASSET)
    with contextlib.suppress(Malformed):
        effects.place_of(ours)
    fake[name] = bent
    with contextlib.suppress(Malformed):
        assert effects.touched(fake, ASSET) == frozenset()


def test_the_sandbox_says_nothing_that_is_not_in_the_table() -> None:
    """Every kind of effect that the simulated Horizon has is read by a row of its own, not as one of the future."""
    known = {*effects.NOBODYS, *OWN, *GIVEN, *POOLS, "trade", "account_removed"}
    known |= {"claimable_balance_created", "claimable_balance_claimed"}
    assert TYPE_NUMBERS.keys() <= known


def recorded() -> list[Any]:
    """Every recorded effect, from its own file or a page."""
    if not recordings.FOLDER.is_dir():
        return []
    files = sorted((recordings.FOLDER / "effects").glob("*.json"))
    found = [pytest.param(orjson.loads(path.read_bytes()), id=path.stem) for path in files]
    for path in sorted((recordings.FOLDER / "effect_page").glob("*.json")):
        entries = orjson.loads(path.read_bytes())["_embedded"]["records"]
        found += [pytest.param(entry, id=f"{path.stem}-{number}") for number, entry in enumerate(entries)]
    return found


EXPECTED = {  # of the asset named, whom the recorded effect touches
    ("trustline_created_2", "USD:GBIA4FH6TV64KSPDAJCNUQSM7PFL4ILGUVJDPCLUOPJ7ONMKBBVUQHRO"): {
        "GDWGJSTUVRNFTR7STPUUHFWQYAN6KBVWCZT2YN7MY276GCSSXSWPS6JY"
    },
    ("trade_2", "USD:GBIA4FH6TV64KSPDAJCNUQSM7PFL4ILGUVJDPCLUOPJ7ONMKBBVUQHRO"): {
        "GDWGJSTUVRNFTR7STPUUHFWQYAN6KBVWCZT2YN7MY276GCSSXSWPS6JY",
        "GBIA4FH6TV64KSPDAJCNUQSM7PFL4ILGUVJDPCLUOPJ7ONMKBBVUQHRO",
    },
    ("liquidity_pool_withdrew_1", "COOL:GAZKB7OEYRUVL6TSBXI74D2IZS4JRCPBXJZ37MDDYAEYBOMHXUYIX5YL"): {
        "GAQXAWHCM4A7SQCT3BOSVEGRI2OOB7LO2CMFOYFF6YRXU4VQSB5V2V2K"
    },
    ("trustline_flags_updated_1", "MSCIW:GBRDHSZL4ZKOI2PTUMM53N3NICZXC5OX3KPCD4WD4NG4XGCBC2ZA3KAG"): {
        "GBL73HAKZGDGPSLOHI543CSK7FVJSMLHSIRUZRBH7SV43GM7IQWS7QET"
    },
    (
        "trustline_authorized_to_maintain_liabilities_1",
        "MSCIW:GBRDHSZL4ZKOI2PTUMM53N3NICZXC5OX3KPCD4WD4NG4XGCBC2ZA3KAG",
    ): {"GBL73HAKZGDGPSLOHI543CSK7FVJSMLHSIRUZRBH7SV43GM7IQWS7QET"},
    ("claimable_balance_created_1", "USDPEND:GBHNGLLIE3KWGKCHIKMHJ5HVZHYIK7WTBE4QF5PLAKL4CJGSEU7HZIW5"): {
        "GBHNGLLIE3KWGKCHIKMHJ5HVZHYIK7WTBE4QF5PLAKL4CJGSEU7HZIW5"
    },
    ("trustline_updated_1", "DOGET:GDOEVDDBU6OBWKL7VHDAOKD77UP4DKHQYKOKJJT5PR3WRDBTX35HUEUX"): {
        "GBDJ2WBVME6CRBZSDUSG3IYWK3MEY2XWSLX2AUSTOLQ75ONRW53DYV3C"
    },
}


@recordings.needed
@pytest.mark.parametrize("each", recorded())
def test_every_recorded_effect_is_read(each: dict[str, Any], request: pytest.FixtureRequest) -> None:
    """Each recorded effect touches whom it changed of the asset it names, and nobody of ours but an ended account."""
    name = request.node.callspec.id
    ended = {each["account"]} if each["type"] == "account_removed" else set()
    assert effects.touched(each, ASSET) == ended
    for (file, asset), expected in EXPECTED.items():
        if file == name:
            assert effects.touched(each, Asset.parse(asset)) == expected
