"""Where CI is set nothing may be skipped: a skipped test there is a promise that nobody looked at."""

import os

import pytest

_SKIPPED = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Begin the list, where the run is one of CI."""
    if os.environ.get("CI"):
        config.stash[_SKIPPED] = []
        config.pluginmanager.register(_Listener(config.stash[_SKIPPED]), "no-skips-listener")


class _Listener:
    def __init__(self, skipped: list[str]) -> None:
        self._skipped = skipped

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            self._skipped.append(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self._skipped.append(report.nodeid)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run that was green only because it looked away."""
    if session.config.stash.get(_SKIPPED, []) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name what was skipped."""
    skipped = config.stash.get(_SKIPPED, [])
    if skipped:
        terminalreporter.section("skipped, which CI does not allow", red=True)
        for nodeid in skipped:
            terminalreporter.line(nodeid)
