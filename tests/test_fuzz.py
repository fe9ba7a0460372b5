"""Noise: for a moment by default, or for as long as FUZZ_SECONDS says."""

import os
import random
import socket
import time
import unittest
from collections.abc import Iterator

import server
from tests.support import Server, read_all, read_answer
from tests.test_answer import BYTES, ROWS, answer_to

SECONDS = float(os.environ.get("FUZZ_SECONDS", "0.7"))
SEED = os.environ.get("FUZZ_SEED") or str(random.randrange(1 << 30))


class Noise(unittest.TestCase):
    """Requests that are put together from pieces of good and bad ones."""

    def noise(self, least: int) -> Iterator[bytes]:
        """Give rows of the table of answers, with pieces of others put into them."""
        source = random.Random(SEED)
        end = time.monotonic() + SECONDS
        while time.monotonic() < end or least > 0:  # on a busy machine, too
            least -= 1
            request = source.choice(ROWS).request
            for _ in range(source.randrange(5)):
                other = source.choice(ROWS).request[source.randrange(99) :]
                other = other[: source.choice((1, 10, 10000))]
                byte = source.choice(BYTES)
                pieces = (b"", b" ", b"\n", b"\r\n", byte, other, other)
                piece = source.choice(pieces)
                at = source.randrange(len(request) + 1)
                request = request[:at] + piece + request[at + source.randrange(3) :]
            yield request

    def test_parse(self) -> None:
        """It gives a request that more bytes don't change, or it refuses."""
        for received in self.noise(2000):
            with self.subTest(SEED, received=received[:300]):
                try:
                    request = server.parse(received)
                except server.Refused as refusal:
                    status, why, *_ = refusal.args
                    self.assertRegex(status, r"\A(4\d\d|50[15]) [A-Z]")
                    self.assertRegex(why, r"\A[ -~]{,400}\Z")
                else:
                    self.assertIn(request.method, ("GET", "HEAD"))
                    self.assertEqual(request.path[:1], "/")
                    self.assertEqual(server.parse(received + b"\0\n\n"), request)

    def test_the_socket_path(self) -> None:
        """The server answers as parse and respond say."""
        with Server() as running:
            for sent in self.noise(100):
                if not sent[:65536].strip(b"\r\n"):
                    continue  # empty lines alone ask for nothing
                with self.subTest(SEED, sent=sent[:300]):
                    with running.connect(sent) as client:
                        client.shutdown(socket.SHUT_WR)
                        raw = read_all(client)
                    self.assertEqual(read_answer(raw).status, answer_to(sent)[0])
            running.check()
            self.assertRegex(running.errors(), r"\A(That was TLS.*\n)*\Z")
