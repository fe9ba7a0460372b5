"""What the tests share: a server in a process of its own, and clients down to bytes."""

import contextlib
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest
from collections.abc import Iterator
from typing import Any, Callable, NamedTuple

ROOT = pathlib.Path(__file__).resolve().parent.parent
LONG = 30.0  # seconds: the end of any wait that should be over at once
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
HALF, REST = GET[:9], GET[9:]
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n"
LARGE = b"GET /size?8000000 HTTP/1.0\r\n\r\n"  # with pages.py
PAGE, PICTURE = ((ROOT / name).read_bytes() for name in ("index.html", "test.jpg"))
COVERED = any(name.startswith("COVERAGE_PROCESS") for name in os.environ)
PYPY = sys.implementation.name == "pypy"
RESPONSE = re.compile(
    rb"HTTP/1\.1 (\d{3}) [A-Z][A-Za-z ]+\r\n((?:[A-Z][A-Za-z-]*: [ -~]+\r\n)+)\r\n(.*)",
    re.DOTALL,
)
on_posix = unittest.skipUnless(os.name == "posix", "Windows has no such thing")
on_linux = unittest.skipUnless(sys.platform == "linux", "only Linux has this")


def require(*names: str) -> str:
    """Return the path of the first of these tools that is installed, or skip."""
    for name in names:
        if path := shutil.which(name):
            return path
    reason = f"{' or '.join(names)} is not installed"
    if os.environ.get("REQUIRE_TOOLS"):  # then a skipped test is a failure
        raise AssertionError(reason)
    raise unittest.SkipTest(reason)


def free_port() -> int:
    """Return a port that nobody has, and that no system gives away by itself."""
    while True:
        port = random.randrange(10000, 30000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def allow(number: int) -> None:
    """Let this process and its servers have so many descriptors, or skip the test."""
    if os.name == "posix":
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (number, most))
        except (OSError, ValueError):
            raise unittest.SkipTest(f"{number} descriptors are too many") from None


def until(condition: Callable[[], Any]) -> Any:
    """Wait until a condition is true, and return what it gives."""
    end = time.monotonic() + LONG
    while not (result := condition()):
        if time.monotonic() > end:
            raise AssertionError("this never happened")
        time.sleep(0.01)
    return result


class Answer(NamedTuple):
    """A response taken apart: its fields by lower-case name."""

    status: int
    fields: dict[str, str]
    content: bytes


def read_answer(raw: bytes) -> Answer:
    """Return the one response that raw is, to its last byte."""
    match = RESPONSE.fullmatch(raw)
    if not match:
        raise AssertionError(f"not a response: {raw[:200]!r}")
    lines = [line.split(": ", 1) for line in match[2].decode().splitlines()]
    fields = {name.lower(): value for name, value in lines}
    if len(fields) < len(lines):
        raise AssertionError(f"a field stands twice: {lines}")
    return Answer(int(match[1]), fields, match[3])


def read_all(client: socket.socket) -> bytes:
    """Return all that comes until the server closes."""
    return b"".join(iter(lambda: client.recv(1 << 16), b""))


def status(client: socket.socket) -> int:
    """Return the status of what is answered."""
    return read_answer(read_all(client)).status


def reset(client: socket.socket) -> None:
    """Close a connection as a client does that crashes."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


class Server(contextlib.AbstractContextManager["Server"]):
    """A server.py that runs on a free port, with its output in files.

    Changes are names of functions in launch.py, such as "pages patience:1". Without
    them, server.py runs as a user starts it.
    """

    def __init__(
        self,
        *arguments: str,
        changes: str = "",
        folder: pathlib.Path = ROOT,
        **popen: Any,
    ) -> None:
        """Start it, and wait until it listens."""
        launch = f"{ROOT}/tests/launch.py"
        port = [] if arguments and arguments[0].isdigit() else ["0"]
        command = [sys.executable, launch, str(folder), changes, *port, *arguments]
        self.folder = tempfile.TemporaryDirectory()
        self.log_file = pathlib.Path(self.folder.name, "log")
        self.errors_file = pathlib.Path(self.folder.name, "errors")
        with self.log_file.open("wb") as log, self.errors_file.open("wb") as errors:
            popen = {"stdin": subprocess.PIPE, "stdout": log, "stderr": errors, **popen}
            self.process = subprocess.Popen(command, **popen)
        until(lambda: "C stops" in self.said() or self.process.poll() is not None)
        match = re.match(r"Serving (http://(\S+):(\d+)/) \(Ctrl", self.said())
        if not match:
            raise AssertionError(f"server.py did not start: {self.said()}")
        self.url, self.address = match[1], (match[2].strip("[]"), int(match[3]))

    def __exit__(self, *_: object) -> None:
        """End the process, if it hasn't ended, and remove its files."""
        if self.process.poll() is None and COVERED:  # what is killed saves no counts
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(LONG)
        self.process.kill()
        self.process.communicate()  # this closes its pipes, and waits
        self.folder.cleanup()

    def said(self) -> str:
        """Return what is on its standard error so far, in whole lines."""
        text = self.errors_file.read_text("utf-8", "replace")
        return text[: text.rfind("\n") + 1]

    def errors(self) -> str:
        """Return the same without the line that says where it serves."""
        return self.said().partition("\n")[2]

    def log(self) -> list[str]:
        """Return the lines logged so far."""
        return self.log_file.read_text("ascii").splitlines()

    def connect(self, sent: bytes = b"", receive_buffer: int = 0) -> socket.socket:
        """Return a connection on which sent has been sent."""
        found = socket.getaddrinfo(*self.address, type=socket.SOCK_STREAM)
        family, kind, _, _, place = found[0]
        client = socket.socket(family, kind)
        try:
            if receive_buffer:  # it counts from the first packet on
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            client.settimeout(LONG)
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

    def get(self, target: str) -> Answer:
        """Return the answer to a GET request for target."""
        return read_answer(self.ask(f"GET {target} HTTP/1.0\r\n\r\n".encode()))

    def check(self) -> float:
        """See that the page comes, and return how long that takes."""
        began = time.monotonic()
        if self.get("/").content != PAGE:
            raise AssertionError("this isn't the page")
        return time.monotonic() - began

    @contextlib.contextmanager
    def innocent(self) -> Iterator[None]:
        """Keep a slow client and a silent one; then both of them get the page."""
        with self.connect(HALF) as slow, self.connect() as silent:
            self.ask()
            yield
            slow.sendall(REST)
            silent.sendall(GET)
            if (status(slow), status(silent)) != (200, 200):
                raise AssertionError("an innocent client wasn't served")

    @contextlib.contextmanager
    def standing_still(self) -> Iterator[None]:
        """Stop the process for a while, as Ctrl-Z does; a shell lets it go on."""
        command = ["sh", "-c", "read _; kill -CONT $0", str(self.process.pid)]
        with subprocess.Popen(command, stdin=subprocess.PIPE):
            self.process.send_signal(signal.SIGSTOP)
            yield
