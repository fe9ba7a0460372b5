"""Waiting: whoever asks in time is answered, whoever else is there."""

import os
import re
import select
import signal
import socket
import time
import unittest
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from itertools import cycle, islice
from typing import Any, Callable

from tests.support import (
    GET,
    HALF,
    LARGE,
    LONG,
    POST,
    REST,
    Server,
    allow,
    on_linux,
    on_posix,
    read_all,
    read_answer,
    status,
    until,
)

QUEUE = 60  # connections that any system keeps for a server that stands still
STALLED = (b"", HALF, POST, LARGE)  # what clients send that send and read no more
Drip = tuple[bytes, bytes, bytes]
Dripped = tuple[bytes, float]  # what came, and the seconds
LATE, NOT_ALLOWED, NOTHING = rb".{9}408 .*\.\n", rb".{9}405 .*\.\n", b""
DRIPS: list[Drip] = [  # what is sent, and goes on to be sent; a pattern for the answer
    (HALF, b"a", LATE),
    (GET[:-2], b"A: b\r\n" * 60, LATE),
    (b"", b"\r\n", NOTHING),
    (POST, b"a", NOT_ALLOWED),
    (HALF, b"", LATE),
    (b"HEAD /", b"", rb".{9}408 .*\r\n\r\n"),
    (b"", b"", NOTHING),
]
FLOODS: list[Drip] = [
    (GET[:-2], b"A: b\r\n" * 9999, rb".{9}431 .*\.\n"),
    (b"GET /", b"a" * 9999, rb".{9}414 .*\.\n"),
    (b"", b"\r\n" * 9999, NOTHING),
    (POST, b"a" * 999, NOT_ALLOWED),
]


@contextmanager
def crowd(running: Server, size: int, *kinds: bytes) -> Iterator[list[socket.socket]]:
    """Give so many clients that have sent each of these in turn, and read nothing."""
    with ExitStack() as stack:
        each = (running.connect(sent, 4096) for sent in islice(cycle(kinds), size))
        yield [stack.enter_context(client) for client in each]


def is_open(client: socket.socket) -> bool:
    """Return whether the server hasn't closed this connection."""
    client.setblocking(False)
    try:
        return bool(client.recv(1))
    except BlockingIOError:
        return True
    except OSError:
        return False


def statuses(clients: list[socket.socket], sent: bytes = b"") -> list[int]:
    """Send this from each, and return what each is answered."""
    for client in clients:
        client.sendall(sent)
    return [status(client) for client in clients]


def drip(running: Server, row: Drip, pause: float) -> Dripped:
    """Send pieces until it is over; return what came, and the seconds."""
    begun, piece, _ = row
    received, began = b"", time.monotonic()
    with running.connect(begun) as client, suppress(OSError):
        while time.monotonic() < began + LONG:
            client.sendall(piece)
            time.sleep(pause)
            if select.select([client], [], [], 0)[0]:
                received += client.recv(8192)
                if begun != POST:  # which is answered at once, and then read on
                    break
    return received, time.monotonic() - began


def drip_alone() -> list[Dripped]:
    """Drip on a server that is slow to read, and has nobody else."""
    with Server(changes="patience:1 small_reads:4:0.002") as running:
        return [drip(running, row, 0.1) for row in DRIPS]


def take_ten_seconds() -> list[Dripped]:
    """Drip at the same time on a server with the real figures, which is kept busy."""
    with Server() as running, ThreadPoolExecutor(len(DRIPS)) as pool:
        dripped = [pool.submit(drip, running, row, 0.1) for row in DRIPS]
        while not all(each.done() for each in dripped):
            running.check()
            time.sleep(0.1)
        return [each.result() for each in dripped]


def read_late() -> int:
    """Read nothing for what seems half a minute; return how much comes then."""
    with Server(changes="pages hurry:8") as running, crowd(running, 1, LARGE) as [late]:
        time.sleep(4)
        return len(read_answer(read_all(late)).content)


def complete_later(stand_still: Callable[[Server], Any]) -> list[int]:
    """Complete heads while the server stands still; return how they are answered."""
    long_rest = b"%bA: %b\r\n\r\n" % (REST[:-2], b"a" * 12_000)
    with Server(changes="pages patience:2") as running:
        with crowd(running, 20, HALF) as clients:
            running.ask()
            with stand_still(running):
                time.sleep(0.5)
                for client, rest in zip(clients, cycle((REST, long_rest))):
                    client.sendall(rest)
                time.sleep(2)
            return statuses(clients)


def sleep(running: Server) -> AbstractContextManager[Any]:
    """Ask for a page that takes long."""
    return running.connect(b"GET /sleep?2.5 HTTP/1.0\r\n\r\n")


def computed(running: Server) -> float:
    """Return how many seconds the server has computed."""
    return float(running.get("/computed").content)


def at_once(running: Server) -> None:
    """See that the page comes at once, as far as a busy machine lets it."""
    if min(running.check() for _ in range(5)) > 1.0:
        raise AssertionError("the page has to wait for others")


class Deadlines(unittest.TestCase):
    """Ten seconds for a head, a minute for each piece, half a second after a signal."""

    late: dict[Any, Future[list[int]]]
    alone: Future[list[Dripped]]
    real: Future[list[Dripped]]
    large: Future[int]

    @classmethod
    def setUpClass(cls) -> None:
        """Begin all that takes long at the same time."""
        pool = ThreadPoolExecutor(5)
        cls.addClassCleanup(pool.shutdown)
        ways = [sleep, Server.standing_still] if os.name == "posix" else [sleep]
        cls.late = {way: pool.submit(complete_later, way) for way in ways}
        cls.alone = pool.submit(drip_alone)
        cls.real = pool.submit(take_ten_seconds)
        cls.large = pool.submit(read_late)

    def check(self, rows: list[Drip], ended: list[Dripped], least: float) -> None:
        """Check what was answered to drips, and when it was over."""
        for row, (received, seconds) in zip(rows, ended):
            with self.subTest(row):
                self.assertTrue(re.fullmatch(row[2], received, re.S), received)
                self.assertGreater(seconds, least)
                self.assertLess(seconds, LONG / 2)

    def test_floods(self) -> None:
        """Who sends without end comes to an end, and takes neither time nor memory."""
        changes = "patience:1 memory_limit:30 endless_bodies"
        with Server(changes=changes) as running, ThreadPoolExecutor() as pool:
            floods = [pool.submit(drip, running, row, 0.01) for row in FLOODS]
            with running.innocent():
                at_once(running)
            self.check(FLOODS, [flood.result() for flood in floods], 0)
            self.assertEqual(running.errors(), "")

    def test_taking_turns(self) -> None:
        """Neither long heads and pages nor endless bodies and newcomers take all."""
        rows = {
            "small_reads:8:0.01": GET[:-2] + b"A: " + b"a" * 30_000,
            "pages small_sends:2000:0.01": LARGE,
            "endless_bodies": POST,
            "endless_newcomers": POST,
        }
        for change, sent in rows.items():
            with self.subTest(change), Server(changes=change) as running:
                with running.innocent(), running.connect(sent):
                    self.assertLess(running.check(), 5.0)

    @on_posix
    def test_pieces_of_a_response(self) -> None:
        """Each has its own time: who pauses too long doesn't get the rest."""
        with Server(changes="pages patience:60:1") as running:
            free = running.get("/descriptor").content
            with crowd(running, 2, LARGE) as (steady, late):
                received = b""
                for _ in range(5):
                    time.sleep(0.5)
                    received += steady.recv(1 << 20)
                received += read_all(steady)
                self.assertEqual(len(read_answer(received).content), 8_000_000)
                steady.close()
                until(lambda: running.get("/descriptor").content == free)
                with suppress(ConnectionError):
                    self.assertLess(len(read_all(late)), 8_000_000)

    @on_posix
    def test_sending_after_the_request(self) -> None:
        """A short response, too, comes whole if it had to wait."""
        with Server(changes="pages small_buffers") as running:
            with crowd(running, 1, b"GET /size?30000 HTTP/1.0\r\n\r\n") as [client]:
                time.sleep(0.3)
                client.sendall(GET)
                time.sleep(0.3)
                self.assertEqual(len(read_answer(read_all(client)).content), 30_000)

    def ends(self, running: Server, seconds: float) -> None:
        """See that it ends this long after a signal, and not much later."""
        began = time.monotonic()
        self.assertEqual(running.process.wait(LONG), 0)
        self.assertEqual(running.errors(), "")
        self.assertGreater(time.monotonic() - began, seconds)
        self.assertLess(time.monotonic() - began, LONG / 4)

    @on_posix
    def test_stopping(self) -> None:
        """Nobody makes it longer than half a second, slow or new."""
        allow(1000)
        changes = "pages endless_bodies endless_newcomers"
        with Server(changes=changes) as running, crowd(running, 400, *STALLED):
            running.process.send_signal(signal.SIGTERM)
            self.ends(running, 0.4)

    @on_posix
    def test_stopping_beside_a_full_queue(self) -> None:
        """Here are two seconds, so that somebody can come late in them."""
        with Server(changes="patience:10:60:2") as running, ExitStack() as stack:
            asking = stack.enter_context(crowd(running, 10, HALF))
            running.ask()
            with running.standing_still():
                for client in asking:
                    client.sendall(REST)
                asking += stack.enter_context(crowd(running, QUEUE, GET))
                running.process.send_signal(signal.SIGINT)
            time.sleep(0.5)
            asking += stack.enter_context(crowd(running, 1, GET))
            self.assertEqual(statuses(asking), [200] * len(asking))
            self.ends(running, 0.5)

    @on_posix
    def test_stopping_at_once(self) -> None:
        """A second Ctrl-C ends it even if a page hangs."""
        with Server(changes="pages") as running:
            with running.connect(b"GET /sleep?60 HTTP/1.0\r\n\r\n"):
                for _ in range(2):
                    time.sleep(0.3)
                    self.assertIsNone(running.process.poll())
                    running.process.send_signal(signal.SIGINT)
                self.assertEqual(running.process.wait(LONG), -signal.SIGINT)

    def test_while_it_stands_still(self) -> None:
        """Whose head comes in time is answered."""
        for way, future in self.late.items():
            with self.subTest(way):
                self.assertEqual(future.result(), [200] * 20)

    def test_who_drips(self) -> None:
        """A byte now and then gains no time, neither with real figures nor alone."""
        self.check(DRIPS, self.alone.result(), 0.9)
        self.check(DRIPS, self.real.result(), 9.0)

    def test_who_reads_late(self) -> None:
        """The real figure, on a clock that is fast."""
        self.assertEqual(self.large.result(), 8_000_000)


class OneAmongMany(unittest.TestCase):
    """An honest client, and who is there beside it."""

    def test_beside_stalled_clients(self) -> None:
        """Nobody waits for them."""
        allow(1000)
        with Server(changes="pages") as running:
            for kinds in [*([kind] for kind in STALLED), STALLED]:
                with self.subTest(kinds), crowd(running, 100 * len(kinds), *kinds):
                    at_once(running)

    def test_a_full_table(self) -> None:
        """Those who came first are closed, and whoever asks is served as before."""
        for change in ("limit:40", "few:60", "few:60:MemoryError"):
            with self.subTest(change):
                if os.name != "posix" and "limit" in change:
                    self.skipTest("Windows has no such limit")
                changes = f"{change} no_defer_accept pages"
                with Server(changes=changes) as running:
                    self.fill(running)
                    at_once(running)

    def fill(self, running: Server) -> None:
        """Let strangers come, and honest clients after them."""
        with crowd(running, 3, LARGE) as takers:
            with crowd(running, 120, HALF) as strangers:
                with crowd(running, 20, HALF) as honest:
                    for _ in range(10):
                        self.assertEqual(running.get("/descriptor").status, 203)
                    self.assertEqual(statuses(honest, REST), [200] * 20)
                for client in [each for each in strangers if is_open(each)][:10]:
                    client.sendall(b"a")  # which makes nobody younger
                running.ask()
                with crowd(running, 10, HALF):
                    running.ask()
                    still_open = [is_open(client) for client in strangers]
            self.assertEqual(still_open, sorted(still_open))
            self.assertEqual({*still_open}, {False, True})
            if os.name == "posix":  # Windows has taken all 8 MB at once
                for client in takers:
                    self.assertLess(len(read_all(client)), 8_000_000)
        with crowd(running, 16, HALF) as later:
            self.assertEqual(statuses(later, REST), [200] * 16)

    @on_linux
    def test_what_a_full_table_costs(self) -> None:
        """A stranger more costs little."""
        allow(2600)
        spent = []
        changes = "pages no_defer_accept limit:1024"
        with Server(changes=changes) as running, ExitStack() as stack:
            for number in (900, 300, 900):
                before = computed(running)
                stack.enter_context(crowd(running, number, HALF))
                spent.append(computed(running) - before)
            at_once(running)
        self.assertLess(spent[2], 5 * spent[0])

    @on_posix
    def test_over_1100_inherited_descriptors(self) -> None:
        """Some systems give sockets numbers that select can't hold."""
        allow(2000)
        with Server(changes="inherit:1100") as running, running.innocent():
            at_once(running)

    @on_posix
    def test_no_descriptor_and_nobody_to_close(self) -> None:
        """Whoever comes waits until other programs give some back, and so does it."""
        with Server(changes="no_descriptors pages") as running:
            before = computed(running)
            time.sleep(0.3)
            at_once(running)
            spent = computed(running) - before
        self.assertLess(spent, 0.2)

    def test_an_idle_server_computes_nothing(self) -> None:
        """It waits, whoever is set aside."""
        with Server(changes="pages") as running:
            with crowd(running, 8, *STALLED) as clients:
                running.check()
                for client in clients:
                    client.sendall(b"more")
                before = computed(running)
                time.sleep(1.0)
                spent = computed(running) - before
        self.assertLess(spent, 0.15)
