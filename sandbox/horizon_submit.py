"""`POST /transactions`: a signed transaction goes in once, and the answer comes when a ledger holds it."""

import time

from aiohttp import web

from sandbox import envelopes
from sandbox.chain_history import Transaction
from sandbox.chain_transactions import Rejected, Submitted
from sandbox.horizon_instance import Instance
from sandbox.horizon_problems import Problem, bad_request, timeout, transaction_failed, transaction_malformed
from sandbox.horizon_records import dump, transaction_record
from sandbox.horizon_views import HAL
from schema.stellar import AccountId, Malformed


class Submissions:
    """The way into the chain. The same envelope again is answered with what became of it, and does nothing more."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._chain = instance.chain

    def routes(self) -> list[web.RouteDef]:
        """Where transactions are handed in."""
        return [web.post("/transactions", self.submit)]

    async def submit(self, request: web.Request) -> web.Response:
        form = await request.post()
        envelope = str(form.get("tx", "")) or request.query.get("tx", "")
        if not envelope:
            raise bad_request("tx", "Missing parameter")
        try:
            submitted = envelopes.decode(envelope, passphrase=self._chain.network.passphrase, signer_of=self._signer_of)
        except Malformed:
            raise transaction_malformed(envelope) from None
        found = self._chain.history.transactions.get(submitted.hash) or await self._included(submitted)
        if not found.successful:
            raise transaction_failed(envelope, code="tx_failed", operation_codes=found.operation_codes)
        body = dump(transaction_record(found, self._instance.base_url))
        return web.Response(body=body, headers={"Content-Type": HAL})

    async def _included(self, submitted: Submitted) -> Transaction:
        """The transaction as the ledger holds it; the problem that a client is told where it does not."""
        try:
            pending = self._chain.submit(submitted)
        except Rejected as rejected:
            raise transaction_failed(submitted.envelope, code=rejected.code) from None
        ends_at = time.monotonic() + self._instance.options.submit_timeout_s
        while pending.transaction is None:
            if pending.dropped:
                raise transaction_failed(submitted.envelope, code=pending.dropped)
            if not await self._instance.closed.wait(timeout_s=ends_at - time.monotonic()):
                raise _unknown(submitted)
        return pending.transaction

    def _signer_of(self, account_id: str) -> AccountId | None:
        account = self._chain.state.account(account_id)
        return account.signer if account else None


def _unknown(submitted: Submitted) -> Problem:
    return timeout(transaction_hash=submitted.hash, envelope=submitted.envelope)
