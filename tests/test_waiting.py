"""Waiting: whoever asks is answered at once, whoever else is there, and is never hung up on."""

import concurrent.futures
import contextlib
import itertools
import os
import select
import signal
import socket
import statistics
import struct
import sys
import threading
import time
import unittest
from collections.abc import Iterator

import server
from tests.support import GET, LONG, Server, descriptors, memory, parse, read_all

on_posix = unittest.skipUnless(os.name == "posix", "Windows has neither these signals nor limits")
PICTURE = b"GET /test.jpg HTTP/1.0\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n"
STALLED = {  # what each sends, and what it goes on to send each 50 ms
    "silent": (b"", b""),
    "in mid-head": (GET[:-2], b""),
    "dripping its head": (GET[:-2] + b"A: ", b"a"),
    "not reading 8 MB": (PICTURE, b""),
    "announcing a body that never comes": (POST, b""),
    "dripping its body": (POST, b"a"),
}
LARGE = """
large = server.make_response("200 OK", "image/jpeg", bytes(8_000_000))
steady = server.make_response("200 OK", "image/jpeg", bytes(1_200_000))
usual, pages = server.respond, {"/test.jpg": large, "/steady": steady}
server.respond = lambda request: pages.get(request.path) or usual(request)
"""
FEW = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))"
NOT_LINUX = 'vars(socket).pop("TCP_DEFER_ACCEPT", None)\n'  # which no other system has
AS_WINDOWS_DOES = f"""{NOT_LINUX}
import selectors
class Selector(selectors.SelectSelector):
    def select(self, timeout):
        if len(self.get_map()) > 512:
            raise ValueError("too many file descriptors in select()")
        return super().select(timeout)
server.DefaultSelector = Selector"""
AS_BSD_DOES = """
def accept(listener, usual=socket.socket.accept):
    client, address = usual(listener)
    if client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        raise ConnectionAbortedError
    return client, address
socket.socket.accept = accept"""


def setUpModule() -> None:
    """Let this process, and with it the servers, have as many descriptors as the crowds need."""
    with contextlib.suppress(ImportError, OSError, ValueError):  # then a crowd is too large
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4096), hard))


@contextlib.contextmanager
def crowd(running: Server, size: int, *kinds: str) -> Iterator[list[socket.socket]]:
    """Give size clients that are stalled, of each of these kinds in turn."""
    with contextlib.ExitStack() as stack:
        each = [STALLED[kinds[number % len(kinds)]] for number in range(size)]
        clients = [stack.enter_context(running.connect(sent, 4096)) for sent, _ in each]
        over = threading.Event()

        def go_on() -> None:
            while not over.wait(0.05):
                for client, (_, drip) in zip(clients, each):
                    with contextlib.suppress(OSError):
                        client.send(drip)

        stack.enter_context(concurrent.futures.ThreadPoolExecutor(1)).submit(go_on)
        stack.callback(over.set)
        yield clients


class OneAmongMany(unittest.TestCase):
    """An honest client, and who is there beside it."""

    def at_once(self, running: Server, bound: float = 0.1) -> None:
        """Assert that the page comes at once, as far as a busy machine lets it."""
        took = [running.time_get() for _ in range(5)]
        self.assertLess(min(took), bound)
        self.assertLess(max(took), 2.0)

    def test_beside_stalled_clients(self) -> None:
        crowds = [(size, [kind]) for size in (1, 20) for kind in STALLED]
        with Server(code=LARGE) as running:
            for size, kinds in [*crowds, (400, list(STALLED))]:
                with self.subTest(size=size, kinds=kinds), crowd(running, size, *kinds):
                    self.at_once(running)

    def test_clients_that_pause_before_they_ask(self) -> None:
        def ask(pause: float) -> bytes:
            with running.connect() as client:
                time.sleep(pause)  # browsers on the same machine pause for 6 to 42 ms
                client.sendall(GET)
                return read_all(client)[9:12]

        for code, others in itertools.product((LARGE, LARGE + NOT_LINUX), (0, 300)):
            with Server(code=code) as running:
                with crowd(running, others, *STALLED):
                    for size, pause in ((8, 0.01), (8, 0.05), (30, 0.01), (30, 0.05)):
                        with concurrent.futures.ThreadPoolExecutor(size) as pool:
                            answers = list(pool.map(ask, [pause] * (4 * size)))
                        with self.subTest(size=size, pause=pause, others=others):
                            self.assertEqual(answers, [b"200"] * (4 * size))

    @on_posix
    def test_more_than_it_can_hold(self) -> None:
        import resource

        if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 4096:
            self.skipTest("the system gives this process too few descriptors")
        fewer = NOT_LINUX + FEW.replace("1024", "64")  # its first answer comes when it is full
        for code, size, held in ((FEW, 2500, 1000), (AS_WINDOWS_DOES, 900, 500), (fewer, 200, 40)):
            with self.subTest(code), Server(code=code) as running:
                with crowd(running, size, "silent"):
                    self.at_once(running, 1.0)
                with crowd(running, size, "in mid-head") as clients:
                    self.at_once(running, 1.0)
                    poll = select.poll()
                    for client in clients:
                        poll.register(client, select.POLLIN)
                    closed = {descriptor for descriptor, _ in poll.poll(0)}  # all say no more
                    still_open = [client.fileno() not in closed for client in clients]
                    self.assertEqual(still_open, sorted(still_open))  # the oldest were closed
                    self.assertGreater(sum(still_open), held)
                    self.assertLess(sum(still_open), size)

    @on_posix
    def test_over_1100_inherited_descriptors(self) -> None:
        inherited = "import os; others = [os.dup(2) for _ in range(1100)]"
        with Server(code=inherited) as running, running.connect(GET[:9]) as slow:
            self.at_once(running)
            slow.sendall(GET[9:])
            self.assertEqual(parse(read_all(slow)).status, 200)

    @on_posix
    def test_no_descriptor_and_nobody_to_close(self) -> None:
        others = (
            FEW
            + """
import os, threading
def take():
    try:
        while True:
            taken.append(os.dup(2))
    except OSError:
        time.sleep(0.3)
        [os.close(number) for number in taken]
taken = []
threading.Timer(0.1, take).start()"""
        )
        with Server(code=others) as running:
            time.sleep(0.2)
            self.assertEqual(parse(running.ask()).status, 200)

    def test_whoever_is_answered_is_closed(self) -> None:
        with Server() as running, contextlib.ExitStack() as stack:
            before = descriptors(running.process.pid)
            for _ in range(5):
                client = stack.enter_context(running.connect(GET))
                self.assertEqual(parse(read_all(client)).status, 200)
            running.time_get()
            self.assertEqual(descriptors(running.process.pid), before)

    def test_a_large_response_survives_what_is_still_sent(self) -> None:
        with Server(code=LARGE) as running, running.connect(PICTURE, 4096) as client:
            first = client.recv(1)
            client.sendall(b"more")
            self.assertEqual(len(parse(first + read_all(client)).content), 8_000_000)

    def test_fast_senders_take_turns(self) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            theirs.sendall(GET[:-2] + b"A: " + b"a" * 50_000)
            conversation = server.converse(ours, (), False)
            next(conversation)
            self.assertTrue(ours.recv(1, socket.MSG_PEEK))  # more of it is there, but others wait

    def test_spare_connections(self) -> None:
        with Server() as running, contextlib.ExitStack() as stack:
            spare = [stack.enter_context(running.connect()) for _ in range(6)]
            self.at_once(running)
            for client in spare[:3]:
                client.sendall(GET)  # browsers do so when they need one more
                self.assertEqual(parse(read_all(client)).status, 200)
            spare[3].sendall(b"\r\n\r\n")  # which begins no request
            for client in spare[3:]:
                client.shutdown(socket.SHUT_WR)
                self.assertEqual(read_all(client), b"")  # closed without a word
            self.assertEqual(len(running.log()), 8)

    @on_posix
    def test_clients_that_are_reset_in_the_queue(self) -> None:
        for code in ("", AS_BSD_DOES):
            with self.subTest(code), Server(code=code) as running:
                with running.connect(GET[:9]) as innocent:
                    running.time_get()
                    running.process.send_signal(signal.SIGSTOP)
                    for sent in (b"", GET[:9], GET, POST) * 50:
                        with running.connect(sent) as client:  # its close will be a reset
                            at_once = struct.pack("ii", 1, 0)
                            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
                    with running.connect(GET) as last:
                        began = time.monotonic()
                        running.process.send_signal(signal.SIGCONT)
                        self.assertEqual(parse(read_all(last)).status, 200)
                    self.assertLess(time.monotonic() - began, 1.0)
                    innocent.sendall(GET[9:])
                    self.assertEqual(parse(read_all(innocent)).status, 200)


class TenSeconds(unittest.TestCase):
    """What each has of its own: ten seconds for a head, and ten more for each piece."""

    def test_all_at_the_same_time(self) -> None:
        def ask(sent: bytes, drip: bytes, until_closed: bool) -> tuple[bytes, float]:
            """Return what comes, and the seconds until all has come, or nobody takes drips."""
            received, began = b"", time.monotonic()
            with running.connect(sent, 4096) as client, contextlib.suppress(ConnectionError):
                client.settimeout(0.1)
                while time.monotonic() < began + LONG:
                    with contextlib.suppress(socket.timeout):
                        piece = client.recv(8192) if sent != PICTURE else b""  # it doesn't read
                        received += piece
                        if not (piece or until_closed):
                            break
                    client.send(drip)
                    time.sleep(0.02)
            return received, time.monotonic() - began

        def type_slowly() -> bytes:
            with running.connect() as client:
                for piece in (b"GET /", b" HTTP/1.1\r", b"\nHost: x\r\n", b"\r\n"):
                    time.sleep(0.75)
                    client.sendall(piece)
                return read_all(client)

        def read_steadily() -> bytes:
            received, began = b"", time.monotonic()
            with running.connect(b"GET /steady HTTP/1.0\r\n\r\n", 16384) as client:
                while piece := client.recv(4096):
                    received += piece  # 100 kB a second, which is not quite 1 Mbit
                    time.sleep(max(0.0, began + len(received) / 100_000 - time.monotonic()))
            self.assertGreater(time.monotonic() - began, 11.0)
            return received

        rows = (  # what it sends, and goes on to send, maybe until nobody takes it, what it gets
            (GET[:9], b"", False, b"408"),
            (GET[:9], b"a", False, b"408"),
            (b"", b"", False, b""),
            (b"", b"\r\n", False, b""),
            (POST, b"a", True, b"405"),
            (PICTURE, b"a", True, b""),
        )
        with Server(code=LARGE) as running, concurrent.futures.ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(ask, *row[:3]) for row in rows]
            typed, read = pool.submit(type_slowly), pool.submit(read_steadily)
            took = [running.time_get()]
            while not (all(future.done() for future in asked) and typed.done() and read.done()):
                took.append(running.time_get())
                time.sleep(0.02)
        self.assertLess(statistics.median(took), 0.1)
        self.assertLess(max(took), 2.0)
        self.assertEqual(parse(typed.result()).status, 200)
        self.assertEqual(len(parse(read.result()).content), 1_200_000)
        for row, (received, seconds) in zip(rows, [future.result() for future in asked]):
            with self.subTest(row):
                self.assertEqual(received[9:12], row[3])
                self.assertTrue(9.0 < seconds < 15.0, seconds)

    def test_floods(self) -> None:
        def flood(sent: bytes, more: bytes) -> float:
            began = time.monotonic()
            with running.connect(sent) as client, contextlib.suppress(ConnectionError):
                while time.monotonic() < began + LONG:
                    client.send(more * (65536 // len(more)))
            return time.monotonic() - began

        floods = ((POST, b"x"), (GET[:-2], b"A: b\r\n"), (b"GET /", b"a"), (b"", b"\r\n"))
        with Server(code="server.PATIENCE = 1.0") as running:
            before = memory(running.process.pid, "VmHWM")
            bound = 1_000_000 if "PyPy" in sys.version else 6_000
            with concurrent.futures.ThreadPoolExecutor(len(floods)) as pool:
                futures = [pool.submit(flood, *each) for each in floods]
                took = [running.time_get() for _ in range(30)]
            self.assertLess(min(took), 0.2)
            self.assertLess(max(took), 2.0)
            seconds = [future.result() for future in futures]  # empty lines have an earlier end
            self.assertTrue(0.9 < min(seconds[:3]) <= max(seconds) < 5.0, seconds)
            self.assertLess(memory(running.process.pid, "VmHWM") - before, bound)


@on_posix
class Stopping(unittest.TestCase):
    """SIGTERM and Ctrl-C: whoever has asked is answered, then it ends with 0."""

    def seconds_to_stop(self, number: int) -> float:
        """Return how long it takes with 100 in the queue, beside 400 stalled clients."""
        with Server() as running, crowd(running, 400, *STALLED), contextlib.ExitStack() as stack:
            clients = [stack.enter_context(running.connect(GET[:9])) for _ in range(10)]
            running.time_get()
            running.process.send_signal(signal.SIGSTOP)
            for client in clients:
                client.sendall(GET[9:])
            clients += [stack.enter_context(running.connect(GET)) for _ in range(100)]
            began = time.monotonic()
            running.process.send_signal(number)
            running.process.send_signal(signal.SIGCONT)
            self.assertEqual([parse(read_all(client)).status for client in clients], [200] * 110)
            _, errors = running.process.communicate(timeout=LONG)
            self.assertEqual((running.process.returncode, errors), (0, b""))
            return time.monotonic() - began

    def test_a_full_queue_is_answered(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number):
                self.assertTrue(any(self.seconds_to_stop(number) < 1.0 for _ in range(4)))

    def test_a_second_ctrl_c_ends_it_at_once(self) -> None:
        hang = "server.respond = lambda _: time.sleep(60)"
        with Server(code=hang) as running, running.connect(GET):
            time.sleep(0.2)
            running.process.send_signal(signal.SIGINT)
            time.sleep(0.2)
            self.assertIsNone(running.process.poll())
            while running.process.poll() is None:
                running.process.send_signal(signal.SIGINT)  # two at once may be one to it
                time.sleep(0.05)
            self.assertEqual(running.process.returncode, -signal.SIGINT)
