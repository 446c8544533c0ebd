"""Processes that end with this one, free ports, and waiting for what is to come."""

import os
import signal
import socket
import subprocess
import time

_started = []


def start(command, log, **environment):
    """Starts a process in a group of its own, so that what it starts ends with it."""
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            env={**os.environ, **environment}, start_new_session=True,
        )
    _started.append(process)
    return process


def stop_all():
    """Ends every process that was started, and theirs."""
    for signal_number in (signal.SIGTERM, signal.SIGKILL):
        for process in _started:
            try:
                os.killpg(process.pid, signal_number)
            except ProcessLookupError:
                continue
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline and any(process.poll() is None for process in _started):
            time.sleep(0.05)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def until(what, found, seconds=60.0, every=0.2):
    """Calls `found` until it returns something, and returns that."""
    deadline = time.monotonic() + seconds
    while True:
        value = found()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {what}")
        time.sleep(every)
