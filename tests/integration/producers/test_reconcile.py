"""`reconcile` in a whole world: what it proves is true, what differs it names, what facts can mend it mends."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import uuid4

import pytest

from producers.reconcile.differences import Kind
from producers.reconcile.histories import Histories
from sandbox.chain_operations import ChangeTrust, CrossOffer, SetTrustlineFlags
from sandbox.horizon_faults import Fault
from schema.stellar import Ledger, Stroops
from tests.integration.producers.recorder import PACE, compare, judge, kinds, recording
from tests.integration.producers.scene import UNIT, Scene, until_true

WALLETS = 6


async def follow(scene: Scene, *, wallets: int = WALLETS) -> None:
    """Rows for the wallets, their baselines told and recorded; nothing runs afterwards."""
    for wallet in range(wallets):
        await scene.add_wallet(wallet)
    async with recording(scene), scene.stream():
        await until_true(lambda: without_fact(scene, 0), what="every baseline is recorded")


async def without_fact(scene: Scene, count: int) -> bool:
    query = "select count(*) from public.stellar_wallets where balance_ledger is null"
    return bool(await scene.connection.fetchval(query) == count)


async def tamper(scene: Scene, wallet: int, change: str) -> None:
    """Change a row by hand."""
    await scene.connection.execute(
        f"update public.stellar_wallets set {change} where public_key = $1",  # noqa: S608
        scene.account(wallet),
    )


async def stored_units(scene: Scene, wallet: int) -> int:
    query = "select previous_usdc_balance::bigint from public.stellar_wallets where public_key = $1"
    return int(await scene.connection.fetchval(query, scene.account(wallet)))


@contextlib.asynccontextmanager
async def traffic(scene: Scene, *, wallets: int = WALLETS, every_s: float = 0.15) -> AsyncIterator[None]:
    """Ledgers close all the while, each with a payment to one of the wallets in turn."""

    async def flow() -> None:
        for number in range(10_000):
            scene.pay(number % wallets, 1)
            scene.close()
            await asyncio.sleep(every_s)

    task = asyncio.create_task(flow())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_after_a_normal_run_the_database_equals_the_chain(scene: Scene) -> None:
    """Wallets paid, one without a trustline: equal at a ledger, by all of them."""
    await follow(scene)
    async with recording(scene), scene.stream():
        for wallet in range(4):
            scene.pay(wallet, 10 + wallet)
            scene.close()
        gone = scene.account(5)
        spend = CrossOffer(
            source=gone,
            maker=scene.people.market.account_id,
            sold=scene.people.asset,
            sold_stroops=Stroops(100 * UNIT),
            bought=None,
            bought_stroops=Stroops(1),
        )
        scene.chain.enqueue(spend, ChangeTrust(source=gone, asset=scene.people.asset, limit_stroops=Stroops(0)))
        scene.pay(3, 5)
        scene.close()
        await scene.until_told(3, units=118)
    async with recording(scene):
        report = await compare(scene, mend=True)  # a change that no payment shows may not have been told yet
        again = await compare(scene)
    assert report.is_equal
    assert report.sentence() == f"database equals chain at ledger {report.comparison.ledger}: {WALLETS} wallets"
    assert again.is_equal
    assert again.apart == 0
    await judge(scene, again)


async def test_differences_of_every_kind_are_found_and_named(scene: Scene) -> None:
    """No baseline, an old fact, another balance or authorization of the same version, a version that the chain never
    had, a key that is no address, a state that makes no sense; a wallet on hold is named beside them.
    """
    await follow(scene)
    scene.pay(1, 5)
    scene.close()
    scene.close()
    await tamper(
        scene,
        0,
        "balance_ledger = null, previous_usdc_balance = null, balance_authorized = null, protected_usdc = null",
    )
    await tamper(scene, 2, "previous_usdc_balance = 99.9999999")
    await tamper(scene, 3, "balance_authorized = false")
    await tamper(scene, 4, f"balance_ledger = {scene.chain.latest.sequence + 1_000_000}")
    await tamper(scene, 5, "held_at = now()")
    user_id = uuid4()
    await scene.connection.execute("insert into auth.users (id) values ($1)", user_id)
    await scene.connection.execute(
        "insert into public.stellar_wallets (user_id, public_key, network) values ($1, 'GNOBODY', 'testnet')", user_id
    )
    await scene.add_wallet(6)
    scene.horizon.faults.add(
        Fault(
            path_prefix=f"/accounts/{scene.account(6)}",
            times=1_000,
            status=200,
            body=b'{"account_id": 7}',
            headers={"Latest-Ledger": str(scene.chain.latest.sequence)},
        )
    )
    report = await compare(scene, pace=replace(PACE, wait_s=0.0))
    assert kinds(report) == {
        scene.account(0): Kind.MISSING,
        scene.account(1): Kind.BEHIND,
        scene.account(2): Kind.CONFLICT,
        scene.account(3): Kind.AUTHORIZED,
        scene.account(4): Kind.AHEAD,
        scene.account(5): "on hold",
        scene.account(6): Kind.UNREADABLE,
        "GNOBODY": Kind.UNREADABLE,
    }
    text = "\n".join(report.lines())
    assert f"{scene.account(1)}  behind: stored 100.0000000 of ledger" in text
    assert "chain 105.0000000 of ledger" in text
    assert "stored 99.9999999 of ledger" in text
    assert "database differs from chain at ledger" in text.splitlines()[-1]
    assert "7 of 8 wallets" in text.splitlines()[-1]
    assert not report.is_beyond_repair


async def test_repair_mends_what_facts_can_mend(scene: Scene) -> None:
    """Missing and old facts are published, recorded and equal; a conflict is named again and its row is not touched."""
    await follow(scene)
    for wallet in (1, 2, 3):
        scene.pay(wallet, 7)
    scene.close()
    await scene.add_wallet(6)
    await tamper(scene, 4, "previous_usdc_balance = 1000000")
    async with recording(scene):
        report = await compare(scene, pace=replace(PACE, wait_s=1.5), mend=True)
        assert kinds(report) == {scene.account(4): Kind.CONFLICT}
        assert report.is_beyond_repair
        assert report.repaired is not None
        assert report.repaired.published == 4
        assert await stored_units(scene, 4) == 1_000_000
        await tamper(scene, 4, "previous_usdc_balance = 100")
        assert (await compare(scene)).is_equal
    snapshots = await scene.connection.fetch(
        """select distinct snapshot_type from public.balance_snapshots s join public.stellar_wallets w
           on w.id = s.wallet_id where w.public_key = any($1::text[])""",
        [scene.account(wallet) for wallet in (1, 2, 3, 6)],
    )
    assert [row[0] for row in snapshots] == ["poll"]
    assert [await stored_units(scene, wallet) for wallet in (1, 2, 3, 6)] == [107, 107, 107, 100]


async def test_without_a_consumer_it_says_that_nothing_is_recorded(scene: Scene) -> None:
    """The facts are published and not recorded: it still differs, and running it again can help."""
    await follow(scene)
    scene.pay(0, 7)
    scene.close()
    report = await compare(scene, mend=True, pace=replace(PACE, wait_s=0.5))
    assert kinds(report) == {scene.account(0): Kind.BEHIND}
    assert not report.is_beyond_repair
    assert "1 facts published; 1 wallets are not recorded yet" in "\n".join(report.lines())
    async with recording(scene):
        assert (await compare(scene)).is_equal


async def test_traffic_all_the_while_still_ends_with_a_proof(scene: Scene) -> None:
    """While ledgers close and wallets are paid, it ends with a ledger at which all are equal; the chain agrees."""
    await follow(scene)
    async with recording(scene), scene.stream(), traffic(scene):
        await scene.until_told(WALLETS - 1, units=101)
        for _ in range(3):
            report = await compare(scene)
            assert report.is_equal, list(report.lines())
            assert report.wallets == WALLETS
            assert report.apart < WALLETS
            await judge(scene, report)


async def test_a_change_that_no_payment_shows_is_noticed_between_two_reads(scene: Scene) -> None:
    """A wallet read before its offer is crossed, the others after: the effect shows that the first read is over, and
    the wallet is read again. Without looking at the changes it would pass for equal.
    """
    await follow(scene)
    crossed = min(range(WALLETS), key=scene.account)

    async def cross() -> None:
        """Somebody takes the offer of the first wallet."""
        taker, maker = scene.people.payers[0].account_id, scene.account(crossed)
        scene.chain.enqueue(
            CrossOffer(
                source=taker,
                maker=maker,
                sold=None,
                sold_stroops=Stroops(UNIT),
                bought=scene.people.asset,
                bought_stroops=Stroops(40 * UNIT),
            )
        )
        scene.close()

    last = max(range(WALLETS), key=scene.account)
    away = Fault(path_prefix=f"/accounts/{scene.account(last)}", status=503, headers={"Retry-After": "0"}, times=10**6)
    others = Fault(path_prefix="/accounts/", times=10**6)  # it only counts
    scene.horizon.faults.add(away)
    scene.horizon.faults.add(others)
    comparing = asyncio.create_task(compare(scene, pace=replace(PACE, wait_s=0.0)))
    await until_true(lambda: away.asked and others.asked == WALLETS - 1, what="the others are read")
    await cross()
    scene.pay(last, 1)
    scene.close()
    scene.horizon.faults.clear()
    report = await comparing
    assert kinds(report) == {scene.account(crossed): Kind.BEHIND, scene.account(last): Kind.BEHIND}
    chain = next(each for each in report.found() if each["account_id"] == scene.account(crossed))
    assert chain["chain_balance"] == "60.0000000"


@pytest.mark.parametrize("path", ["/accounts", "/payments", "/effects", "/"])
async def test_replicas_that_lag_never_prove_what_is_false(scene: Scene, path: str) -> None:
    """Every third answer of this kind comes from a replica that is behind, while wallets are paid: whatever is proved
    is true on the chain.
    """
    await follow(scene)
    scene.horizon.faults.add(Fault(path_prefix=path, times=100_000, every=3, lag_ledgers=3))
    async with recording(scene), scene.stream(), traffic(scene):
        await scene.until_told(WALLETS - 1, units=101)
        for _ in range(2):
            report = await compare(scene)
            await judge(scene, report)
            assert report.is_equal, list(report.lines())


async def test_by_stellar_rpc_it_is_proved_too(scene: Scene) -> None:
    """While wallets are paid, by events instead of effects: the same proof, true on the same chain."""
    await follow(scene)
    async with recording(scene), scene.stream(), traffic(scene):
        await scene.until_told(WALLETS - 1, units=101)
        report = await compare(scene, rpc=True)
        assert report.is_equal, list(report.lines())
        await judge(scene, report)


@pytest.mark.parametrize("rpc", [False, True])
async def test_an_authorization_taken_away_is_a_difference(scene: Scene, *, rpc: bool) -> None:
    """The issuer's flag raises the version and leaves the balance: the history shows it, a backfill finds it, and it
    is behind until it is told, then equal.
    """
    await follow(scene)
    scene.chain.enqueue(
        SetTrustlineFlags(
            source=scene.people.issuer.account_id,
            trustor=scene.account(2),
            asset=scene.people.asset,
            authorized=False,
        )
    )
    ledger = scene.close()
    async with scene.parts(rpc=rpc) as parts:
        history = Histories(parts.source, network=parts.network, asset=parts.asset, after=Ledger(ledger - 1))
        touched = [each for _ in range(4) for each in (await history.step()).touched]
    assert (scene.account(2), ledger) in touched
    assert kinds(await compare(scene, pace=replace(PACE, wait_s=0.0), rpc=rpc)) == {scene.account(2): Kind.BEHIND}
    async with recording(scene):
        assert (await compare(scene, pace=replace(PACE, wait_s=1.0), mend=True, rpc=rpc)).is_equal
