"""README's word is good: each of its blocks is run, and does what README says."""

import ast
import contextlib
import io
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import warnings
import xml.etree.ElementTree
from typing import Any

from tests.support import LONG, ROOT, free_port, require

README = (ROOT / "README.md").read_text("utf-8")
PAGE = (ROOT / "index.html").read_bytes()
PICTURE = (ROOT / "test.jpg").read_bytes()
GET_PAGE = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
GET_PICTURE = b"GET /test.jpg HTTP/1.1\r\nHost: a\r\n\r\n"
WELL = "(b'HTTP/1.1 200 OK', b'</html>')"
NOWHERE = r'ask(b"GET /nowhere HTTP/1.0\r\n\r\n")'
LARGE = 'ask(page + b"x" * 10**7)'
RESET = "ConnectionReset|BrokenPipe|ConnectionAborted|Errno 41"  # 41 on macOS
THREE_ASK = "clients = [connect(page) for number in range(3)]"
THREE_WAIT = "[client.recv(12) for client in clients]"
# Runs a program as README does, but ends it when the tests have gone.
START = """
import os, runpy, signal, sys, threading
threading.Thread(target=lambda: (os.read(0, 1), os._exit(1)), daemon=True).start()
signal.signal(signal.SIGINT, signal.default_int_handler)
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
# Does to server.py what README does to mine.py, and is late after a second.
MINE = """
import server
from server import *
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


def block(words: str) -> str:
    """Return the first block of README that follows these words."""
    following = README[README.index(words) :]
    _, _, begun = following.partition("\n```")
    whole, _, _ = begun.partition("\n```")
    _, _, text = whole.partition("\n")
    return f"{text}\n"


def between(begin: str, end: str) -> str:
    """Return what README says between these words."""
    _, _, begun = README.partition(begin)
    text, _, _ = begun.partition(end)
    return text


def plain(text: str) -> str:
    """Return what a terminal shows, without its dates and ports."""
    text = re.sub(r"\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT", "(date)", text)
    text = re.sub(r"\d\d/\w{3}/\d{4}:[\d:]{8}", "(date)", text)
    text = re.sub(r"127\.0\.0\.1:\d+", "(address)", text)
    return text.replace("\r", "").strip()


class Program(contextlib.ExitStack):
    """A program beside server.py, and a Python with ask.py that asks it."""

    def __init__(self, command: str, text: str = "", folder: str = "") -> None:
        """Write the text, if there is one, and start it; wait until it listens."""
        super().__init__()
        self.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore", ResourceWarning)  # ask.py leaves it to Python
        self.folder = folder
        if not folder:
            self.folder = self.enter_context(tempfile.TemporaryDirectory())
        for name in ("server.py", "index.html", "test.jpg"):
            shutil.copyfile(ROOT / name, pathlib.Path(self.folder, name))
        self.port = str(free_port())
        words = self.elsewhere(command).split()
        if text:
            self.write(words[0], text)
        self.log = pathlib.Path(self.folder, "log")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-u", "-c", START, *words],
                cwd=self.folder,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        self.callback(self.end)
        self.names: dict[str, Any] = {}
        self.callback(self.hang_up)
        ask = self.elsewhere(block("`ask.py`"))
        exec(ask, self.names)
        self.wait_until_it_listens()

    def elsewhere(self, text: str) -> str:
        """Return a text of README with a free port in it."""
        return text.replace("8000", self.port)

    def write(self, name: str, text: str) -> None:
        """Save a program of README in the folder."""
        path = pathlib.Path(self.folder, name)
        path.write_text(self.elsewhere(text), "utf-8")

    def wait_until_it_listens(self) -> None:
        """Ask until somebody is there, unless the program says that it is."""
        end = time.monotonic() + LONG
        while "http://" not in self.said():
            if "Refused" not in self.type("ask(page)"):
                return
            if self.process.poll() is not None:
                raise AssertionError(self.said())
            if time.monotonic() > end:
                raise AssertionError("nobody listens")
            time.sleep(0.05)

    def end(self) -> None:
        """End the program, if it hasn't ended."""
        self.process.kill()
        self.process.communicate()

    def hang_up(self) -> None:
        """Close the connections that README leaves to Python."""
        clients = [*self.names.values(), *self.names.get("clients", [])]
        for client in clients:
            if isinstance(client, socket.socket):
                client.close()

    def type(self, code: str) -> str:
        """Return what Python shows when somebody types this."""
        with contextlib.redirect_stdout(io.StringIO()) as shown:
            try:
                exec(compile(f"{code}\n", "typed", "single"), self.names)
            except OSError as error:
                return f"{type(error).__name__}: {error}"
        return shown.getvalue().strip()

    def receive(self, *requests: bytes) -> "list[bytes]":
        """Return all that is answered to these requests, made at the same time."""
        connect = self.names["connect"]
        answers = []
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(connect(sent)) for sent in requests]
            for client in clients:
                file = stack.enter_context(client.makefile("rb"))
                answers.append(file.read())
        return answers

    def get(self, target: str) -> "tuple[str, str]":
        """Return the head and the content of what is answered to a GET request."""
        request = f"GET {target} HTTP/1.0\r\n\r\n"
        answer = self.receive(request.encode())[0]
        head, _, content = answer.decode().partition("\r\n\r\n")
        return head, content

    def said(self) -> str:
        """Return what the program has written so far."""
        return self.log.read_bytes().decode("utf-8", "replace")

    def last_words(self) -> str:
        """Wait until the program has ended, and return its last line."""
        self.process.wait(LONG)
        return self.said().splitlines()[-1]


def server(options: str = "") -> Program:
    """Start server.py."""
    return Program(f"server.py 8000 {options}")


def way(words: str, folder: str = "") -> Program:
    """Start the program that follows these words in README."""
    return Program("way.py 8000", block(words), folder)


def mine(pages: str, line: str = "") -> Program:
    """Start a server with this in its respond, and a line below text_content."""
    text = MINE.format(pages=pages, line=line)
    return Program("mine.py 8000", text)


class Readme(unittest.TestCase):
    def check_said(self, *quotes: str) -> None:
        """Check that README has these quotes."""
        missing = [quote for quote in quotes if f"`{quote}`" not in README]
        self.assertEqual(missing, [])

    def check(self, program: Program, code: str, shown: str = "") -> None:
        """Check that Python shows what README says when somebody types this."""
        self.check_said(code)
        if shown:
            self.check_said(shown)
        self.assertEqual(program.type(code), shown)

    def check_pages(self, program: Program) -> None:
        """Check that page and picture come, and that the page says its charset."""
        page, picture = program.receive(GET_PAGE, GET_PICTURE)
        self.assertRegex(page, b"\nContent-Type: text/html; ?charset=utf-8\r\n")
        self.assertTrue(page.endswith(b"\r\n\r\n" + PAGE))
        self.assertTrue(picture.endswith(b"\r\n\r\n" + PICTURE))

    def check_reset(self, program: Program) -> None:
        """Check that a large body ends in a reset."""
        self.check_said(LARGE)
        self.assertRegex(program.type(LARGE), RESET)

    def test_run_it(self) -> None:
        _, _, command = block("start the server").partition(" ")
        with Program(f"{command} 8000") as program:
            program.receive(GET_PAGE)
            program.receive(GET_PICTURE)
            shown = plain(program.said()).splitlines()
            expected = plain(block("The terminal shows the URL"))
            self.assertEqual(shown[0], expected.splitlines()[0])
            self.assertEqual(shown[-2:], expected.splitlines()[1:])
            program.receive(b"\x16\x03\x01")
            complaint, _ = program.said().splitlines()[-2:]
            self.check_said(complaint)

    def test_curl(self) -> None:
        curl = require("curl")
        typed, _, expected = block("`curl` is").partition("\n")
        with server() as program:
            _, _, *arguments = program.elsewhere(typed).split()
            command = [curl, "-s", "--noproxy", "*", *arguments]
            shown = subprocess.check_output(command, timeout=LONG)
        self.assertEqual(plain(shown.decode()), plain(expected))

    def test_first_breaks(self) -> None:
        with way("`first.py`") as first:
            self.check_pages(first)
            self.check(first, "ask(page)", WELL)
            self.check(first, NOWHERE, WELL)
            self.check_reset(first)
            self.check(first, 'connect(b"").close()')
            self.check_said(first.last_words())
        with way("`first.py`") as first:
            self.check(first, "client = connect(page[:4])")
            self.assertIn("ValueError", first.last_words())
        with way("`first.py`") as first:
            hasty = block("`ask.py`").replace("15", "0.5")
            exec(first.elsewhere(hasty), first.names)
            self.check(first, 'silent = connect(b"")')
            self.assertIn("timed out", first.type("ask(page)"))
            self.check_said("timed out")

    def check_survives(self, program: Program) -> None:
        """Check that empty and silent clients, and pieces, do no harm."""
        self.check_pages(program)
        self.check(program, 'connect(b"").close()')
        self.check(program, 'silent = connect(b"")')
        self.check(program, "ask(page)", WELL)
        self.check(program, "client = connect(page[:4])")
        self.check(program, "ask(page)", WELL)
        self.check(program, "client.sendall(page[4:])")
        self.check(program, "client.recv(12)", "b'HTTP/1.1 200'")

    def test_second_survives_four(self) -> None:
        with way("into `second.py`") as second:
            self.check_survives(second)
            self.assertIn("404 Not Found", second.type(NOWHERE))
            self.check_reset(second)
            self.check(second, "ask(page)", WELL)

    def test_server_survives_five(self) -> None:
        with server() as program:
            self.check_survives(program)
            shown = program.type(NOWHERE)
            self.assertIn("404 Not Found", shown)
            self.check_said(shown)
            self.check(program, LARGE, WELL)

    def start_python(self, name: str, *lines: str) -> "tuple[str, str]":
        """Return what python -i shows, and its errors, when somebody types lines."""
        self.check_said(f"python -i {name}", *lines)
        with server() as program:
            program.write(name, block(f"`{name}`"))
            done = subprocess.run(
                [sys.executable, "-i", name],
                cwd=program.folder,
                input="\n".join(lines) + "\nexit()\n",
                capture_output=True,
                text=True,
                timeout=LONG,
            )
        shown = re.sub(">>>>? ", "", done.stdout)
        return shown.strip(), done.stderr

    def test_ask(self) -> None:
        shown, _ = self.start_python("ask.py", "ask(page)")
        self.assertEqual(shown, WELL)

    def test_pause(self) -> None:
        lines = ("talk = converse()", "next(talk)", "next(talk)")
        shown, errors = self.start_python("pause.py", *lines)
        one, two, three = shown.splitlines()
        self.check_said(one, two, three)
        self.assertIn("StopIteration", errors)

    def test_map(self) -> None:
        names: list[str] = []

        def collect(nodes: "list[ast.stmt]") -> None:
            for node in nodes:
                if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
                    names.append(node.name)
                if isinstance(node, ast.ClassDef):
                    collect(node.body)

        text = (ROOT / "server.py").read_text("utf-8")
        collect(ast.parse(text).body)
        names.remove("__init__")
        quotes = re.findall(r"`(\w+)`", between("This is a map", "\n## "))
        self.assertEqual(list(dict.fromkeys(quotes)), names)

    def test_changes(self) -> None:
        pages = [
            block("**The User-Agent"),
            block("**A page made anew"),
            block("**A page that is given"),
            block("**A bug."),
        ]
        with mine("".join(pages), block("**A header field.")) as program:
            self.check_pages(program)
            head, _ = program.get("/")
            self.assertIn("\nContent-Language: en\r\n", head)
            _, content = program.get("/time")
            self.assertRegex(content, r"^\w{3} \w{3} [ \d]\d [\d:]{8} \d{4}$")
            _, content = program.get("/hello?name=Ol%C3%A1")
            self.assertEqual(content, "Hello, Olá!\n")
            _, content = program.get("/hello")
            self.assertEqual(content, "Hello, you!\n")
            _, content = program.get("/bug")
            self.check_said(content.strip())
            program.receive(b"GET / HTTP/1.0\r\nUser-Agent: me\x9b\r\n\r\n")
            lines = program.said().splitlines()
            self.assertIn(r"'me\x9b'", lines)
            bug = "ZeroDivisionError: division by zero"
            self.check_said(bug)
            self.assertIn(bug, lines)

    def test_answers(self) -> None:
        table = between("\n| status |", "\n\n")
        _, _, *rows = table.splitlines()
        with mine(block("**A bug.")) as program:
            program.type('silent = connect(b"")')
            for row in rows:
                with self.subTest(row):
                    _, status, _, example, reason, _ = row.split("|")
                    code = example.strip(" `")
                    if code.startswith("("):  # it would fill a terminal
                        code = 'b"GET /" + b"x" * 9000'
                    shown = program.type(f"ask({code})")
                    first, last = ast.literal_eval(shown)
                    _, _, answered = first.decode().partition(" ")
                    self.assertEqual(answered[:3], status.strip())
                    if reason.strip():
                        told = f"{answered}: {reason.strip()}."
                        self.assertEqual(last.decode(), told)
            (code,) = re.findall("So `(.+?)` gets 405", README)
            self.assertIn("405", program.type(f"ask({code})"))
            self.assertEqual(program.type("silent.recv(12)"), "b''")

    def test_see_it(self) -> None:
        with server("-v") as program:
            program.receive(b"HEAD / HTTP/1.0\n\n")
            expected = plain(block("press Enter twice"))
            shown = plain(program.said())
            self.assertEqual(shown[-len(expected) :], expected)
            (answer,) = program.receive(b"GET /\n")
            self.assertIn(b"version is missing", answer)

    def check_interrupt(self, program: Program) -> None:
        """Check that Ctrl-C ends a program while a client is silent."""
        self.assertIn(program.elsewhere("http://127.0.0.1:8000/"), program.said())
        if os.name == "posix":  # elsewhere nobody can send this signal to one program
            program.type('silent = connect(b"")')
            time.sleep(0.1)
            program.process.send_signal(signal.SIGINT)
            program.process.wait(LONG)

    def test_threads(self) -> None:
        self.check_said(THREE_ASK, THREE_WAIT)
        with mine("    time.sleep(0.2)\n") as program:
            began = time.monotonic()
            program.type(THREE_ASK)
            program.type(THREE_WAIT)
            self.assertGreaterEqual(time.monotonic() - began, 0.6)
        with way("With a thread for each client") as threads:
            began = time.monotonic()
            threads.type(THREE_ASK)
            self.check_pages(threads)
            threads.type(THREE_WAIT)
            # These five take a second, and in turn they would take five.
            self.assertLess(time.monotonic() - began, 4)
            self.check_interrupt(threads)

    def check_visit(self, program: Program, number: int) -> None:
        """Check that the time is told, and that the visits are counted."""
        head, content = program.get("/time")
        self.assertIn("charset=utf-8", head)
        self.assertRegex(content, rf"^.+ \d{{4}}, visit {number}\n$")

    def test_time_server(self) -> None:
        with way("**2. A time server") as program:
            self.check_pages(program)
            self.check_visit(program, 1)
            self.check_visit(program, 2)
            with way("**2. A time server", program.folder) as again:
                self.check_visit(again, 3)

    def test_library(self) -> None:
        with way("**3. The standard") as program:
            self.check_pages(program)
            self.check_interrupt(program)

    def test_framework(self) -> None:
        with way("**4. A framework") as program:
            self.check_pages(program)
            head, content = program.get("/hello")
            self.assertIn("charset=utf-8", head)
            self.assertIn("<h1>Olá!</h1>", content)

    def test_pictures(self) -> None:
        pictures = re.findall(r"\]\((\.art/.+?)\)", README)
        self.assertIn(".art/speed.svg", pictures)
        for picture in pictures:
            size = (ROOT / picture).stat().st_size
            self.assertLess(size, 400_000)
        chart = xml.etree.ElementTree.parse(ROOT / ".art" / "speed.svg")
        drawn = [text for text in chart.getroot().itertext() if text.strip()]
        _, _, *rows = between("| server |", "\n\n").splitlines()
        for row in rows:
            name, figure = re.findall(r"[\w.]+", row)
            place = drawn.index(name)
            self.assertEqual(drawn[place + 1], figure)
