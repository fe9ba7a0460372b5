"""What the tests share: a server in a process of its own, and clients down to the bytes."""

import contextlib
import os
import pathlib
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from typing import Any, NamedTuple

ROOT = pathlib.Path(__file__).resolve().parent.parent
LONG = 20.0  # seconds: the end of any wait that should be over at once
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
COVERED = any(name.startswith("COVERAGE_PROCESS") for name in os.environ)


def require(*names: str) -> str:
    """Return the path of the first of these tools that is installed, or skip the test."""
    for name in names:
        path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
        if path:
            return path
    reason = f"{' or '.join(names)} is not installed"
    if os.environ.get("REQUIRE_TOOLS"):  # where they should be, a skipped test is a failure
        raise AssertionError(reason)
    raise unittest.SkipTest(reason)


def free_port() -> int:
    """Return a port that nobody has, and that no system hands out by itself meanwhile."""
    while True:
        port = random.randrange(10000, 30000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def descriptors(pid: int) -> int:
    """Return how many descriptors a process has open, or 0 where nobody counts them."""
    return len(os.listdir(f"/proc/{pid}/fd")) if os.path.isdir(f"/proc/{pid}/fd") else 0


def memory(pid: int, kind: str) -> int:
    """Return the KiB of memory that /proc counts as kind for a process, or 0 without /proc."""
    status = pathlib.Path(f"/proc/{pid}/status")
    return int(status.read_text().split(f"{kind}:")[1].split()[0]) if status.exists() else 0


class Response(NamedTuple):
    """A response taken apart: its fields by lower-case name."""

    status: int
    fields: dict[str, str]
    content: bytes


def parse(raw: bytes) -> Response:
    """Return the one response that raw is, to the last byte; AssertionError if it isn't."""
    head, blank, content = raw.partition(b"\r\n\r\n")
    status_line, *lines = head.decode("latin-1").split("\r\n")
    match = re.fullmatch(r"HTTP/1\.1 (\d{3}) [A-Z][A-Za-z ]+", status_line)
    assert match and blank, f"not a response: {raw[:200]!r}"
    fields: dict[str, str] = {}
    for line in lines:
        field = re.fullmatch(r"([A-Z][A-Za-z-]+): ([!-~](?:[ -~]*[!-~])?)", line)
        assert field and field[1].lower() not in fields, f"not a field, or twice: {line}"
        fields[field[1].lower()] = field[2]
    return Response(int(match[1]), fields, content)


def read_all(client: socket.socket) -> bytes:
    """Return all that comes until the server closes; ConnectionResetError if it resets."""
    return b"".join(iter(lambda: client.recv(1 << 16), b""))


class Server(contextlib.AbstractContextManager["Server"]):
    """server.py in a process of its own, on a free port, its log in a file."""

    def __init__(self, *arguments: str, code: str = "", folder: pathlib.Path = ROOT, **popen: Any):
        """Start it and wait until it listens; code is Python that runs in it before main."""
        script = [str(folder / "server.py")]
        if code:
            path = f"import server, socket, sys, time\n{code}\nserver.main()"
            script = ["-c", f"import sys; sys.path.insert(0, {str(folder)!r})\n{path}"]
        port = () if arguments and arguments[0].isdigit() else ("0",)
        number, self.log_file = tempfile.mkstemp()
        with open(number, "wb") as log:
            options = {"stdout": log, "stderr": subprocess.PIPE, **popen}
            self.process = subprocess.Popen([sys.executable, *script, *port, *arguments], **options)
        assert self.process.stderr
        too_late = threading.Timer(LONG, self.process.kill)
        too_late.start()
        self.first_line = self.process.stderr.readline().decode("ascii")
        too_late.cancel()
        match = re.fullmatch(r"Serving (http://(\S+):(\d+)/) \(Ctrl-C stops\)\n", self.first_line)
        if not match:
            self.close()
            raise AssertionError(f"server.py did not start: {self.first_line}")
        self.url, self.address = match[1], (match[2].strip("[]"), int(match[3]))

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process, if it hasn't ended, and let go of its files."""
        if self.process.poll() is None and COVERED:  # what is killed saves no counts
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(LONG)
        with self.process:  # it is waited for, and its pipe closed
            self.process.kill()
        os.unlink(self.log_file)

    def connect(self, sent: bytes = b"", receive_buffer: int = 0) -> socket.socket:
        """Return a connection on which sent has been sent."""
        family, kind, _, _, place = socket.getaddrinfo(*self.address, type=socket.SOCK_STREAM)[0]
        client = socket.socket(family, kind)
        if receive_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.settimeout(LONG)
        try:
            client.connect(place)
            client.sendall(sent)
        except OSError:
            client.close()
            raise
        return client

    def ask(self, sent: bytes = GET) -> bytes:
        """Return all that the server answers to sent, until it closes."""
        with self.connect(sent) as client:
            return read_all(client)

    def time_get(self) -> float:
        """Return the seconds that an honest client waits for the page."""
        began = time.monotonic()
        assert parse(self.ask()).status == 200
        return time.monotonic() - began

    def kill(self) -> str:
        """End it at once, and return what else was on standard error."""
        (self.process.terminate if COVERED else self.process.kill)()  # killed, it saves no counts
        return str(self.process.communicate(timeout=LONG)[1], "utf-8")

    def log(self) -> list[str]:
        """Return the lines logged so far."""
        return pathlib.Path(self.log_file).read_bytes().decode("ascii").splitlines()
