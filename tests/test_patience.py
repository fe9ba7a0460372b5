"""Patience: no client, and no crowd of them, keeps an honest one waiting for long."""

import concurrent.futures
import contextlib
import pathlib
import shutil
import socket
import struct
import tempfile
import threading
import time
import unittest
from collections.abc import Iterator
from typing import Any, Callable
from unittest import mock

import server
from tests.support import GET, ROOT, Server, parse, read_all

BOUNDS = {1: 0.3, 20: 0.5, 400: 1.0}  # stalled clients: seconds for the honest one beside them
TRIES = 4  # a busy machine can only make things slower: one try within the bound is proof
LARGE = 8_000_000  # bytes, of a picture that no kernel buffers whole
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"


@contextlib.contextmanager
def crowd(
    running: Server, size: int, sent: bytes, drip: bytes = b"", buffer: int = 4096
) -> Iterator[None]:
    """Keep size clients connected that send sent, and then a byte of drip each 50 ms."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(running.connect(sent, buffer)) for _ in range(size)]
        over = threading.Event()

        def dripping() -> None:
            while drip and not over.wait(0.05):
                for client in clients:
                    with contextlib.suppress(OSError):
                        client.send(drip)

        thread = threading.Thread(target=dripping)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


@contextlib.contextmanager
def large_picture() -> Iterator[pathlib.Path]:
    """Give a folder with server.py, the page, and a picture of LARGE bytes."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for file in ("server.py", "index.html"):
            shutil.copy(ROOT / file, folder)
        (folder / "test.jpg").write_bytes(bytes(range(250)) * (LARGE // 250))
        yield folder


def best_of(bound: float, attempt: Callable[[], float]) -> float:
    """Return the least time, in seconds, that one of a few attempts takes: within bound, mostly."""
    took: list[float] = []
    while not took or (min(took) >= bound and len(took) < TRIES):
        took.append(attempt())
    return min(took)


class StalledClients(unittest.TestCase):
    """An honest client beside stalled ones of each kind, in each number."""

    KINDS = {
        "silent": (b"", b""),
        "one byte": (b"G", b""),
        "mid-head": (GET[:-2], b""),
        "a long way into its head": (GET[:-2] + b"a:b\r\n" * 10000, b""),
        "dripping its head": (GET[:-2] + b"A: ", b"a"),
        "not reading": (b"GET /test.jpg HTTP/1.0\r\n\r\n", b""),
        "announcing a body": (POST, b""),
        "dripping after an error": (b"GET\r\n\r\n", b"a"),
        "dripping its body": (POST, b"a"),
    }

    ONLY = {  # these differ from others by little, and take time
        "a long way into its head": 400,
        "dripping after an error": 20,
        "dripping its body": 20,
    }

    def test_each_kind(self) -> None:
        halves = [dict(list(self.KINDS.items())[half::2]) for half in (0, 1)]
        parts = [(size, kinds) for size in BOUNDS for kinds in halves]
        with concurrent.futures.ThreadPoolExecutor(len(parts)) as pool:
            for size, future in [(part[0], pool.submit(self.kinds, *part)) for part in parts]:
                with self.subTest(size=size):
                    future.result()

    def kinds(self, size: int, kinds: dict[str, tuple[bytes, bytes]]) -> None:
        """Try each of these kinds of stalled clients in a crowd of this size."""
        with Server() as running:
            for kind, (sent, drip) in kinds.items():

                def attempt(sent: bytes = sent, drip: bytes = drip) -> float:
                    with crowd(running, size, sent, drip):
                        return running.time_get()

                if size == self.ONLY.get(kind, size):
                    self.assertLess(best_of(BOUNDS[size], attempt), BOUNDS[size], kind)

    def test_not_reading_a_large_picture(self) -> None:
        crowds = ((1, 4096), (1, 0), (20, 0), (400, 0))  # size, receive buffer; 0: the system's
        with large_picture() as folder, concurrent.futures.ThreadPoolExecutor(4) as pool:
            for each in [(*each, pool.submit(self.not_reading, folder, *each)) for each in crowds]:
                with self.subTest(size=each[0], buffer=each[1]):
                    each[2].result()

    def not_reading(self, folder: pathlib.Path, size: int, buffer: int) -> None:
        """Try a crowd of this size that asks for the picture in folder and reads nothing of it."""
        with Server(folder=folder) as running:

            def attempt() -> float:
                with crowd(running, size, b"GET /test.jpg HTTP/1.0\r\n\r\n", buffer=buffer):
                    return running.time_get()

            bound = BOUNDS[size] if size < 20 else 1.0
            self.assertLess(best_of(bound, attempt), bound)

    def test_a_crowd_that_is_slow_but_not_stalled(self) -> None:
        begun = GET[:-2] + b"Content-Length: 9\r\n"
        with Server() as running, contextlib.ExitStack() as stack:

            def attempt() -> float:
                clients = [stack.enter_context(running.connect(begun)) for _ in range(400)]

                over = threading.Event()

                def complete() -> None:  # each after a few ms, much less than a grace
                    for client in clients:
                        if over.wait(0.009):
                            return
                        with contextlib.suppress(OSError):
                            client.sendall(b"\r\n")
                            client.recv(1 << 16)
                            time.sleep(0.009)
                            client.close()

                thread = threading.Thread(target=complete)
                thread.start()
                took = running.time_get()
                over.set()
                thread.join()
                for client in clients:
                    client.close()
                return took

            self.assertLess(best_of(1.0, attempt), 1.0)

    def test_a_flood_is_bounded_by_time(self) -> None:
        with Server() as running, running.connect(POST) as client:
            over = threading.Event()

            def flood() -> None:
                with contextlib.suppress(OSError):
                    while not over.is_set():
                        client.send(b"x" * 65536)

            thread = threading.Thread(target=flood)
            thread.start()
            try:
                self.assertLess(best_of(1.0, running.time_get), 1.0)
            finally:
                over.set()
                thread.join()

    def test_each_keeps_the_others_for_less_than_the_one_before(self) -> None:
        def attempt() -> float:
            ends = []
            with contextlib.ExitStack() as stack:
                clients = [stack.enter_context(running.connect()) for _ in range(4)]
                stack.enter_context(running.connect(GET))
                for client in clients:
                    self.assertEqual(client.recv(1), b"")  # closed without a word
                    ends.append(time.monotonic())
            return ends[3] - ends[0]

        with Server() as running:
            self.assertLess(best_of(0.2, attempt), 0.2)  # and not three graces


class Clock:
    """A time and a select of its own, for a Patience alone: nothing passes but what it waits."""

    def __init__(self, others_from: float = float("inf")) -> None:
        """Somebody else waits from others_from on, in seconds; the client is ready at ready."""
        self.now, self.others_from, self.ready, self.looks = 1.0, others_from, float("inf"), 0
        self.listener, self.client = mock.Mock(spec=socket.socket), mock.Mock(spec=socket.socket)

    def monotonic(self) -> float:
        """Return the time in seconds."""
        return self.now

    def select(self, readers: list[Any], writers: list[Any], _: Any, timeout: float) -> Any:
        """Let time pass until a socket is ready, or the timeout over."""
        if readers == [self.listener]:
            return readers if self.now >= self.others_from else [], [], []
        assert timeout >= 0
        self.looks += 1
        self.now = max(self.now, min(self.now + timeout, self.ready))
        return (readers, writers, []) if self.now >= self.ready else ([], [], [])

    def wait(self, patience: server.Patience, **options: Any) -> tuple[bool, float]:
        """Return what a wait for the client says, and how many seconds it took."""
        began = self.now
        return patience.wait(self.client, **options), self.now - began


class TheRule(unittest.TestCase):
    """Patience as a function of time, to the millisecond."""

    def start(self, others_from: float = float("inf")) -> tuple[Clock, server.Patience]:
        """Return a clock that the server now goes by, and a Patience at its first turn."""
        clock = Clock(others_from)
        for name in ("time", "select"):
            patch = mock.patch.object(server, name, clock)
            patch.start()
            self.addCleanup(patch.stop)
        patience = server.Patience(clock.listener)
        patience.next_turn()
        return clock, patience

    def test_alone(self) -> None:
        clock, patience = self.start()
        self.assertEqual(clock.wait(patience), (False, 10.0))
        self.assertLess(clock.looks, 1000)  # one each 20 ms
        patience.next_turn()
        clock.ready = clock.now + 9.9
        ready, took = clock.wait(patience)
        self.assertTrue(ready)
        self.assertAlmostEqual(took, 9.9)
        clock.ready += 0.2  # ten seconds in all, not for each wait
        ready, took = clock.wait(patience)
        self.assertFalse(ready)
        self.assertAlmostEqual(took, 0.1)

    def test_somebody_comes(self) -> None:
        clock, patience = self.start(others_from=3.001)
        ready, _ = clock.wait(patience)
        self.assertFalse(ready)
        self.assertGreaterEqual(clock.now, 3.1)
        self.assertLess(clock.now, 3.123)

    def test_one_grace_for_all(self) -> None:
        for to, grace in server.GRACE.items():
            clock, patience = self.start(others_from=0.0)
            took = [clock.wait(patience, to=to)[1]]
            for _ in range(399):
                patience.next_turn()
                took.append(clock.wait(patience, to=to)[1])
            self.assertAlmostEqual(took[0], grace)
            self.assertAlmostEqual(took[1], grace / 2, delta=0.001)
            self.assertAlmostEqual(took[2], grace / 4, delta=0.001)
            self.assertAlmostEqual(took[-1], 0.0002, delta=0.00001)  # never nothing
            self.assertLess(sum(took), 2 * grace + 0.1)

    def test_only_time_that_others_miss_is_charged(self) -> None:
        clock, patience = self.start(others_from=3.0)
        clock.ready = 2.9
        self.assertTrue(clock.wait(patience)[0])
        self.assertEqual(patience.grace, {"read": 0.1, "send": 0.1})
        clock.ready = 3.04
        self.assertTrue(clock.wait(patience)[0])
        self.assertEqual(patience.grace, {"read": 0.05, "send": 0.1})  # as of a grace, no more
        clock, patience = self.start(others_from=0.0)
        clock.ready = 1.04
        self.assertTrue(clock.wait(patience)[0])
        self.assertAlmostEqual(patience.grace["read"], 0.08)

    def test_it_mends(self) -> None:
        clock, patience = self.start(others_from=0.0)
        for to in ("read", "send"):
            clock.wait(patience, to=to)
            self.assertAlmostEqual(patience.grace[to], server.GRACE[to] / 2)
            patience.next_turn()
        for _ in range(20):
            patience.next_turn()
        self.assertAlmostEqual(patience.grace["read"], 0.05 + 22 * 0.0001)
        self.assertAlmostEqual(patience.grace["send"], 0.05 + 21 * 0.0001)
        for _ in range(800):
            patience.next_turn()
        self.assertEqual(patience.grace, server.GRACE)  # and no more than whole

    def test_it_is_whole_once_nobody_waits(self) -> None:
        for to in ("read", "send"):
            clock, patience = self.start(others_from=0.0)
            clock.wait(patience, to=to)
            self.assertNotEqual(patience.grace, server.GRACE)
            clock.others_from = float("inf")
            patience.next_turn()
            self.assertEqual(patience.grace, server.GRACE)

    def test_sending(self) -> None:
        clock, patience = self.start(others_from=0.0)
        ready, took = clock.wait(patience, to="send", extra=1.0)
        self.assertFalse(ready)
        self.assertAlmostEqual(took, 1.1)
        self.assertAlmostEqual(patience.grace["send"], 0.05)

    def test_whoever_reads_on_is_not_charged_but_whoever_leaves(self) -> None:
        clock, patience = self.start(others_from=0.0)
        clock.time = time.time  # type: ignore[attr-defined]
        clock.gmtime, clock.strftime = time.gmtime, time.strftime  # type: ignore[attr-defined]
        clock.client.recv.return_value = b"GET /test.jpg HTTP/1.0\r\n\r\n"
        clock.client.__enter__ = clock.client.__exit__ = mock.Mock(return_value=None)
        graces = []

        def send(_: bytes) -> int:
            graces.append(patience.grace["send"])
            if len(graces) == 10:
                raise ConnectionResetError
            clock.ready = clock.now + 0.09
            return 100  # bytes, of 45 kB

        clock.client.send = send
        server.converse(clock.client, "-", patience, False)
        self.assertEqual(graces[0], 0.1)
        for grace in graces[1:]:  # never less than after one wait, which the next send gives back
            self.assertAlmostEqual(grace, 0.1 - 0.09 / 2)
        self.assertAlmostEqual(patience.grace["send"], 0.1 - 0.09 / 2)  # and there was no next

    def test_time_for_a_reader_grows_with_its_slowness(self) -> None:
        client = mock.MagicMock(spec=socket.socket)
        client.recv.return_value = b"GET /test.jpg HTTP/1.0\r\n\r\n"
        client.send.return_value = 100  # bytes of 45 kB: it won't come to an end
        gaps, extras = [0.0, 0.03, 0.3, 0.1, 3.0, 0.0], []

        class Scripted(server.Patience):
            def wait(self, _: Any, to: str = "read", extra: float = 0.0) -> bool:
                assert to == "send"
                extras.append(round(extra, 6))
                self.now += gaps.pop(0)
                return bool(gaps)

        patience = Scripted(mock.Mock(spec=socket.socket))
        with mock.patch.object(server, "write") as write:
            server.converse(client, "-", patience, False)
        self.assertEqual(extras, [0.0, 0.0, 0.06, 0.5, 0.5, 0.5])
        head = server.dated(server.pic_content, 0)[0].index(b"\r\n\r\n") + 4
        (logged,) = [call.args[1] for call in write.call_args_list]
        self.assertRegex(logged, f" 200 {600 - head}\n$")  # what was sent of the picture
        client.shutdown.assert_not_called()

    def test_time_without_a_wait_is_charged_too(self) -> None:
        clock, patience = self.start(others_from=0.0)
        clock.ready = clock.now + 0.04
        clock.now = clock.ready + 0.01  # so long did others miss the server meanwhile
        self.assertEqual(clock.wait(patience), (True, 0.0))
        self.assertAlmostEqual(patience.grace["read"], 0.1 - 0.05 / 2)
        clock.now += 0.2
        clock.wait(patience)
        self.assertFalse(clock.wait(patience)[0])

    def test_stopping(self) -> None:
        clock, patience = self.start()
        patience.stop_at = clock.now + 0.8
        ready, took = clock.wait(patience)  # as if somebody else waited
        self.assertFalse(ready)
        self.assertAlmostEqual(took, 0.1)
        patience.next_turn()
        patience.stop_at = clock.now + 0.01
        self.assertAlmostEqual(clock.wait(patience)[1], 0.01, delta=0.02)
        patience.next_turn()
        self.assertEqual(clock.wait(patience), (False, 0.0))


class PatientWithOne(unittest.TestCase):
    """Whoever keeps nobody waiting has time. These take seconds, so they run side by side."""

    def test_side_by_side(self) -> None:
        checks = (
            self.a_slow_typist,
            self.the_grace_is_back_after_a_crowd,
            self.too_slow_a_head,
            self.the_end_of_a_slow_head_has_time_of_its_own,
            self.a_dripping_head_is_too_slow_too,
            self.a_reader_that_pauses_while_nobody_waits,
            self.a_pause_after_a_slow_head,
            self.a_reader_that_stops,
            self.a_reader_that_never_reads,
            self.a_reader_that_stops_while_another_waits,
            self.a_crowd_of_readers_that_stop,
            self.a_crowd_that_resets,
        )
        with concurrent.futures.ThreadPoolExecutor(len(checks)) as pool:
            for check, future in [(check, pool.submit(check)) for check in checks]:
                with self.subTest(check.__name__):
                    future.result()

    def a_slow_typist(self) -> None:
        with Server() as running, running.connect() as client:
            for part in (b"GET / HTTP/1.1\r\nHo", b"st: x\r\n\r\n"):
                time.sleep(1.2)  # much longer than any grace
                client.sendall(part)
            self.assertEqual(parse(read_all(client)).status, 200)

    def the_grace_is_back_after_a_crowd(self) -> None:
        with Server() as running:
            with crowd(running, 100, b"G"):
                running.time_get()
            for _ in range(10):  # one that needs half a grace, while somebody waits
                with running.connect(GET[:9]) as slow, running.connect(GET) as next_one:
                    time.sleep(0.04)
                    slow.sendall(GET[9:])
                    answers = [read_all(slow), read_all(next_one)]
                    if parse(answers[0]).status == 200:
                        break
            self.assertEqual([parse(answer).status for answer in answers], [200, 200])

    def a_pause_after_a_slow_head(self) -> None:
        with large_picture() as folder:
            with Server(code="server.PATIENCE = 1.5", folder=folder) as running:
                with running.connect(b"GET /test.jpg HTTP/1.0\r\n", 4096) as client:
                    time.sleep(1.0)
                    client.sendall(b"\r\n")
                    time.sleep(1.0)  # more than the head has left, less than what sending has
                    self.assertEqual(len(parse(read_all(client)).content), LARGE)

    def a_reader_that_stops(self) -> None:
        request = b"GET /test.jpg HTTP/1.0\r\n\r\n"
        with large_picture() as folder:
            with Server(code="server.PATIENCE = 1.1", folder=folder) as running:
                with running.connect(request, 4096) as client:
                    got = sum(len(client.recv(1 << 16)) for _ in range(300))
                    time.sleep(2.0)
                    with contextlib.suppress(ConnectionResetError):
                        got += len(read_all(client))
        self.assertLess(got, LARGE)

    def a_reader_that_never_reads(self) -> None:
        with large_picture() as folder:
            with Server(code="server.PATIENCE = 0.3", folder=folder) as running:
                with running.connect(b"GET /test.jpg HTTP/1.0\r\n\r\n", 4096) as client:
                    time.sleep(1.2)
                    got = 0
                    with contextlib.suppress(ConnectionResetError):
                        got = len(read_all(client))
                (logged,) = running.log()
        self.assertLess(got, LARGE)
        self.assertRegex(logged, '"GET /test.jpg HTTP/1.0" 200 [0-9]{4,6}$')  # which was sent

    def a_reader_that_stops_while_another_waits(self) -> None:
        with large_picture() as folder, Server(folder=folder) as running:

            def attempt() -> float:
                with running.connect(b"GET /test.jpg HTTP/1.0\r\n\r\n", 4096) as client:
                    for _ in range(60):
                        client.recv(1 << 16)
                    return running.time_get()

            self.assertLess(best_of(3, attempt), 3)  # about a fifth of a second, and not 10

    def a_crowd_of_readers_that_stop(self) -> None:
        request = b"GET /test.jpg HTTP/1.0\r\n\r\n"

        def read(clients: list[socket.socket], _over: threading.Event) -> None:  # some, in turn
            for client in clients:
                with contextlib.suppress(OSError):
                    for _ in range(60):
                        client.recv(1 << 16)

        with large_picture() as folder, Server(folder=folder) as running:

            def attempt() -> float:
                with contextlib.ExitStack() as stack:
                    clients = [running.connect(request, 4096) for _ in range(40)]
                    for client in clients:
                        stack.enter_context(client)
                    return self.time_beside(running, lambda over: read(clients, over))

            self.assertLess(best_of(3, attempt), 3)  # they share that fifth: no 40 tenths

    def a_crowd_that_resets(self) -> None:
        request, no_time = b"GET /test.jpg HTTP/1.0\r\n\r\n", struct.pack("ii", 1, 0)

        def reset(clients: list[socket.socket], over: threading.Event) -> None:
            for client in clients:
                with contextlib.suppress(OSError):
                    client.recv(1)
                    over.wait(0.15)  # a while after its turn has come
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_time)
                client.close()

        with large_picture() as folder, Server(folder=folder) as running:

            def attempt() -> float:
                clients = [running.connect(request, 4096) for _ in range(30)]
                return self.time_beside(running, lambda over: reset(clients, over))

            self.assertLess(best_of(3, attempt), 3)  # they share a grace, and don't take 4.5

    def time_beside(self, running: Server, others: Callable[[threading.Event], None]) -> float:
        """Return the seconds that an honest client waits while others act until it is over."""
        over = threading.Event()
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            done = pool.submit(others, over)
            took = running.time_get()
            over.set()
            done.result()
        return took

    def test_how_long_it_is(self) -> None:
        figures = (server.PATIENCE, server.GRACE, server.SEND_BUFFER)
        self.assertEqual(figures, (10.0, {"read": 0.1, "send": 0.1}, 65536))

    def too_slow_a_head(self) -> None:
        with Server(code="server.PATIENCE = 0.3") as running:
            began = time.monotonic()
            late = parse(running.ask(GET[:-2]))
            self.assertEqual(late.status, 408)
            self.assertGreater(time.monotonic() - began, 0.25)
            self.assertEqual(running.ask(b""), b"")  # silent until the end: closed without a word
            self.assertEqual(running.ask(b"\r\n"), b"")
            self.assertEqual(len(running.log()), 1)
            self.assertIn('"GET / HTTP/1.1" 408', running.log()[0])

    def the_end_of_a_slow_head_has_time_of_its_own(self) -> None:
        with Server(code="server.PATIENCE = 0.5") as running, running.connect(b"GET") as client:
            self.assertEqual(parse(read_all(client)).status, 408)  # and there it reads on
            for _ in range(3):  # a closed connection would be reset by the first
                client.sendall(b"more")
                time.sleep(0.03)

    def a_dripping_head_is_too_slow_too(self) -> None:
        with Server(code="server.PATIENCE = 0.3") as running:
            with running.connect(GET[:-2] + b"A: ") as client:
                began = time.monotonic()
                with contextlib.suppress(OSError):  # until it has closed
                    while time.monotonic() < began + 5:
                        client.sendall(b"a")
                        time.sleep(0.02)
            self.assertLess(time.monotonic() - began, 3)

    def a_reader_that_pauses_while_nobody_waits(self) -> None:
        with large_picture() as folder, Server(folder=folder) as running:
            with running.connect(b"GET /test.jpg HTTP/1.0\r\n\r\n", 4096) as slow:
                time.sleep(1.0)  # longer than any grace
                self.assertEqual(len(parse(read_all(slow)).content), LARGE)

    def test_the_shipped_responses_fit_the_send_buffer(self) -> None:
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, server.SEND_BUFFER)
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            with socket.create_connection(listener.getsockname()):
                client, _ = listener.accept()
                with client:
                    client.setblocking(False)
                    sent = client.send(server.dated(server.pic_content, 0)[0])
        self.assertGreater(sent, len(server.pic_content))


class SteadyReader(unittest.TestCase):
    """Whoever reads a large picture on and on gets it, whoever waits."""

    def test_a_steady_reader_gets_every_byte(self) -> None:
        request = b"GET /test.jpg HTTP/1.0\r\n\r\n"
        with large_picture() as folder, Server(folder=folder) as running:
            for _ in range(TRIES):  # a busy machine can make it pause
                with running.connect(request, 65536) as slow, running.connect(GET) as next_one:
                    pieces = [b"-"]
                    with contextlib.suppress(ConnectionResetError):
                        while pieces[-1]:
                            time.sleep(0.005)
                            pieces.append(slow.recv(1 << 16))
                    self.assertEqual(parse(read_all(next_one)).status, 200)
                response = parse(b"".join(pieces[1:]))
                if len(response.content) == LARGE:
                    break
            self.assertEqual(len(response.content), LARGE)
            self.assertEqual(response.content, (folder / "test.jpg").read_bytes())


class SurvivingResponse(unittest.TestCase):
    """A response isn't lost by what the client still sends (9112 9.6)."""

    def test_a_body_sent_late(self) -> None:
        with Server() as running, running.connect(POST) as client:
            for _ in range(10):
                client.sendall(b"x" * 100_000)
                time.sleep(0.01)
            self.assertEqual(parse(read_all(client)).status, 405)

    def test_the_rest_of_a_refused_head(self) -> None:
        with Server() as running, running.connect(b"GET /" + b"a" * 9000) as client:
            for _ in range(10):
                client.sendall(b"a" * 10_000)
                time.sleep(0.01)
            self.assertEqual(parse(read_all(client)).status, 414)

    def test_more_while_a_large_picture_is_sent(self) -> None:
        with large_picture() as folder, Server(folder=folder) as running:
            with running.connect(b"GET /test.jpg HTTP/1.0\r\n\r\n") as client:
                time.sleep(0.05)
                client.sendall(b"\r\n")
                self.assertEqual(len(parse(read_all(client)).content), LARGE)

    def test_more_requests(self) -> None:
        with Server() as running, running.connect(GET * 50) as client:
            time.sleep(0.05)
            client.sendall(GET * 50)
            self.assertEqual(parse(read_all(client)).status, 200)
