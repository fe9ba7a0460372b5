"""README's word is good: each of its blocks is run, and does what README says."""

import ast
import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import xml.etree.ElementTree

from tests.support import GET, LONG, PAGE, PICTURE, ROOT, Server, read_all, reset

README = (ROOT / "README.md").read_text("utf-8")
GET_PICTURE = GET.replace(b"/", b"/test.jpg", 1)
SVG_TEXT = "{http://www.w3.org/2000/svg}text"
RESETS = re.compile(r"BrokenPipe|ConnectionAborted|OS(?=Error: \[Errno 41\])")
# What varies: the date of a response, the date of a line in the log, the port.
VARIES = r"\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT|\d\d/\w{3}/\d{4}:[\d:]{8}|0\.1:\d+"
# What is typed into ask.py while a server runs that survives the first four things.
SURVIVES = """
>>> connect(b"").close()
>>> silent = connect(b"")
>>> ask(page)
(b'HTTP/1.1 200 OK', b'</html>')
>>> client = connect(page[:4])
>>> ask(page)
(b'HTTP/1.1 200 OK', b'</html>')
>>> client.sendall(page[4:])
>>> client.recv(12)
b'HTTP/1.1 200'
"""
# Does to server.py what README does to mine.py, and is late after a second.
MINE = """
import functools
import server
from server import *
print = functools.partial(print, flush=True)
usual = respond
def respond(request):
{pages}
    return usual(request)
{line}
server.respond = respond
server.text_content = text_content
server.HEAD_SECONDS = 1.0
server.main()
"""


def between(begin: str, end: str) -> str:
    """Return what README says between these words."""
    _, following = README.split(begin, 1)
    return following.split(end, 1)[0]


def block(words: str) -> str:
    """Return the first block of README that follows these words."""
    _, text = re.split(r"\n```\w+\n", between(words, "\n```\n"))
    return f"{text}\n"


def plain(text: str) -> str:
    """Return what a terminal shows, without what varies."""
    text = re.sub(VARIES, "...", text)
    return text.replace("\r", "").strip()


def ask_at(running: Server) -> str:
    """Return ask.py for this server."""
    _, port = running.address
    return block("`ask.py`").replace("8000", str(port))


def type_into(program: str, *lines: str) -> list[str]:
    """Return what Python shows for each line, typed after python -i program."""
    done = subprocess.run(
        [sys.executable, "-i", "-c", program],
        input="\n".join([*lines, ""]),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LONG,
    )
    _, *shown, _ = re.split(">>>>? ", done.stdout)
    return shown


class Readme(unittest.TestCase):
    """Each test reads what it runs and what it expects from README."""

    def setUp(self) -> None:
        """Make a folder for programs; what is started ends with the test."""
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)
        folder = tempfile.TemporaryDirectory()
        self.folder = self.stack.enter_context(folder)
        for name in ("index.html", "test.jpg"):
            shutil.copy(ROOT / name, self.folder)

    def start(self, text: str) -> Server:
        """Start a program of README in the folder."""
        pathlib.Path(self.folder, "way.py").write_text(text, "utf-8")
        server = Server(changes="program:way.py", cwd=self.folder)
        return self.stack.enter_context(server)

    def start_mine(self, pages: str, line: str = "") -> Server:
        """Start it with this in respond, and a line below text_content."""
        return self.start(MINE.format(pages=pages, line=line))

    def check_said(self, *quotes: str) -> None:
        """Check that README has these quotes."""
        missing = [quote for quote in quotes if quote not in README]
        self.assertEqual(missing, [])

    def check(self, program: str, session: str) -> None:
        """Check that README has each line of a session, and that Python shows it."""
        _, *parts = session.split(">>> ")
        rows = [part.splitlines() for part in parts]
        answers = type_into(program, *(typed for typed, *_ in rows))
        for (typed, *expected), shown in zip(rows, answers):
            with self.subTest(typed):
                self.check_said(typed, *expected)
                for line in expected:
                    self.assertIn(line, RESETS.sub("ConnectionReset", shown))

    def check_pages(self, running: Server) -> None:
        """Check that page and picture come, and that the page says its charset."""
        with running.connect(GET) as one, running.connect(GET_PICTURE) as other:
            page = read_all(one)
            picture = read_all(other)
        self.assertRegex(page, rb"\nContent-Type: text/html; ?charset=utf-8\r\n")
        self.assertTrue(page.endswith(b"\r\n\r\n" + PAGE))
        self.assertTrue(picture.endswith(b"\r\n\r\n" + PICTURE))

    def check_ctrl_c(self, running: Server) -> None:
        """Check that Ctrl-C ends a program while a client is silent."""
        if os.name == "posix":  # elsewhere nobody can send this signal to one program
            with running.connect():
                time.sleep(0.1)
                running.process.send_signal(signal.SIGINT)
                running.process.wait(LONG)

    def test_terminals(self) -> None:
        """They show what README says."""
        self.assertEqual(block("start the server"), "python server.py\n")
        with Server() as running:
            running.ask(GET)
            running.ask(GET_PICTURE)
            shown = plain(running.said() + "\n".join(running.log()))
            self.assertEqual(shown, plain(block("The terminal shows the URL")))
            running.ask(b"\x16\x03\x01")
            complaint = between("the terminal says `", "`")
            self.assertEqual(running.errors(), f"{complaint}\n")
            _, _, expected = block("`curl` is").partition("\n")
            answer = running.ask(b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n")
            self.assertEqual(plain(answer.decode()), plain(expected))
        with Server("-v") as running:
            running.ask(b"HEAD / HTTP/1.0\n\n")
            shown = plain("\n".join(running.log()))
            self.assertEqual(shown, plain(block("press Enter twice")))

    def test_first_breaks(self) -> None:
        """It ends, or waits, or loses its answer."""
        text = block("`first.py`")
        first = self.start(text)
        second = self.start(text)
        third = self.start(text)
        self.check_pages(first)
        session = r"""
>>> ask(page)
(b'HTTP/1.1 200 OK', b'</html>')
>>> ask(b"GET /nowhere HTTP/1.0\r\n\r\n")
(b'HTTP/1.1 200 OK', b'</html>')
>>> ask(page + b"x" * 10**7)
ConnectionResetError
>>> connect(b"").close()
"""
        self.check(ask_at(first), session)
        self.check(ask_at(second), ">>> client = connect(page[:4])")
        error = "ValueError: not enough values to unpack (expected 2, got 0)"
        for running, expected in ((first, error), (second, "ValueError")):
            running.process.wait(LONG)
            self.assertIn(expected, running.errors())
            self.check_said(expected)
        hasty = ask_at(third).replace(", 15)", ", 0.5)")
        self.check(hasty, '>>> silent = connect(b"")\n>>> ask(page)\ntimed out')

    def test_second_survives_four(self) -> None:
        """A large body resets its connection, and harms nobody else."""
        second = self.start(block("into `second.py`"))
        self.check_pages(second)
        reset(second.connect(b"GET"))
        session = r"""
>>> ask(b"GET /nowhere HTTP/1.0\r\n\r\n")
Nothing here has this path.
>>> ask(page + b"x" * 10**7)
ConnectionResetError
>>> ask(page)
(b'HTTP/1.1 200 OK', b'</html>')
"""
        self.check(ask_at(second), SURVIVES + session)

    def test_server_survives_five(self) -> None:
        """It reads on before it closes."""
        session = r"""
>>> ask(b"GET /nowhere HTTP/1.0\r\n\r\n")
(b'HTTP/1.1 404 Not Found', b'404 Not Found: nothing here has this path.')
>>> ask(page + b"x" * 10**7)
(b'HTTP/1.1 200 OK', b'</html>')
"""
        with Server() as running:
            self.check(ask_at(running), SURVIVES + session)

    def test_pause(self) -> None:
        """A generator begins, pauses, goes on and ends."""
        session = """
>>> talk = converse()
>>> next(talk)
receive begins
'I wait'
>>> next(talk)
the answer to GET /
StopIteration
"""
        self.check(block("`pause.py`"), session)

    def test_map(self) -> None:
        """It names each class, function and method, in reading order."""
        text = (ROOT / "server.py").read_text("utf-8")
        names = r"^(?:class |def |    def (?=[a-z]\w*\(self))(\w+)"
        quotes = re.findall(r"`(\w+)`", between("This is a map", "\n## "))
        expected = re.findall(names, text, re.MULTILINE)
        self.assertEqual(list(dict.fromkeys(quotes)), expected)

    def test_changes(self) -> None:
        """Each does what README says, and they go together."""
        words = ("The User-Agent", "A page made anew", "A page that is given", "A bug.")
        pages = "".join(block(f"**{each}") for each in words)
        running = self.start_mine(pages, block("**A header field."))
        self.check_pages(running)
        self.assertEqual(running.get("/").fields["content-language"], "en")
        local_time = rb"^\w{3} \w{3} [ \d]\d [\d:]{8} \d{4}$"
        self.assertRegex(running.get("/time").content, local_time)
        hello = running.get("/hello?name=Ol%C3%A1").content.decode()
        self.assertEqual(hello, "Hello, Olá!\n")
        self.assertEqual(running.get("/hello").content, b"Hello, you!\n")
        shown = running.get("/bug").content.decode().strip()
        *_, error = running.errors().splitlines()
        self.check_said(f"`{shown}`", f"`{error}`")
        running.ask(b"GET / HTTP/1.0\r\nUser-Agent: me\x9b\r\n\r\n")
        self.assertIn(r"'me\x9b'", running.log())

    def test_answers(self) -> None:
        """Each row of the table is true, and so is what is said of their order."""
        table = between("\n| status |", "\n\n")
        long = 'b"GET /" + b"x" * 9000'
        table = table.replace("(it would fill your terminal)", long)
        _, _, *lines = table.splitlines()
        rows = [[part.strip(" `") for part in line.split("|")] for line in lines]
        asked = [f"ask({code})" for _, _, _, code, _, _ in rows]
        order = between("404). So `", "` gets 405")
        asked.append(f"ask({order})")
        running = self.start_mine(block("**A bug."))
        *answers, last = type_into(ask_at(running), *asked)
        self.assertIn("HTTP/1.1 405", last)
        for (_, status, _, _, reason, _), shown in zip(rows, answers):
            with self.subTest(status=status, reason=reason):
                first, last = ast.literal_eval(shown)
                _, _, told = last.decode().rstrip(".").partition(": ")
                self.assertEqual((first.decode()[9:12], told), (status, reason))

    def nine_clients(self, running: Server) -> float:
        """Return how many seconds nine clients wait that ask at the same time."""
        three = "clients = [connect(page) for number in range(3)]"
        answers = "[client.recv(12) for client in clients]"
        self.check_said(three, answers)
        nine = three.replace("3", "9")
        begin = "import time; began = time.monotonic()"
        end = "time.monotonic() - began"
        *_, seconds = type_into(ask_at(running), begin, nine, answers, end)
        return float(seconds)

    def test_threads(self) -> None:
        """With them, nine clients that take a second each take one in all."""
        running = self.start_mine("    time.sleep(0.1)")
        self.assertGreater(self.nine_clients(running), 0.8)
        threads = self.start(block("With a thread for each client"))
        self.assertLess(self.nine_clients(threads), 6)
        self.check_pages(threads)
        self.check_ctrl_c(threads)

    def test_time_server(self) -> None:
        """It counts visits, also after a restart."""
        for number in (1, 3):
            running = self.start(block("**2. A time server"))
            for visit in (number, number + 1):
                content = running.get("/time").content
                self.assertRegex(content, rb"^.+ \d{4}, visit %d\n$" % visit)
            self.check_pages(running)

    def test_library(self) -> None:
        """The standard library's server sends the same."""
        running = self.start(block("**3. The standard"))
        self.check_pages(running)
        self.check_ctrl_c(running)

    def test_framework(self) -> None:
        """It has a page of its own, and those of server.py."""
        running = self.start(block("**4. A framework"))
        self.check_pages(running)
        answer = running.get("/hello")
        self.assertIn("charset=utf-8", answer.fields["content-type"])
        self.assertIn("<h1>Olá!</h1>", answer.content.decode())

    def test_pictures(self) -> None:
        """They are there, and small, and the chart has the table's figures."""
        for picture in re.findall(r"\]\((\.art/.+?)\)", README):
            self.assertLess((ROOT / picture).stat().st_size, 400_000)
        chart = xml.etree.ElementTree.parse(ROOT / ".art" / "speed.svg")
        _, *drawn = [each.text for each in chart.iter(SVG_TEXT)]
        table = between("nginx = 1 |\n|---|---|", "\n\n")
        self.assertEqual(drawn, re.findall(r"[\w.]+", table))
