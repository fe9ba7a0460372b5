"""Noise and quantity: short by default, as long as FUZZ_SECONDS and SOAK_REQUESTS say."""

import os
import pathlib
import random
import socket
import sys
import time
import unittest

import server
from tests.support import GET, Server, descriptors, parse
from tests.test_answer import ROWS, status_of

SECONDS = float(os.environ.get("FUZZ_SECONDS", "0.3"))  # for each of the two fuzz tests
REQUESTS = int(os.environ.get("SOAK_REQUESTS", "500"))
WORDS = [
    *b"GET HEAD POST OPTIONS * CONNECT / /test.jpg http:// HTTP/1.1 HTTP/1.0 HTTP/2.0 a:80".split(),
    *b"Host: Content-Length: Transfer-Encoding: chunked gzip A: x [::1] %2e ? # , ; 5 \x16".split(),
    *(b" ", b"  ", b"\t", b"\r\n", b"\r\n", b"\n", b"\r", b"\x00", b"\xff", b":", b'"', b"\\"),
    b"a" * 9000,
]


def noise(source: random.Random) -> bytes:
    """Return what might come: words in no order, or a row of the table of answers, damaged."""
    if source.random() < 0.3:
        return b"".join(source.choice(WORDS) for _ in range(source.randrange(1, 25)))
    request = bytearray(source.choice(ROWS)[1][:20000])
    for _ in range(source.randrange(4)):
        at = source.randrange(len(request) + 1)
        request[at : at + source.randrange(3)] = source.choice(
            [*WORDS, bytes([source.randrange(256)])]
        )
    return bytes(request)


def memory(pid: int) -> int:
    """Return the KiB that a process has resident, or 0 where nobody counts, or they mean little."""
    status = pathlib.Path(f"/proc/{pid}/status")
    if not status.exists() or sys.implementation.name == "pypy":  # grows while it compiles
        return 0
    return int(status.read_text().partition("VmRSS:")[2].split()[0])


class Noise(unittest.TestCase):
    """Whatever comes, what decides has an answer, and the server is there for the next one."""

    def setUp(self) -> None:
        self.seed = int(os.environ.get("FUZZ_SEED", random.randrange(1 << 30)))
        self.source = random.Random(self.seed)
        self.count = 0
        self.end = time.monotonic() + SECONDS

    def tearDown(self) -> None:
        if "FUZZ_SECONDS" in os.environ:
            print(f"\n{self.id()}: seed {self.seed}, {self.count} requests", file=sys.stderr)

    def test_what_decides(self) -> None:
        statuses = set()
        while time.monotonic() < self.end or self.count < 500:  # on a busy machine, too
            sent = noise(self.source)
            with self.subTest(seed=self.seed, number=self.count, sent=sent[:200]):
                whole = status_of(sent)
                cut = self.source.randrange(len(sent) + 1)
                self.assertEqual(status_of(sent[:cut], sent[cut:]), whole, cut)
                late = server.answer.__wrapped__(sent, 408)
                self.assertEqual(late is None, not sent.strip(b"\r\n"))
                for answered in filter(None, (late, server.answer(sent, 0))):
                    statuses.add(parse(answered[0]).status)
                    self.assertRegex(answered[1], r'^"[ !#-~]*" \d{3}$')
            self.count += 1
        self.assertGreaterEqual(statuses, {200, 400, 408})

    def test_the_socket_path(self) -> None:
        with Server() as running:
            running.ask()
            pid = running.process.pid
            before = descriptors(pid)
            while time.monotonic() < self.end:
                self.one_client(running)
                self.count += 1
                if self.count % 50 == 0:
                    self.assertEqual(parse(running.ask()).status, 200)
            self.assertEqual(parse(running.ask()).status, 200)
            self.assertEqual(descriptors(pid), before)
            self.assertLess(memory(pid), 40_000)
            self.assertEqual(running.stop()[0], 0)

    def one_client(self, running: Server) -> None:
        """Send noise in pieces, and read the answer, close, half-close or reset."""
        sent = noise(self.source)
        with self.subTest(seed=self.seed, number=self.count, sent=sent[:200]):
            with running.connect() as client:
                try:
                    while sent:
                        size = self.source.choice((1, 10, 1000, 100_000))
                        client.sendall(sent[:size])
                        sent = sent[size:]
                    if self.source.random() < 0.1:
                        return  # without reading
                    client.shutdown(socket.SHUT_WR)
                except OSError:
                    return  # it was answered and closed before all was sent
                raw = b""
                try:
                    while piece := client.recv(1 << 16):
                        raw += piece
                except ConnectionResetError:  # more came when all had been answered
                    self.assertNotEqual(raw, b"")
                self.assertTrue(raw == b"" or parse(raw).status)


class Quantity(unittest.TestCase):
    """Many requests leave nothing behind."""

    def test_soak(self) -> None:
        picture = GET.replace(b"/", b"/test.jpg", 1)
        with Server() as running:
            pid = running.process.pid
            for number in range(REQUESTS):
                if number == REQUESTS // 10:
                    before = memory(pid), descriptors(pid)
                head = picture if number % 3 == 0 else GET
                if number % 2:  # and a head never seen before
                    head = head[:-2] + b"A: %d\r\n\r\n" % number
                raw = running.ask(head)
                if raw[:15] != b"HTTP/1.1 200 OK":
                    self.fail(f"request {number}: {raw[:100]!r}")
            after = memory(pid), descriptors(pid)
            self.assertEqual(after[1], before[1])
            self.assertLess(after[0], before[0] + 1500)
            if "SOAK_REQUESTS" in os.environ:
                print(
                    f"\nsoak: {REQUESTS} requests, KiB {before[0]} to {after[0]}", file=sys.stderr
                )
