"""The embedded Kafka broker: librdkafka's mock cluster, a real listener that speaks the protocol, in a child process.

The library is the one inside confluent-kafka's wheel, called through ctypes, for it alone can create topics there. What
this broker cannot do stands in docs/brokers.md. The child answers one JSON line for each JSON line on its standard
input, and ends when that closes: a parent that dies takes its broker along.
"""

import argparse
import asyncio
import contextlib
import ctypes
import importlib.util
import json
import select
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final, Self

from sandbox.freezing import freeze

START_DEADLINE_S: Final = 30.0  # 0.3 s on an idle machine
REPLY_DEADLINE_S: Final = 10.0
STOP_DEADLINE_S: Final = 5.0
REQUEST_BYTES_MAX: Final = 64 * 1024 * 1024  # what the listener reads at most: one request can carry several batches


class BrokerFailed(Exception):
    """The embedded broker did not start, did not answer, or refused a topic."""


class EmbeddedBroker:
    """A running broker. Not for use from several threads at once."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self._child = child
        self.bootstrap_servers = ""

    @classmethod
    def start(cls, topics: Mapping[str, int] | None = None) -> Self:
        """Start a broker with these topics (name to partitions) and wait until it listens; BrokerFailed otherwise."""
        named = [f"{name}:{partitions}" for name, partitions in (topics or {}).items()]
        child = subprocess.Popen(
            [sys.executable, "-m", "sandbox.broker", "--topics", *named],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parent.parent,
            start_new_session=True,  # a Ctrl-C is for the parent, who still needs its broker to finish
        )
        broker = cls(child)
        try:
            broker.bootstrap_servers = broker._reply(START_DEADLINE_S)["bootstrap_servers"]
        except BaseException:
            broker.kill()
            raise
        return broker

    def create_topic(self, name: str, partitions: int) -> None:
        """Create a topic; BrokerFailed where it exists already."""
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(json.dumps({"topic": name, "partitions": partitions}).encode() + b"\n")
            self._child.stdin.flush()
        except (BrokenPipeError, ValueError) as error:  # ValueError: closed by us
            raise BrokerFailed("the embedded broker has ended") from error
        reply = self._reply(REPLY_DEADLINE_S)
        if "error" in reply:
            raise BrokerFailed(f"topic {name}: {reply['error']}")

    def stop(self) -> None:
        """End the broker; what it held is gone."""
        assert self._child.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.close()
        try:
            self._child.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
        self._release()

    def kill(self) -> None:
        """End the broker without a goodbye."""
        self._child.kill()
        self._release()

    def pause(self) -> None:
        """Freeze the broker (SIGSTOP): it keeps its connections and answers nothing."""
        freeze(self._child)

    def resume(self) -> None:
        """Let a frozen broker go on (SIGCONT)."""
        self._child.send_signal(signal.SIGCONT)

    def _release(self) -> None:
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()

    def _reply(self, deadline_s: float) -> dict[str, Any]:
        """The next line of the child; BrokerFailed when there is none in time."""
        assert self._child.stdout is not None
        readable, _, _ = select.select([self._child.stdout], [], [], deadline_s)
        line = self._child.stdout.readline() if readable else b""
        if not line:
            fate = "gave no answer" if self._child.poll() is None else f"ended with {self._child.returncode}"
            raise BrokerFailed(f"the embedded broker {fate} within {deadline_s:.0f} s; its words are on standard error")
        reply: dict[str, Any] = json.loads(line)
        return reply


@contextlib.asynccontextmanager
async def start(topics: Mapping[str, int] | None = None) -> AsyncIterator[EmbeddedBroker]:
    """A broker with these topics (name to partitions) for as long as the block runs; see its `bootstrap_servers`."""
    broker = await asyncio.to_thread(EmbeddedBroker.start, topics)
    try:
        yield broker
    finally:
        await asyncio.to_thread(broker.stop)


class _MockCluster:
    """librdkafka's mock cluster of one broker, inside this process."""

    def __init__(self) -> None:
        self._library = _library()
        reason = ctypes.create_string_buffer(512)
        settings = self._library.rd_kafka_conf_new()
        for name, value in (("log_level", "3"), ("receive.message.max.bytes", str(REQUEST_BYTES_MAX))):
            if self._library.rd_kafka_conf_set(settings, name.encode(), value.encode(), reason, len(reason)) != 0:
                raise BrokerFailed(f"librdkafka refused {name}: {reason.value.decode()}")
        client = self._library.rd_kafka_new(0, settings, reason, len(reason))
        if not client:
            raise BrokerFailed(f"librdkafka: {reason.value.decode()}")
        self._cluster = self._library.rd_kafka_mock_cluster_new(client, 1)
        if not self._cluster:
            raise BrokerFailed("librdkafka made no mock cluster")
        self._library.rd_kafka_mock_set_controller_id(self._cluster, 1)  # by itself it names a broker that is not there
        self._library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 0)

    @property
    def bootstrap_servers(self) -> str:
        address: bytes = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster)
        return address.decode()

    def create_topic(self, name: str, partitions: int) -> None:
        code = self._library.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, 1)
        if code != 0:
            raise BrokerFailed(self._library.rd_kafka_err2str(code).decode())


def _library() -> ctypes.CDLL:
    """The wheel's librdkafka, by way of the extension module linked with it: importing the package takes 0.8 s."""
    package = importlib.util.find_spec("confluent_kafka")
    folders = package.submodule_search_locations if package is not None else None
    extensions = [path for folder in folders or () for path in sorted(Path(folder).glob("cimpl*.so"))]
    if not extensions:
        raise BrokerFailed("confluent-kafka is not installed: the embedded broker is a part of it")
    library = ctypes.CDLL(str(extensions[0]))
    pointer, text, number, size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_size_t
    for name, result, arguments in (
        ("rd_kafka_conf_new", pointer, []),
        ("rd_kafka_conf_set", number, [pointer, text, text, text, size]),
        ("rd_kafka_new", pointer, [number, pointer, text, size]),
        ("rd_kafka_err2str", text, [number]),
        ("rd_kafka_mock_cluster_new", pointer, [pointer, number]),
        ("rd_kafka_mock_cluster_bootstraps", text, [pointer]),
        ("rd_kafka_mock_set_controller_id", number, [pointer, ctypes.c_int32]),
        ("rd_kafka_mock_group_initial_rebalance_delay_ms", None, [pointer, ctypes.c_int32]),
        ("rd_kafka_mock_topic_create", number, [pointer, text, number, number]),
    ):
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments
    return library


def _topic(text: str) -> tuple[str, int]:
    name, _, partitions = text.rpartition(":")
    if not name or not partitions.isdigit() or int(partitions) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not name:partitions")
    return name, int(partitions)


def main() -> None:
    """Run the broker until standard input closes."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.broker", description=__doc__)
    parser.add_argument("--topics", nargs="*", default=[], type=_topic, metavar="NAME:PARTITIONS")
    topics: list[tuple[str, int]] = parser.parse_args().topics
    cluster = _MockCluster()
    for name, partitions in topics:
        cluster.create_topic(name, partitions)
    _say(bootstrap_servers=cluster.bootstrap_servers)
    for line in sys.stdin:  # until the parent closes it, or ends
        wish = json.loads(line)
        try:
            cluster.create_topic(wish["topic"], wish["partitions"])
        except BrokerFailed as failed:
            _say(error=str(failed))
        else:
            _say(created=wish["topic"])


def _say(**fields: str) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
