"""A real Apache Kafka on this machine: one KRaft node from the jars that `make kafka` fetched, on free ports.

`python -m sandbox.apache_kafka` runs one in the foreground for a person.
"""

import contextlib
import io
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Self

from sandbox.freezing import freeze

PORTS: Final = (20_000, 32_000)
JARS: Final = Path(__file__).parent.parent / ".kafka" / "libs"
START_DEADLINE_S: Final = 120.0  # 4 s on an idle machine
STOP_DEADLINE_S: Final = 30.0
BATCH_BYTES_MAX: Final = 16 * 1024 * 1024  # above what any topic of ours allows
JVM_FLAGS: Final = ("-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData")
CLUSTER_ID: Final = "c2FuZGJveC1rYWZrYS0wMQ"
_STARTED: Final = "Kafka Server started"  # the server's own word that it takes requests

# The node's group is ended when this program closes the pipe or dies; `exec` keeps the node's own process id.
_LEASH: Final = 'exec 3<&0; { cat <&3; kill -s KILL -- "-$$"; } >/dev/null 2>&1 & exec "$@" </dev/null 3<&-'

_SERVER: Final = """\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}{listeners}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}{advertised}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT{protocols}
log.dirs={folder}/log
auto.create.topics.enable=false
message.max.bytes={batch_bytes_max}
replica.fetch.max.bytes={batch_bytes_max}
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.cleaner.dedupe.buffer.size=4194304
"""
_LOGGING: Final = """\
status=error
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d %p %c{1} %m%n
rootLogger.level=info
rootLogger.appenderRef.out.ref=out
"""


class KafkaFailed(Exception):
    """Apache Kafka is not here, or did not start."""


class ApacheKafka:
    """One node with its data in a folder of its own. The port and the data stay over kill() and start().

    `led_through` names clients (in capitals) that are to reach the node by a port of their own that leads here, such as
    a proxy's: the node tells whoever comes in at `ports[client]` that it is to be found at that other port.
    """

    def __init__(self, folder: Path | None = None, *, led_through: Mapping[str, int] | None = None) -> None:
        if not JARS.is_dir():
            raise KafkaFailed("there is no Apache Kafka here yet: run `make kafka`")
        self.folder = folder or Path(tempfile.mkdtemp(prefix="apache-kafka-"))
        led_through = led_through or {}
        self.port, controller_port, *own = _free_ports(2 + len(led_through))
        self.ports = dict(zip(led_through, own, strict=True))
        self.bootstrap_servers = f"127.0.0.1:{self.port}"
        self._settings = self.folder / "server.properties"
        self._node: subprocess.Popen[bytes] | None = None
        self._words: deque[str] = deque(maxlen=40)
        self._settings.write_text(
            _SERVER.format(
                port=self.port,
                controller_port=controller_port,
                folder=self.folder,
                batch_bytes_max=BATCH_BYTES_MAX,
                listeners="".join(f",{name}://127.0.0.1:{port}" for name, port in self.ports.items()),
                advertised="".join(f",{name}://127.0.0.1:{port}" for name, port in led_through.items()),
                protocols="".join(f",{name}:PLAINTEXT" for name in led_through),
            )
        )
        (self.folder / "log4j2.properties").write_text(_LOGGING)

    @classmethod
    def started(cls) -> Self:
        """A fresh node that takes requests; KafkaFailed otherwise, with nothing left behind."""
        kafka = cls()
        try:
            kafka.start()
        except BaseException:
            kafka.remove()
            raise
        return kafka

    def start(self) -> None:
        """Start the node, again after stop() or kill(), and wait until it takes requests; KafkaFailed otherwise."""
        if not (self.folder / "log" / "meta.properties").exists():
            self._format()
        self._node = subprocess.Popen(
            ["sh", "-c", _LEASH, "sh", *self._java("kafka.Kafka"), str(self._settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.folder,
            start_new_session=True,
        )
        said = threading.Event()
        threading.Thread(target=self._listen, args=(self._node, said), daemon=True).start()
        if not said.wait(START_DEADLINE_S) or self._node.poll() is not None:
            self.kill()
            raise KafkaFailed(f"Apache Kafka did not start; its last words:\n{self.last_words}")

    def stop(self) -> None:
        """Shut the node down in good order; the data stays for the next start()."""
        if self._node is None:
            return
        self.resume()
        self._signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._node.wait(STOP_DEADLINE_S)
        self.kill()

    def kill(self) -> None:
        """End the node at once (SIGKILL), as a power cut would; the data stays for the next start()."""
        if self._node is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._node.pid, signal.SIGKILL)
        self._node.wait()
        assert self._node.stdin is not None
        self._node.stdin.close()
        self._node = None

    def pause(self) -> None:
        """Freeze the node (SIGSTOP): it keeps its connections and answers nothing."""
        if self._node is not None:
            freeze(self._node)

    def resume(self) -> None:
        """Let a frozen node go on (SIGCONT)."""
        self._signal(signal.SIGCONT)

    def remove(self) -> None:
        """End the node and delete its data."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def last_words(self) -> str:
        """The last lines of the node's log."""
        return "\n".join(self._words)

    def _signal(self, number: signal.Signals) -> None:
        if self._node is not None and self._node.poll() is None:
            os.kill(self._node.pid, number)

    def _java(self, main_class: str) -> list[str]:
        java = shutil.which("java")
        if java is None:
            raise KafkaFailed("Java 17 or newer is needed to run Apache Kafka")
        logging = f"-Dlog4j2.configurationFile={self.folder / 'log4j2.properties'}"
        return [java, *JVM_FLAGS, logging, "-cp", f"{JARS}/*", main_class]

    def _format(self) -> None:
        command = [*self._java("kafka.tools.StorageTool"), "format", "--standalone", "--cluster-id", CLUSTER_ID]
        formatted = subprocess.run(
            [*command, "--config", str(self._settings)],
            check=False,
            capture_output=True,
            text=True,
            timeout=START_DEADLINE_S,
        )
        if formatted.returncode != 0:
            raise KafkaFailed(f"the storage was not formatted: {formatted.stdout}{formatted.stderr}")

    def _listen(self, node: subprocess.Popen[bytes], said: threading.Event) -> None:
        """Read the node's log, for a full pipe would stop it; say when it takes requests, or when it ended."""
        assert node.stdout is not None
        with io.TextIOWrapper(node.stdout, errors="replace") as lines:
            for line in lines:
                self._words.append(line.rstrip())
                if _STARTED in line:
                    said.set()
        node.wait()
        said.set()


@contextlib.contextmanager
def running() -> Iterator[ApacheKafka]:
    """A fresh node for as long as the block runs; its data goes with it."""
    kafka = ApacheKafka.started()
    try:
        yield kafka
    finally:
        kafka.stop()
        kafka.remove()


def _free_ports(count: int) -> list[int]:
    """Free ports below those that systems lend to clients: while the node is down, nobody else is given one of them."""
    with contextlib.ExitStack() as taken:
        found: list[int] = []
        while len(found) < count:
            port = random.SystemRandom().randrange(*PORTS)
            with contextlib.suppress(OSError):
                taken.enter_context(socket.create_server(("127.0.0.1", port)))
                found.append(port)
        return found


def main() -> None:
    """Run a node until Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with running() as kafka:
            sys.stdout.write(
                f"Apache Kafka listens on {kafka.bootstrap_servers}; Ctrl-C ends it and deletes its data\n"
            )
            sys.stdout.flush()
            with contextlib.suppress(KeyboardInterrupt):
                signal.pause()
    except KafkaFailed as failed:
        sys.exit(str(failed))


if __name__ == "__main__":
    main()
