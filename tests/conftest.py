"""Fixtures for everybody: the real photographs, and the rule that they may not be skipped where that is forbidden."""

import os
import signal
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# What a shell starts in the background ignores SIGINT, and so does all that it starts; tests interrupt programs.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real photographs, masks, models and reference vectors."""
    folder = os.environ.get("RIGHT_REASONS_DATA")
    if not folder:
        pytest.skip("RIGHT_REASONS_DATA is not set: no real photographs and models here")
    return Path(folder)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """With RIGHT_REASONS_NO_SKIPS a skipped test fails the run: a suite must not pass by not looking."""
    if os.environ.get("RIGHT_REASONS_NO_SKIPS") and terminalreporter.stats.get("skipped"):
        terminalreporter.write_line("RIGHT_REASONS_NO_SKIPS is set, and tests were skipped", red=True)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """See `pytest_terminal_summary`."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if (
        os.environ.get("RIGHT_REASONS_NO_SKIPS")
        and exitstatus == 0
        and reporter
        and reporter.stats.get("skipped")
    ):
        session.exitstatus = 1
