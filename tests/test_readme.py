"""README's word is good: each of its commands and programs is run, and says what README says."""

import contextlib
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from collections.abc import Iterator

from tests.support import GET, LONG, ROOT, Server, free_port, parse, read_all, require

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", re.sub(r"(?m)^   (?=\S|$)", "", README), re.S | re.M)


def blocks(language: str) -> list[str]:
    """Return README's blocks of a language, in their order."""
    return [text for name, text in BLOCKS if name == language]


def program(words: str) -> str:
    """Return the one Python program in README that has these words in it."""
    (text,) = (text for text in blocks("python") if words in text)
    return text


def plain(text: str) -> str:
    """Return text without what differs from run to run: times, and curl's version."""
    text = re.sub(r"\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT", "DATE", text.replace("\r", ""))
    text = re.sub(r"\[\d\d/\w{3}/\d{4}:[\d:]{8} \+0000\]", "[TIME]", text)
    return re.sub(r"(?m) +$", "", re.sub(r"curl/[\d.]+", "curl/X", text))


@contextlib.contextmanager
def running(text: str, replace: dict[str, str], *arguments: str) -> Iterator[pathlib.Path]:
    """Run a program of README in a folder of its own until the end of the block."""
    for old, new in replace.items():
        text = text.replace(old, new)
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryFile() as output:
        folder = pathlib.Path(name)
        (folder / "program.py").write_text(text)
        with started(folder, output.fileno(), *arguments):
            yield folder


@contextlib.contextmanager
def started(folder: pathlib.Path, output: int, *arguments: str) -> Iterator[None]:
    """Run program.py in folder, and end it."""
    process = subprocess.Popen(
        [sys.executable, "program.py", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=output,
        stderr=output,
    )
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(LONG)


def ask(port: int, sent: bytes = GET) -> bytes:
    """Return the answer of whoever listens on port, as soon as somebody does."""
    deadline = time.monotonic() + LONG
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), LONG) as client:
                client.sendall(sent)
                return read_all(client)
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def get(port: int, path: str) -> bytes:
    """Return the content of the answer to a GET, which must be 200."""
    raw = ask(port, f"GET {path} HTTP/1.0\r\n\r\n".encode())
    head, _, content = raw.partition(b"\r\n\r\n")
    assert b" 200 OK\r\n" in head + b"\r\n", raw
    return content


class Commands(unittest.TestCase):
    """What README says that a terminal shows."""

    def test_commands(self) -> None:
        require("curl")
        commands = [block for block in blocks("console") if "server.py" not in block]
        self.assertEqual(len(commands), 3)
        with Server() as server:
            for block in commands:
                command, expected = block[2:].split("\n", 1)
                self.assertEqual(block[:2], "$ ")
                command = command.replace("8000", str(server.address[1]))
                with self.subTest(command):
                    ended = subprocess.run(
                        ["/bin/sh", "-c", command.replace("python -c", f"'{sys.executable}' -c")],
                        capture_output=True,
                        text=True,
                        timeout=LONG,
                    )
                    self.assertEqual(plain(ended.stdout), plain(expected))

    def test_what_the_server_says(self) -> None:
        (start,) = (block for block in blocks("console") if "server.py" in block)
        with Server() as server:
            for path in ("/", "/test.jpg"):
                server.ask(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            first = server.first_line.replace(str(server.address[1]), "8000")
            self.assertEqual(start, "$ python server.py\n" + first)
            self.assertEqual(plain("\n".join(server.log()) + "\n"), plain(blocks("text")[0]))

    def test_verbose(self) -> None:
        (shown,) = (block for block in blocks("text") if block.startswith(">"))
        with Server("-v") as server:
            sent = "\r\n".join(re.findall(r"(?m)^>(?: (.*))?$", shown)) + "\r\n"
            server.ask(sent.encode())
            self.assertEqual(plain("\n".join(server.log()) + "\n"), plain(shown))

    def test_the_line_to_change(self) -> None:
        (line,) = re.findall(r"in place of `(.+?)`", README)
        self.assertEqual((ROOT / "server.py").read_text(encoding="utf-8").count(line), 1)

    def test_the_test_command(self) -> None:
        self.assertEqual(blocks("sh"), ["python -m unittest\n"])

    def test_every_block_is_run_here(self) -> None:
        count = {"console": 4, "text": 2, "sh": 1, "python": 6, "nginx": 1}
        self.assertEqual({name: len(blocks(name)) for name in count}, count)
        self.assertEqual(len(BLOCKS), sum(count.values()))
        self.assertEqual(README.count("```"), 2 * len(BLOCKS))
        self.assertLess(README.count("\n"), 250)


class Programs(unittest.TestCase):
    """The programs of README, each at most 15 lines, run as they stand but for the port."""

    def test_length(self) -> None:
        for text in blocks("python"):
            lines = [line for line in text.splitlines() if line]
            self.assertLessEqual(len(lines), 15, text)

    def test_the_client(self) -> None:
        with Server() as server:
            text = program("sendall").replace("8000", str(server.address[1]))
            ended = subprocess.run(
                [sys.executable, "-c", text], capture_output=True, text=True, timeout=LONG
            )
        self.assertRegex(ended.stdout, r"^HTTP/1\.1 200 OK\n")
        self.assertTrue(ended.stdout.endswith("\n2981 bytes of HTML\n"), ended.stdout)

    def test_threads_and_processes(self) -> None:
        for words in ("threading", "multiprocessing"):
            port = free_port()
            with self.subTest(words), running(program(words), {"8000": str(port)}):
                ask(port)
                with socket.create_connection(("127.0.0.1", port), LONG) as stalled:
                    stalled.sendall(GET[:9])
                    for _ in range(3):
                        self.assertEqual(parse(ask(port)).status, 200)
                    time.sleep(0.5)  # much longer than the grace of a single loop
                    stalled.sendall(GET[9:])
                    self.assertEqual(parse(read_all(stalled)).status, 200)

    def test_the_time_and_the_visits(self) -> None:
        port = free_port()
        with running(program("sqlite3"), {}, str(port)) as folder:
            shown = [get(port, "/time") for _ in range(2)]
            self.assertRegex(shown[0], rb"^\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d 20\d\d, visit 1\n$")
            self.assertRegex(shown[1], rb", visit 2\n$")
            self.assertEqual(parse(ask(port, b"GET / HTTP/1.0\n\n")).status, 404)
            with tempfile.TemporaryFile() as output:
                other = free_port()
                with started(folder, output.fileno(), str(other)):
                    self.assertRegex(get(other, "/time?again"), rb", visit 3\n$")

    def test_the_standard_library(self) -> None:
        port = free_port()
        with running(program("http.server"), {"8000": str(port)}):
            self.assertEqual(get(port, "/"), (ROOT / "index.html").read_bytes())
            self.assertEqual(get(port, "/test.jpg"), (ROOT / "test.jpg").read_bytes())

    def test_the_framework(self) -> None:
        port = free_port()
        with running(program("site.page"), {}, str(port)):
            self.assertEqual(get(port, "/hello?x"), b"<h1>Hello</h1>")
            self.assertEqual(parse(ask(port, b"GET /none HTTP/1.0\n\n")).status, 404)


class BehindNginx(unittest.TestCase):
    """README's nginx.conf with the real nginx, and a copy that stops under load."""

    def test_not_one_request_fails(self) -> None:
        nginx = require("nginx")
        front = free_port()
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            copies = [stack.enter_context(Server()) for _ in range(3)]
            (configuration,) = blocks("nginx")
            for old, new in zip((8001, 8002, 8003), copies):
                configuration = configuration.replace(str(old), str(new.address[1]))
            file = pathlib.Path(folder, "nginx.conf")
            file.write_text(configuration.replace("8080", str(front)))
            directives = f"daemon off; pid {folder}/pid; error_log {folder}/log;"
            process = subprocess.Popen(
                [nginx, "-c", str(file), "-g", directives], stderr=subprocess.DEVNULL
            )
            stack.callback(process.wait, LONG)
            stack.callback(process.terminate)
            statuses = [parse_status(ask(front, b"GET / HTTP/1.0\r\n\r\n"))]
            over = threading.Event()

            def load() -> None:
                while not over.is_set():
                    statuses.append(parse_status(ask(front, b"GET / HTTP/1.0\r\n\r\n")))

            threads = [threading.Thread(target=load) for _ in range(4)]
            for thread in threads:
                thread.start()
            deadline = time.monotonic() + LONG
            while len(copies[0].log()) < 20 and time.monotonic() < deadline:
                time.sleep(0.02)
            self.assertEqual(copies[0].process.poll(), None)
            copies[0].process.send_signal(signal.SIGTERM)
            self.assertEqual(copies[0].process.wait(LONG), 0)
            before = len(statuses)
            while len(statuses) < before + 40 and time.monotonic() < deadline:
                time.sleep(0.02)
            over.set()
            for thread in threads:
                thread.join()
            self.assertGreater(len(statuses), 50)
            self.assertEqual(set(statuses), {200})
            counts = [0]
            while sum(counts) < len(statuses) and time.monotonic() < deadline + LONG:
                counts = [len(copy.log()) for copy in copies]  # which come after the responses
            self.assertEqual(sum(counts), len(statuses))
            self.assertTrue(all(count > 10 for count in counts), counts)


def parse_status(raw: bytes) -> int:
    """Return the status of a response of anybody's."""
    return int(raw[9:12])
