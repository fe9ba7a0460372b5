"""README's word is good: each of its blocks is run, and does what README says."""

import contextlib
import doctest
import io
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import unittest
import warnings

from tests.support import LONG, ROOT, free_port, require

FILES = {name: (ROOT / name).read_bytes() for name in ("server.py", "index.html", "test.jpg")}
README, SERVER = ((ROOT / name).read_text("utf-8") for name in ("README.md", "server.py"))
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.S | re.M)
PYTHON = [text for name, text in BLOCKS if name == "python"]
FIRST, HEART, PAGES, THREADS, VISITS, LIBRARY, FRAMEWORK = PYTHON
START, LOG, CURL, UNITTEST, VERBOSE = (text for name, text in BLOCKS if name[:2] != "py")
TYPED = [doctest.DocTestParser().get_examples(text) for name, text in BLOCKS if name == "pycon"]
ITEMS = [re.findall("`(.+?)`", item) for item in re.findall(r"(?m)^\d\. \*\*.*", README)]


def plain(text: str) -> str:  # without dates, ports and versions
    text = text.replace("\r", "").replace("HTTP/1.0", "HTTP/1.1")
    return re.sub(r"\w{3}, \d\d .+ GMT|\d\d/\w{3}/\d{4}:[\d:]{8} \+0000|1:\d+/", "...", text)


class Running(contextlib.ExitStack):  # a program beside server.py, and a Python that asks it
    def __init__(self, program: str, *options: str, folder: str = "") -> None:
        super().__init__()
        self.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore", ResourceWarning)  # README leaves sockets to Python
        self.folder = pathlib.Path(folder or self.enter_context(tempfile.TemporaryDirectory()))
        self.log, self.port, self.scope = self.folder / "log", str(free_port()), dict[str, object]()
        for name, raw in {**FILES, "way.py": program.replace("8000", self.port).encode()}.items():
            (self.folder / name).write_bytes(raw)
        command = [sys.executable, "-uW", "ignore", "way.py", self.port, *options]
        with open(self.log, "wb") as log:
            process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)
        self.process = self.enter_context(process)  # which waits for its end
        self.callback(process.kill)
        self.callback(self.scope.clear)
        for example in TYPED[0][:-1]:
            self.show(example.source)
        while self.show("ask(page)") == "ConnectionRefusedError" and process.poll() is None:
            time.sleep(0.02)

    def show(self, source: str) -> str:  # what Python shows when this is typed
        with contextlib.redirect_stdout(io.StringIO()) as shown:
            try:
                exec(compile(source.replace("8000", self.port) + "\n", "", "single"), self.scope)
            except OSError as error:
                return type(error).__name__
        return shown.getvalue().strip()

    def get(self, path: str) -> bytes:  # a whole response
        client = f"connect(b'GET {path} HTTP/1.0\\r\\n\\r\\n')"
        return bytes(eval(f"{client}.makefile('rb').read()", self.scope))


class Readme(unittest.TestCase):  # from its first line to its last
    def test_blocks(self) -> None:
        self.assertEqual((START, UNITTEST), ("python server.py\n", "python -m unittest\n"))
        self.assertEqual(README.count("```"), 28)  # of which the names above take each
        self.assertLessEqual(README.count("\n"), 260)
        self.assertLessEqual(max(len(re.findall("(?m)^.", text)) for text in PYTHON), 15)
        self.assertLess((ROOT / re.findall(r"!\[.*\]\((.+)\)", README)[0]).stat().st_size, 150_000)
        converse = iter(SERVER.partition("\ndef converse(")[2].partition("\n\n\n")[0].split("\n"))
        self.assertTrue(all(line in converse for line in HEART.splitlines()))  # in this order

    def test_terminal(self) -> None:
        with Running(SERVER, "-v") as server:
            server.get("/test.jpg")
            self.assertEqual(re.sub("(?m)^[<>].*\n", "", plain(server.log.read_text())), plain(LOG))
            server.show(re.findall(r"Where there is no `nc`, type `(.+?)`", README)[0])
            self.assertEqual(plain(server.log.read_text())[-len(plain(VERBOSE)) :], plain(VERBOSE))
            command, _, shown = CURL[2:].replace("8000", server.port).partition("\n")
            response = subprocess.check_output([require("curl"), "-s", *command.split()[1:]])
            self.assertEqual(plain(response.decode()), plain(shown))

    def test_five_things_that_break_it(self) -> None:
        for number, (code, *words) in enumerate(ITEMS[:5], 1):
            with self.subTest(code), Running(FIRST) as first:
                for example in (*TYPED[0], *TYPED[1]):
                    self.assertEqual(first.show(example.source), example.want.strip())
                for path, name in (("/", "index.html"), ("/test.jpg", "test.jpg")):
                    self.assertTrue(first.get(path).endswith(b"\r\n\r\n" + FILES[name]))
                shown = first.show(code)
                if number == 2:  # everybody else waits
                    first.show("socket.setdefaulttimeout(0.3)")
                    shown, words = first.show(words[0]), ["timeout", "TimeoutError"]
                    first.show("socket.setdefaulttimeout(None)")
                elif number in (1, 3):  # the program ends
                    first.process.wait(LONG)
                    shown = first.log.read_text().splitlines()[-1]
                self.assertIn(shown, words)
        one, two, three, four, five = (words[0] for words in ITEMS[:5])
        code, shown, new, old, _, error = re.findall("`(.+?)`", README.partition("big.**")[2])[:6]
        said = [word for words in ITEMS[5:] for word in words if word[:2] == "b'"] + [shown]
        codes = (one, two, ITEMS[6][0], three, *ITEMS[7][:2], four, five, code)
        with Running(SERVER) as server:
            self.assertEqual([text for text in map(server.show, codes) if text], said)
        with Running(SERVER.replace(old, new)) as server:
            self.assertEqual(server.show(code), error)

    def test_changes_and_answers(self) -> None:
        answer, bug, field = re.findall(r"`(500 I.+?|Z.+?|page, .+?)`", README)
        program = SERVER.replace("pic_content\n    return", f"pic_content\n{PAGES}    return")
        program = re.sub(r"page\)$", field, program, count=1, flags=re.M).replace("= 10.0", "= 0.5")
        with Running(program) as server:
            self.assertRegex(server.get("/time"), rb"\n\w{3} \w{3} [ \d]\d [\d:]{8} \d{4}$")
            self.assertIn(b"\r\nContent-Language: en\r\n", server.get("/"))
            self.assertTrue(server.get("/bug").endswith(f"{answer}\n".encode()))
            self.assertIn(f"\n{bug}\n", server.log.read_text())
            rows = re.findall(r'(?:\| |is )(\d{3}) .*`(b".+?)`', README)
            self.assertEqual(len(rows), 11)
            for status, code in rows:
                self.assertEqual(server.show(f"ask({code})"), f"b'HTTP/1.1 {status}'", code)

    def test_ways(self) -> None:
        alone = SERVER.replace(
            "    if request.path in", "    time.sleep(1)\n    if request.path in"
        )
        for program, least, most in ((THREADS, 0.5, 1.4), (alone, 1.5, LONG)):
            with Running(program.replace("sleep(1)", "sleep(0.5)")) as server:
                began = time.monotonic()
                for code in re.findall(r"`(clients = .+?)` and `(\[.+?)`", README)[0]:
                    server.show(code)
                self.assertTrue(least <= time.monotonic() - began < most)
        with Running(VISITS) as server, Running(VISITS, folder=str(server.folder)) as again:
            for number, way in enumerate((server, again, server), 1):
                self.assertRegex(way.get("/time"), rf"\d, visit {number}\n$".encode())
        with Running(LIBRARY) as server:
            self.assertTrue(server.get("/").endswith(FILES["index.html"]))
        with Running(FRAMEWORK) as server:
            self.assertTrue(server.get("/hello").endswith(b"\r\n\r\n<h1>Hello</h1>"))
