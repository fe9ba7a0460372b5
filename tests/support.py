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
        path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
        if path:
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

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, number), hard))
        except (OSError, ValueError):
            reason = f"a process can't have {number} descriptors here"
            raise unittest.SkipTest(reason) from None


def until(condition: Callable[[], Any]) -> Any:
    """Wait until a condition is true, and return what it gives."""
    end = time.monotonic() + LONG
    while time.monotonic() < end:
        result = condition()
        if result:
            return result
        time.sleep(0.01)
    raise AssertionError("this never happened")


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
        launch = str(ROOT / "tests" / "launch.py")
        port = [] if arguments and arguments[0].isdigit() else ["0"]
        command = [sys.executable, launch, str(folder), changes, *port, *arguments]
        with contextlib.ExitStack() as stack:
            name = stack.enter_context(tempfile.TemporaryDirectory())
            self.log_file, self.errors_file = (pathlib.Path(name, o) for o in "le")
            log = stack.enter_context(self.log_file.open("wb"))
            errors = stack.enter_context(self.errors_file.open("wb"))
            options = {"stdin": subprocess.PIPE, "stdout": log, "stderr": errors}
            self.process = subprocess.Popen(command, **{**options, **popen})
            stack.callback(self.end)
            until(lambda: "C stops" in self.said() or self.process.poll() is not None)
            match = re.match(r"Serving (http://(\S+):(\d+)/) \(Ctrl", self.said())
            if not match:
                raise AssertionError(f"server.py did not start: {self.said()}")
            self.url, self.address = match[1], (match[2].strip("[]"), int(match[3]))
            self.stack = stack.pop_all()

    def __exit__(self, *_: object) -> None:
        """End it, and remove its files."""
        self.stack.close()

    def end(self) -> None:
        """End the process, if it hasn't ended."""
        if self.process.poll() is None and COVERED:  # what is killed saves no counts
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(LONG)
        self.process.kill()
        self.process.communicate()  # this closes its pipes, and waits

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send it a signal, and return its exit status."""
        self.process.send_signal(number)
        return self.process.wait(LONG)

    def said(self) -> str:
        """Return what is on its standard error so far, in whole lines."""
        text = self.errors_file.read_bytes().decode("utf-8", "replace")
        return text[: text.rfind("\n") + 1]

    def errors(self) -> str:
        """Return the same without the line that says where it serves."""
        return self.said().partition("\n")[2].replace("\r\n", "\n")

    def log(self) -> list[str]:
        """Return the lines logged so far."""
        return self.log_file.read_bytes().decode("ascii").splitlines()

    def connect(self, sent: bytes = b"", receive_buffer: int = 0) -> socket.socket:
        """Return a connection on which sent has been sent."""
        found = socket.getaddrinfo(*self.address, type=socket.SOCK_STREAM)
        family, kind, _, _, place = found[0]
        with contextlib.ExitStack() as stack:
            client = stack.enter_context(socket.socket(family, kind))
            if receive_buffer:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            client.settimeout(LONG)
            client.connect(place)
            client.sendall(sent)
            stack.pop_all()
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
        """Keep a client in mid-head beside what is done; then it gets the page."""
        with self.connect(HALF) as client:
            self.ask()
            yield
            client.sendall(REST)
            if status(client) != 200:
                raise AssertionError("an innocent client wasn't served")

    @contextlib.contextmanager
    def standing_still(self) -> Iterator[None]:
        """Stop the process for a while, as Ctrl-Z does; a shell lets it go on."""
        command = ["sh", "-c", "read _; kill -CONT $0", str(self.process.pid)]
        with subprocess.Popen(command, stdin=subprocess.PIPE):
            self.process.send_signal(signal.SIGSTOP)
            yield
