"""Waiting: whoever asks in time is answered, whoever else is there."""

import contextlib
import os
import pathlib
import re
import signal
import socket
import statistics
import threading
import time
import unittest
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, Callable

from tests.support import (
    GET,
    HALF,
    LONG,
    POST,
    REST,
    Server,
    allow,
    on_linux,
    on_posix,
    read_all,
    read_answer,
    reset,
    status,
)

LARGE = b"GET /size?8000000 HTTP/1.0\r\n\r\n"
STALLED = {  # what each sends, and what it goes on to send each 50 ms
    "silent": (b"", b""),
    "in mid-head": (HALF, b""),
    "dripping its head": (GET[:-2] + b"A: ", b"a"),
    "not reading 8 MB": (LARGE, b""),
    "announcing a body that never comes": (POST, b""),
    "dripping its body": (POST, b"a"),
}
Drips = tuple[bytes, bytes, bytes]
LATE, NOT_ALLOWED, NOTHING = rb".{9}408 .*\.\n", rb".{9}405 .*\.\n", b""
DRIPS: list[Drips] = [  # what is sent, and goes on to be sent; a pattern for the answer
    (HALF, b"a", LATE),
    (GET[:-2], b"A: b\r\n", LATE),
    (b"", b"\r\n", NOTHING),
    (POST, b"a", NOT_ALLOWED),
    (HALF, b"", LATE),
    (b"HEAD /", b"", rb".{9}408 .*\r\n\r\n"),
    (b"", b"", NOTHING),
]
SOMAXCONN = pathlib.Path("/proc/sys/net/core/somaxconn")
QUEUE = 60  # connections that any system keeps for a server that stands still
if SOMAXCONN.exists() and int(SOMAXCONN.read_text()) > 1000:
    QUEUE = 300


@contextlib.contextmanager
def crowd(running: Server, size: int, *kinds: str) -> Iterator[list[socket.socket]]:
    """Give so many clients that are stalled, of each of these kinds in turn."""
    with ExitStack() as stack:
        each = [STALLED[kinds[number % len(kinds)]] for number in range(size)]
        clients = [stack.enter_context(running.connect(sent, 4096)) for sent, _ in each]
        over = threading.Event()

        def go_on() -> None:
            while not over.wait(0.05):
                for client, (_, drip) in zip(clients, each):
                    with contextlib.suppress(OSError):
                        client.send(drip)

        if any(drip for _, drip in each):
            stack.enter_context(ThreadPoolExecutor(1)).submit(go_on)
            stack.callback(over.set)
        yield clients


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


def drip(running: Server, row: Drips, pause: float) -> tuple[bytes, float]:
    """Send pieces until it is over; return what came, and the seconds."""
    begun, piece, _ = row
    received, began = b"", time.monotonic()
    with running.connect(begun) as client, contextlib.suppress(OSError):
        client.setblocking(False)
        while time.monotonic() < began + LONG:
            client.sendall(piece)
            time.sleep(pause)
            with contextlib.suppress(BlockingIOError):
                received += client.recv(8192)
                if begun != POST:  # which is answered at once, and then read on
                    break
    return received, time.monotonic() - began


def drip_slower(row: Drips) -> list[tuple[bytes, float]]:
    """Drip faster and slower, alone on a server."""
    with Server(changes="patience:0.5") as running:
        return [drip(running, row, pause) for pause in (0.01, 0.1, 0.17)]


def take_ten_seconds() -> tuple[list[tuple[bytes, float]], float]:
    """Drip, and see how long others wait for the page."""
    with Server() as running, ThreadPoolExecutor(len(DRIPS)) as pool:
        dripped = [pool.submit(drip, running, row, 0.1) for row in DRIPS]
        waited = []
        while not all(future.done() for future in dripped):
            waited.append(running.check())
            time.sleep(0.1)
        return [future.result() for future in dripped], statistics.median(waited)


def complete_later(change: str, stand_still: Callable[[Server], None]) -> list[int]:
    """Complete heads while the server stands still; return how they are answered."""
    long_rest = b"%bA: %b\r\n\r\n" % (REST[:-2], b"a" * 12_000)
    with Server(changes=f"pages patience:2 {change}") as running:
        with crowd(running, 20, "in mid-head") as clients:
            running.ask()
            with ThreadPoolExecutor(1) as pool:
                standing = pool.submit(stand_still, running)
                time.sleep(0.5)
                for number, client in enumerate(clients):
                    client.sendall(long_rest if number % 2 else REST)
                standing.result()
            return statuses(clients)


def sleep(running: Server) -> None:
    """Ask for a page that takes long."""
    running.get("/sleep?2.5")


def fill(running: Server) -> None:
    """Let nobody read the log for a while."""
    running.get("/fill?2.5")


def stop(running: Server) -> None:
    """Let the server stand still for a while."""
    with running.standing_still():
        time.sleep(2.5)


class OneAmongMany(unittest.TestCase):
    """An honest client, and who is there beside it."""

    def at_once(self, running: Server) -> None:
        """Assert that the page comes at once, as far as a busy machine lets it."""
        self.assertLess(min(running.check() for _ in range(5)), 1.0)

    def test_beside_stalled_clients(self) -> None:
        """Nobody waits for them."""
        allow(1000)
        crowds = [(20, [kind]) for kind in STALLED]
        with Server(changes="pages") as running:
            for size, kinds in [*crowds, (400, list(STALLED))]:
                with self.subTest(size=size, kinds=kinds):
                    with crowd(running, size, *kinds):
                        self.at_once(running)

    def test_a_full_table(self) -> None:
        """Those who came first are closed, and whoever asks is served as before."""
        changes = {"limit:40": 90, "limit:256": 600, "few:60": 150}
        for change, size in {**changes, "few:60:MemoryError": 150}.items():
            with self.subTest(change):
                if os.name != "posix" and "limit" in change:
                    self.skipTest("Windows has no such limit")
                allow(size + 100)
                changed = f"{change} no_defer_accept pages"
                with Server(changes=changed) as running:
                    self.fill(running, size)
                    self.at_once(running)

    def fill(self, running: Server, size: int) -> None:
        """Let strangers come, and honest clients after them."""
        with crowd(running, 3, "not reading 8 MB") as takers:
            with crowd(running, size, "in mid-head") as strangers:
                with crowd(running, 4, "in mid-head") as honest:
                    for _ in range(10):
                        self.assertEqual(running.get("/opened").status, 203)
                    self.assertEqual(statuses(honest, REST), [200] * 4)
                for client in [each for each in strangers if is_open(each)][:10]:
                    client.sendall(b"a")  # which makes nobody younger
                running.ask()
                with crowd(running, 10, "in mid-head"):
                    running.ask()
                    still_open = [is_open(client) for client in strangers]
            self.assertEqual(still_open, sorted(still_open))
            self.assertEqual({*still_open}, {False, True})
            if os.name == "posix":  # Windows has taken all 8 MB at once
                for client in takers:
                    self.assertLess(len(read_all(client)), 8_000_000)
        with crowd(running, 16, "in mid-head") as later:
            self.assertEqual(statuses(later, REST), [200] * 16)

    @on_linux
    def test_what_a_full_table_costs(self) -> None:
        """A stranger more costs little, and pages still have descriptors."""
        allow(2600)
        spent = []
        changes = "pages no_defer_accept limit:1024"
        with Server(changes=changes) as running, ExitStack() as stack:
            for number in (900, 300, 900):
                before = float(running.get("/computed").content)
                stack.enter_context(crowd(running, number, "in mid-head"))
                spent.append(float(running.get("/computed").content) - before)
            for _ in range(50):
                self.assertEqual(running.get("/opened").status, 203)
            self.at_once(running)
        self.assertLess(spent[2], 5 * spent[0])

    @on_posix
    def test_over_1100_inherited_descriptors(self) -> None:
        """Some systems give sockets numbers that select can't hold."""
        allow(2000)
        with Server(changes="inherit:1100") as running, running.connect(HALF) as slow:
            self.at_once(running)
            slow.sendall(REST)
            self.assertEqual(status(slow), 200)

    @on_posix
    def test_no_descriptor_and_nobody_to_close(self) -> None:
        """Whoever comes waits until other programs give some back."""
        with Server(changes="no_descriptors") as running:
            time.sleep(0.4)
            self.at_once(running)

    def test_a_large_response_survives_what_is_still_sent(self) -> None:
        """The server reads on until the client closes."""
        with Server(changes="pages") as running:
            for size in (70_000, 150_000, 250_000, 8_000_000):
                request = f"GET /size?{size} HTTP/1.0\r\n\r\n".encode()
                with self.subTest(size), running.connect(request, 4096) as client:
                    first = client.recv(1)
                    client.sendall(b"more")
                    answer = read_answer(first + read_all(client))
                    self.assertEqual(len(answer.content), size)

    def test_taking_turns(self) -> None:
        """Neither a body nor newcomers without end keep the server from others."""
        for change in ("endless_bodies", "endless_newcomers"):
            with (
                self.subTest(change),
                Server(changes=f"patience:1 {change}") as running,
            ):
                with running.innocent(), running.connect(POST):
                    self.at_once(running)
                _, seconds = drip(running, (POST, b"a", NOT_ALLOWED), 0.1)
                self.assertLess(seconds, LONG / 2)

    def test_spare_connections(self) -> None:
        """Browsers open some, use a few, and close the others without a word."""
        with Server() as running, ExitStack() as stack:
            spare = [stack.enter_context(running.connect()) for _ in range(6)]
            self.at_once(running)
            for client in spare[:3]:
                client.sendall(GET)
            self.assertEqual(statuses(spare[:3]), [200] * 3)
            for client in spare[3:]:
                client.shutdown(socket.SHUT_WR)
                self.assertEqual(read_all(client), b"")
            self.assertEqual(len(running.log()), 8)

    @on_posix
    def test_clients_that_are_reset_in_the_queue(self) -> None:
        """Nobody else notices."""
        with Server() as running, running.innocent():
            with running.standing_still():
                for sent in (b"", HALF, GET, POST) * (QUEUE // 10):
                    reset(running.connect(sent))
            running.check()
            self.assertEqual(running.errors(), "")

    def test_an_idle_server_computes_nothing(self) -> None:
        """It waits, whoever is set aside."""
        with Server(changes="pages") as running:
            kinds = [kind for kind, (_, drip) in STALLED.items() if not drip]
            with crowd(running, 8, *kinds) as clients:
                running.check()
                for client in clients:
                    client.sendall(b"more")
                before = float(running.get("/computed").content)
                time.sleep(1.0)
                spent = float(running.get("/computed").content) - before
        self.assertLess(spent, 0.15)


class Deadlines(unittest.TestCase):
    """What each has of its own: ten seconds for a head, a minute for each piece."""

    pool: ThreadPoolExecutor
    late: Any
    drips: Any
    real: Any

    @classmethod
    def setUpClass(cls) -> None:
        """Begin all that takes long at the same time."""
        rows = [("", sleep), ("no_defer_accept", sleep)]
        if os.name == "posix":
            rows += [("", fill), ("", stop)]
        cls.pool = ThreadPoolExecutor(20)
        cls.late = {row: cls.pool.submit(complete_later, *row) for row in rows}
        cls.drips = {row: cls.pool.submit(drip_slower, row) for row in DRIPS[:4]}
        cls.real = cls.pool.submit(take_ten_seconds)

    @classmethod
    def tearDownClass(cls) -> None:
        """Wait for those that nobody has asked for."""
        cls.pool.shutdown()

    def test_however_it_stands_still(self) -> None:
        """Whose head comes in time is answered."""
        for row, future in self.late.items():
            with self.subTest(row):
                self.assertEqual(future.result(), [200] * 20)

    def test_drips(self) -> None:
        """Who sends a byte now and then gains no time."""
        for row, future in self.drips.items():
            for received, seconds in future.result():
                self.check(row, received, seconds, 0.4)

    def test_ten_seconds(self) -> None:
        """The real figures."""
        dripped, waited = self.real.result()
        for row, (received, seconds) in zip(DRIPS, dripped):
            self.check(row, received, seconds, 9.0)
        self.assertLess(waited, 1.0)

    def check(self, row: Drips, received: bytes, seconds: float, least: float) -> None:
        """Check what was answered to drips, and when it was over."""
        with self.subTest(row):
            self.assertTrue(re.fullmatch(row[2], received, re.S), received)
            self.assertGreater(seconds, least)
            self.assertLess(seconds, LONG / 2)

    def test_floods(self) -> None:
        """Who sends without end comes to an end, and takes neither time nor memory."""

        def flood(begun: bytes, more: bytes) -> float:
            began = time.monotonic()
            with running.connect(begun) as client, contextlib.suppress(OSError):
                while time.monotonic() < began + LONG:
                    client.sendall(more * (65536 // len(more)))
            return time.monotonic() - began

        floods = {GET[:-2]: b"A: b\r\n", b"GET /": b"a", b"": b"\r\n", POST: b"x"}
        changes = "patience:1 memory_limit:30 endless_bodies"
        with Server(changes=changes) as running:
            with ThreadPoolExecutor(len(floods)) as pool:
                futures = [pool.submit(flood, *each) for each in floods.items()]
                self.assertLess(min(running.check() for _ in range(20)), 1.0)
            seconds = [future.result() for future in futures]
            self.assertLess(max(seconds), LONG / 2)
            self.assertGreater(seconds[-1], 0.9)
            self.assertEqual(running.errors(), "")

    @on_posix
    def test_pieces_of_a_response(self) -> None:
        """Each has its own time: who pauses too long doesn't get the rest."""
        with Server(changes="pages patience:0.2:0.5") as running:
            with crowd(running, 2, "not reading 8 MB") as (steady, late):
                received = b""
                for _ in range(7):
                    time.sleep(0.3)
                    received += steady.recv(1 << 20)
                received += read_all(steady)
                self.assertEqual(len(read_answer(received).content), 8_000_000)
                with contextlib.suppress(ConnectionError):
                    self.assertLess(len(read_all(late)), 8_000_000)


@on_posix
class Stopping(unittest.TestCase):
    """SIGTERM and Ctrl-C: whoever has come is answered, then it ends with 0."""

    def ends(self, running: Server, seconds: float) -> None:
        """See that it ends this long after a signal, and not much later."""
        began = time.monotonic()
        self.assertEqual(running.process.wait(LONG), 0)
        self.assertEqual(running.errors(), "")
        self.assertGreater(time.monotonic() - began, seconds)
        self.assertLess(time.monotonic() - began, LONG / 2)

    def test_half_a_second(self) -> None:
        """Nobody who is slow makes it longer."""
        allow(1000)
        with Server(changes="pages") as running, crowd(running, 400, *STALLED):
            running.process.send_signal(signal.SIGTERM)
            self.ends(running, 0.4)

    def test_a_full_queue(self) -> None:
        """Here are two seconds, so that somebody can come late in them."""
        allow(QUEUE + 100)
        with Server(changes="patience:10:60:2") as running, ExitStack() as stack:
            asking = stack.enter_context(crowd(running, 10, "in mid-head"))
            running.ask()
            with running.standing_still():
                for client in asking:
                    client.sendall(REST)
                for _ in range(QUEUE):
                    asking.append(stack.enter_context(running.connect(GET)))
                running.process.send_signal(signal.SIGINT)
            time.sleep(0.5)
            asking.append(stack.enter_context(running.connect(GET)))
            self.assertEqual(statuses(asking), [200] * len(asking))
            self.ends(running, 0.5)

    def test_a_second_ctrl_c_ends_it_at_once(self) -> None:
        """Even if a page hangs."""
        with Server(changes="pages") as running:
            with running.connect(b"GET /sleep?60 HTTP/1.0\r\n\r\n"):
                time.sleep(0.3)
                running.process.send_signal(signal.SIGINT)
                time.sleep(0.3)
                self.assertIsNone(running.process.poll())
                self.assertEqual(running.stop(signal.SIGINT), -signal.SIGINT)
