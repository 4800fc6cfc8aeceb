"""Stopping a child so that it surely stands."""

import os
import signal
import subprocess


def freeze(child: subprocess.Popen[bytes]) -> None:
    """SIGSTOP, and return when all its threads stand: until then one of them may still answer."""
    if child.poll() is None:
        child.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
