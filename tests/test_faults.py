"""Bugs, refused calls, leaks: what goes wrong for one costs nobody else anything."""

import os
import re
import socket
import unittest
from contextlib import ExitStack, suppress

from tests.support import (
    GET,
    HALF,
    LARGE,
    LONG,
    POST,
    PYPY,
    Server,
    allow,
    on_linux,
    read_all,
    reset,
    status,
)

BUGS = [AssertionError, BlockingIOError, ConnectionResetError, KeyError, MemoryError]
BUGS += [OSError, RecursionError, RuntimeError, StopIteration, ValueError]


class Bugs(unittest.TestCase):
    """Who meets one is told so, the operator sees it, and the next one is served."""

    def test_in_a_page(self) -> None:
        """It doesn't matter what it raises."""
        with Server(changes="pages") as running:
            for target in ("/odd", *(f"/bug?{bug.__name__}" for bug in BUGS)):
                with self.subTest(target), running.innocent():
                    self.assertEqual(running.get(target).status, 500)
            shown = re.findall(r"^(\w+): '?a bug'?$", running.errors(), re.MULTILINE)
        self.assertEqual(shown, [bug.__name__ for bug in BUGS])

    def test_in_the_server(self) -> None:
        """Only where nothing has come yet the connection is closed without a word."""
        for place in ("parse", "write", "recv"):
            for name in ("KeyError", "MemoryError"):
                changes = f"bug_in:{place}:{name}"
                with self.subTest(changes), Server(changes=changes) as running:
                    with running.innocent():
                        answer = running.ask(b"GET /bug HTTP/1.0\r\n\r\n")
                        told = b"" if place == "recv" else b"500"
                        self.assertEqual(answer[9:12], told)
                    self.assertIn(f"{name}: ", running.errors())

    def test_the_end_in_a_page(self) -> None:
        """Who calls sys.exit means it."""
        with Server(changes="pages") as running, running.connect(HALF):
            with running.connect(b"GET /bug?SystemExit HTTP") as client:
                running.ask()
                client.sendall(b"/1.0\r\n\r\n")
                self.assertEqual(running.process.wait(LONG), 1)
            self.assertEqual(running.errors(), "a bug\n")

    def test_clients_that_crash(self) -> None:
        """They are no bugs: no traceback, no 500, and nothing stays open."""
        kinds = (b"", b"\r\n", HALF, GET, POST, LARGE) * 6
        with Server(changes="pages") as running:
            before = running.get("/descriptor").content
            with running.innocent():
                clients = [running.connect(sent, 4096) for sent in kinds]
                running.ask()
                for client in clients:
                    reset(client)
                if os.name == "posix":
                    with running.standing_still():
                        for sent in kinds:
                            reset(running.connect(sent))
                for sent in (b"GET /\r\n", POST, GET):
                    running.ask(sent)
            with running.connect(GET) as answered:
                self.assertEqual(status(answered), 200)
                self.assertEqual(running.get("/descriptor").content, before)
            self.assertNotIn(" 500 ", " ".join(running.log()))
            self.assertEqual(running.errors(), "")

    @on_linux
    @unittest.skipIf(PYPY, "PyPy ends when it has no memory left")
    def test_no_memory(self) -> None:
        """Four hundred heads of 60 KB are too much, and the server lives."""
        allow(600)
        with Server(changes="memory_limit:10") as running, ExitStack() as stack:
            for _ in range(400):
                with suppress(OSError):
                    client = running.connect(GET[:-2] + b"A: " + b"a" * 60_000)
                    stack.enter_context(client)
            stack.close()
            running.check()

    @unittest.skipIf(PYPY, "tracemalloc is CPython's")
    def test_nothing_is_kept_for_long(self) -> None:
        """Neither heads nor responses nor dates."""
        with Server(changes="pages") as running:
            used = []
            for days in (range(100, 110), range(110, 200), range(200, 500)):
                for day in days:
                    running.get(f"/field?{day}")
                running.get("/size?50000000")
                used.append(int(running.get("/memory").content))
        self.assertLess(used[2], used[1] + 20_000, used)


class RefusedCalls(unittest.TestCase):
    """What the system refuses."""

    def test_what_is_not_needed(self) -> None:
        """Options only tune, and a client that is gone needs no shutdown."""
        for call in ("setsockopt", "shutdown"):
            with self.subTest(call), Server(changes=f"refuse:{call}") as running:
                with running.innocent(), running.connect(POST) as client:
                    self.assertTrue(client.recv(1))
                self.assertEqual(running.errors(), "")

    def test_no_buffer_size_is_set(self) -> None:
        """It would switch the system's own tuning off, which far clients need."""
        with Server(changes="tell_options") as running:
            self.assertEqual(running.get("/test.jpg").status, 200)
            told = " ".join(running.log())
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            self.assertNotIn(f"option {int(option)} ", told)

    def test_accept(self) -> None:
        """Most errors mean that one client is gone, and nobody else."""
        names = "EPERM:EPROTO:ENETDOWN:EHOSTUNREACH:EINVAL:ECONNABORTED"
        with Server(changes=f"accept_fails:{names}") as running, running.innocent():
            for _ in range(12):
                running.check()

    def test_accept_without_room(self) -> None:
        """Some mean that others must go, who came first."""
        for name in ("EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"):
            with self.subTest(name), Server(changes=f"room_for:10:{name}") as running:
                with running.connect(HALF) as oldest, ExitStack() as stack:
                    running.check()
                    for _ in range(20):
                        stack.enter_context(running.connect(HALF))
                    running.check()
                    self.assertEqual(read_all(oldest), b"")
