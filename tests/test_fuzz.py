"""Noise and quantity: short by default, as long as FUZZ_SECONDS and SOAK_REQUESTS say."""

import os
import random
import socket
import sys
import threading
import time
import unittest

import server
from tests.support import LONG, Server, descriptors, memory, parse, read_all
from tests.test_answer import ROWS, status_of

SEED = os.environ.get("FUZZ_SEED") or str(random.randrange(1 << 30))
REQUESTS = int(os.environ.get("SOAK_REQUESTS", "1000"))


def noise(source: random.Random) -> bytes:
    """Return a row of the table of answers with pieces of others, or single bytes, put into it."""
    request = source.choice(ROWS)[1]
    for _ in range(source.randrange(5)):
        at, other = source.randrange(len(request) + 1), source.choice(ROWS)[1]
        other = other[source.randrange(len(other)) :][: source.choice((1, 10, 10000))]
        piece = source.choice((b"", b" ", b"\n", b"\r\n", source.randbytes(1), other, other))
        request = request[:at] + piece + request[at + source.randrange(3) :]
    return request


def held(pid: int) -> tuple[int, int]:
    """Return the KiB of memory and the descriptors that a process has, or 0 if nobody counts."""
    return memory(pid, "VmRSS"), descriptors(pid)


class Noise(unittest.TestCase):
    def setUp(self) -> None:
        self.source, self.count, self.grown = random.Random(SEED), 0, ""
        self.end = time.monotonic() + float(os.environ.get("FUZZ_SECONDS", "0.7"))

    def tearDown(self) -> None:
        if {"FUZZ_SECONDS", "SOAK_REQUESTS"} & {*os.environ}:
            print(f"\n{self.id()}: seed {SEED}, {self.count} requests {self.grown}")

    def test_parse(self) -> None:
        while time.monotonic() < self.end or self.count < 2000:  # on a busy machine, too
            sent, former, self.count = noise(self.source), None, self.count + 1
            cut = self.source.randrange(len(sent) + 1)
            for received in (sent[:cut], sent, sent + noise(self.source)):
                with self.subTest(SEED, received=received[:300]):
                    request = server.parse(received)
                    self.assertTrue(request or len(received.lstrip(b"\r\n")) < 65536)
                    if former:  # what follows changes nothing but more_may_come
                        self.assertEqual(request and request[:3], former[:3])
                    former = request

    def test_the_socket_path(self) -> None:
        said: set[bytes] = set()
        with Server() as running:
            reader = threading.Thread(target=lambda: said.update(running.process.stderr or ()))
            reader.start()  # a full pipe would stop the server
            while time.monotonic() < self.end or self.count < 100:
                sent, self.count = noise(self.source), self.count + 1
                half, status = len(sent) // 2, status_of(sent) or (sent.strip(b"\r\n") and 400)
                with self.subTest(SEED, sent=sent[:300]), running.connect(sent[:half]) as client:
                    if status_of(sent[:half]) is None:  # what comes later may be refused
                        client.sendall(sent[half:])
                    if self.count % 20:  # the others leave without reading
                        client.shutdown(socket.SHUT_WR)
                        raw = read_all(client)
                        self.assertEqual(raw and parse(raw).status, status)
            self.assertEqual(parse(running.ask()).status, 200)
            running.process.terminate()
            reader.join(LONG)
        self.assertLessEqual(said, {b"That was TLS: open http://, not https://\n"})

    def test_soak(self) -> None:
        with Server() as running:
            for self.count in range(1, REQUESTS + 1):
                head = b"GET / HTTP/1.0\r\nA: %d\r\n\r\n" % (self.count % 2 * self.count)
                self.assertEqual(running.ask(head)[:15], b"HTTP/1.1 200 OK", self.count)
                if self.count == REQUESTS // 10:
                    before = held(running.process.pid)
            after = held(running.process.pid)
        self.grown = f"(KiB and descriptors {before} to {after})"
        self.assertEqual(after[1], before[1])
        pypy = sys.implementation.name == "pypy"  # which grows while it compiles
        self.assertTrue(pypy or after[0] < before[0] + 1500, self.grown)
