"""Bugs, refused calls, leaks: what goes wrong for one costs nobody else anything."""

import re
import socket
import unittest
from contextlib import ExitStack, suppress

from tests.support import (
    GET,
    HALF,
    LONG,
    POST,
    PYPY,
    Server,
    allow,
    on_linux,
    read_all,
    read_answer,
    reset,
    status,
    until,
)

BUGS = [AssertionError, BlockingIOError, ConnectionResetError, KeyError, MemoryError]
BUGS += [OSError, RecursionError, RuntimeError, StopIteration, ValueError]


class Bugs(unittest.TestCase):
    """Who meets one is told so, the operator sees it, and the next one is served."""

    def test_in_a_page(self) -> None:
        """Whatever it raises, it gets 500, and its content says so."""
        with Server(changes="pages") as running:
            for bug in BUGS:
                with self.subTest(bug), running.innocent():
                    answer = running.get(f"/bug?{bug.__name__}")
                    self.assertEqual(answer.status, 500)
                    self.assertRegex(answer.content, rb"\A500 [ -~]+: [ -~]+\.\n\Z")
            head = read_answer(running.ask(b"HEAD /bug?KeyError HTTP/1.0\r\n\r\n"))
            self.assertEqual((head.status, head.content), (500, b""))
            shown = re.findall(r"^(\w+): '?a bug'?$", running.errors(), re.MULTILINE)
        self.assertEqual(shown, [bug.__name__ for bug in (*BUGS, KeyError)])

    def test_in_the_server(self) -> None:
        """It doesn't matter in which part of a conversation it is."""
        for place in ("parse", "log"):
            for name in ("KeyError", "MemoryError"):
                with self.subTest(place=place, name=name):
                    with Server(changes=f"bug_in_{place}:{name}") as running:
                        with running.innocent():
                            self.assertEqual(running.get("/bug").status, 500)
                        self.assertIn(f"{name}: ", running.errors())

    def test_before_anything_is_known(self) -> None:
        """Then the connection is closed, and the others live."""
        with Server(changes="bug_in_recv:KeyError") as running, running.innocent():
            with suppress(ConnectionError):
                self.assertEqual(running.ask(b"GET /bug HTTP/1.0\r\n\r\n"), b"")
            until(lambda: "KeyError: 'a bug'" in running.errors())

    def test_the_end_in_a_page(self) -> None:
        """Who calls sys.exit means it."""
        with Server(changes="pages") as running, running.connect(HALF):
            with running.connect(b"GET /bug?SystemExit HTTP/1.0\r\n\r\n"):
                self.assertEqual(running.process.wait(LONG), 1)
            self.assertEqual(running.errors(), "a bug\n")

    def test_clients_that_crash(self) -> None:
        """They are no bugs: no traceback, no 500, and nothing stays open."""
        large = b"GET /size?8000000 HTTP/1.0\r\n\r\n"
        with Server(changes="pages") as running:
            before = running.get("/descriptor").content
            with running.innocent():
                clients = [running.connect(HALF) for _ in range(50)]
                clients += [running.connect(each, 4096) for each in (large, POST) * 5]
                running.ask()
                for client in clients:
                    reset(client)
                running.ask()
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
                try:
                    client = running.connect(GET[:-2] + b"A: " + b"a" * 60_000)
                except OSError:
                    continue
                stack.enter_context(client)
            stack.close()
            running.check()
            self.assertIsNone(running.process.poll())

    @unittest.skipIf(PYPY, "tracemalloc is CPython's")
    def test_nothing_is_kept_for_long(self) -> None:
        """Neither heads nor responses nor dates."""
        with Server(changes="pages") as running:
            used = []
            for number in range(1000, 1300):
                request = f"GET /field?{number} HTTP/1.0\r\nA: {number * 'a'}\r\n\r\n"
                self.assertEqual(read_answer(running.ask(request.encode())).status, 203)
                if number % 100 == 99:
                    running.get("/size?50000000")
                    used.append(int(running.get("/memory").content))
        self.assertLess(used[-1], used[1] + 20_000, used)


class RefusedCalls(unittest.TestCase):
    """What the system refuses."""

    def test_options(self) -> None:
        """They only tune, so it serves without them."""
        with Server(changes="refuse:setsockopt") as running, running.innocent():
            self.assertEqual(running.get("/test.jpg").status, 200)

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
            with self.subTest(name), Server(changes=f"accept_fails:{name}") as running:
                with running.connect(HALF) as oldest:
                    for _ in range(4):
                        running.check()
                    self.assertEqual(read_all(oldest), b"")
