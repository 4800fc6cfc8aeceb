"""A database whose certificate is not believed: that is said, and not that its URL cannot be read."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from schema.service import database
from schema.service.settings import Unusable
from tests.certificates import self_signed


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[int]:
    """Of a server that speaks TLS as PostgreSQL does, with a certificate of its own."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*self_signed(tmp_path, "server"))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)  # may we speak TLS?
        writer.write(b"S")
        try:
            await writer.start_tls(context)
        except OSError:  # it is not believed
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


async def test_a_certificate_that_is_not_believed_is_named(port: int, tmp_path: Path) -> None:
    """The rest of the URL is well, and its password is not shown."""
    other, _ = self_signed(tmp_path, "other")
    url = f"postgresql://nobody:secret@127.0.0.1:{port}/none?sslmode=verify-full&sslrootcert={other}"
    with pytest.raises(Unusable, match=r"DATABASE_URL .* certificate is not believed: .*verify failed") as refused:
        await database.open_pool(url, connections_max=1, application_name="test")
    assert "secret" not in str(refused.value)
