"""`/healthz` (the process runs), `/readyz` (it does its work, or says what is missing), `/metrics` (Prometheus)."""

from collections.abc import Callable, Mapping

import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from schema.service.settings import Unusable

log = structlog.get_logger(__name__)

Readiness = Callable[[], Mapping[str, str]]  # what is not right, by part: empty means ready


async def start(*, host: str, port: int, registry: CollectorRegistry, unready: Readiness) -> web.AppRunner:
    """Serve the three pages until the runner is cleaned up. Port 0 takes a free one and says it in the log.

    Unusable when the port is taken, or is not this machine's to open.
    """

    async def healthz(_request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_request: web.Request) -> web.Response:
        reasons = unready()
        if not reasons:
            return web.Response(text="ready\n")
        lines = "".join(f"{part}: {reason}\n" for part, reason in sorted(reasons.items()))
        return web.Response(status=503, text=lines)

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    try:
        await site.start()
    except OSError as error:
        await runner.cleanup()
        raise Unusable(f"HTTP_HOST and HTTP_PORT cannot be opened: {error}") from error
    log.info("health page is up", address="http://{}:{}".format(*runner.addresses[0][:2]))
    return runner
