"""What the operator sees and does: the command line, the log, the streams, and how it ends."""

import contextlib
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import unittest
from typing import Any

from tests.support import GET, LONG, ROOT, Server, free_port, parse, read_all, require

on_posix = unittest.skipUnless(os.name == "posix", "Windows has neither these signals nor files")
MONTHS = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
STAMP = rf"\[\d\d/(?:{MONTHS})/20\d\d:\d\d:\d\d:\d\d \+0000\]"
PAGE = (ROOT / "index.html").read_bytes()
FILES = ("server.py", "index.html", "test.jpg")
FORBIDDEN = "http socketserver asyncio ssl threading multiprocessing subprocess _thread concurrent"
IDLE = """
import io, os
class Shell(io.TextIOBase):  # its fileno raises io.UnsupportedOperation
    def __init__(self, number):
        self.number = number
    def write(self, text):
        return os.write(self.number, text.encode())
sys.stdout, sys.stderr = Shell(1), Shell(2)
"""


def run(*arguments: str, folder: pathlib.Path = ROOT, code: str = "") -> tuple[int, str, str]:
    """Return exit status, standard output and standard error of a server.py that must end."""
    script = ["-c", f"import server, socket\n{code}\nserver.main()"]
    command = [sys.executable, *(script if code else ["server.py"]), *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=LONG, cwd=folder)
    return ended.returncode, ended.stdout, ended.stderr


def ipv6_addresses() -> list[str]:
    """Return what can be bound here, with a link-local address where the system lists them."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
        lines = pathlib.Path("/proc/net/if_inet6").read_text().splitlines()
    except FileNotFoundError:
        return ["::1", "::"]
    except OSError:  # compiled in, maybe, but off
        return []
    link_local = [line.split() for line in lines if line.startswith("fe80")]
    return ["::1", "::", *(f"{':'.join(re.findall('....', a[0]))}%{a[5]}" for a in link_local)]


class CommandLine(unittest.TestCase):
    """Arguments, the first line, and what is said when it can't start."""

    def one_sentence(self, ended: tuple[int, str, str], *words: str) -> None:
        """Assert exit status 1, nothing but one line on standard error, and words in it."""
        status, output, errors = ended
        self.assertEqual((status, output, errors.count("\n")), (1, "", 1), errors)
        for word in words:
            self.assertIn(word, errors)

    def test_the_first_line_is_a_url(self) -> None:
        for arguments in ((), ("--bind", "0.0.0.0")):
            with self.subTest(arguments), Server(*arguments) as running:
                line = f"Serving http://127.0.0.1:{running.address[1]}/ (Ctrl-C stops)\n"
                self.assertEqual(running.first_line, line)
                self.assertEqual(parse(running.ask()).content, PAGE)

    @unittest.skipUnless(ipv6_addresses(), "this system has no IPv6")
    def test_ipv6(self) -> None:
        for address in ipv6_addresses():
            with self.subTest(address), Server("--bind", address) as running:
                if "%" in address:  # the URL leaves it out
                    running.address = (address, running.address[1])
                self.assertEqual(parse(running.ask()).content, PAGE)
                self.assertRegex(running.url, r"^http://\[(::1|fe80:[0-9a-f:]+(%\w+)?)\]:\d+/$")
                self.assertRegex(running.log()[0], rf'^[0-9a-f:]+(%\w+)? - - {STAMP} "GET / ')

    def test_only_where_it_is_told(self) -> None:
        with Server() as running, self.assertRaises(OSError):
            socket.create_connection(("127.0.0.2", running.address[1]), timeout=1.0).close()

    def test_a_port_again_at_once(self) -> None:
        port = free_port()
        for _ in range(3):  # whose last connections it has closed, and still knows
            with Server(str(port)) as running, running.connect(GET[:9]):
                self.assertEqual(running.address[1], port)
                running.ask()

    def test_bad_arguments(self) -> None:
        for arguments in ("70000", "65536", "-1", "x", "1 2", "--nonsense", "--bind", "0 --bind="):
            with self.subTest(arguments):
                status, output, errors = run(*arguments.split())
                self.assertEqual((status, output), (2, ""))
                self.assertRegex(errors, r"^usage: (?s:.*)\nserver\.py: error: .*\n$")

    def test_help(self) -> None:
        status, output, errors = run("--help")
        self.assertEqual((status, errors), (0, ""))
        for word in ("port", "--bind ADDRESS", "-v", "8000", "0.0.0.0"):
            self.assertIn(word, output)

    def test_one_sentence_for_what_it_cannot_use(self) -> None:
        with Server() as running:
            busy = running.address[1]
            self.one_sentence(run(str(busy)), "127.0.0.1", f"port {busy}", "in use", "another")
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError):  # somebody else keeps it busy, then
                stack.enter_context(socket.create_server(("127.0.0.1", 8000)))
            self.one_sentence(run(), "port 8000")
        umlauts = os.fsdecode("\u00e4".encode() * 70)  # as they are in this locale
        for bind, port in (("203.0.113.1", "65535"), ("a" * 70, "0"), (umlauts, "0")):
            with self.subTest(bind):
                self.one_sentence(run(port, "--bind", bind), f"port {port}", "Cannot use")
        for refused in ("getaddrinfo", "socket.__init__", "socket.setsockopt"):
            code = f"def refuse(*_, **__): raise OSError(97, 'not here')\nsocket.{refused} = refuse"
            with self.subTest(refused):
                self.one_sentence(run("0", code=code), "127.0.0.1 port 0", "not here")

    def test_one_sentence_for_a_missing_file(self) -> None:
        with Server() as running:  # whose port would be another sentence
            for missing in ("index.html", "test.jpg"):
                with self.subTest(missing), tempfile.TemporaryDirectory() as name:
                    folder = pathlib.Path(name)
                    for file in {*FILES} - {missing}:
                        shutil.copy(ROOT / file, folder)
                    for _ in ("it isn't there", "it can't be read"):
                        self.one_sentence(run(str(running.address[1]), folder=folder), missing)
                        (folder / missing).mkdir(exist_ok=True)

    def test_from_another_folder(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name) / os.fsdecode("d\u00e9j\u00e0 vu".encode())
            folder.mkdir()
            for file in FILES:
                shutil.copy(ROOT / file, folder)
            (folder / "index.html").write_bytes(b"here")
            with Server(folder=folder, cwd=tempfile.gettempdir()) as running:
                self.assertEqual(parse(running.ask()).content, b"here")
            try:
                (pathlib.Path(name) / "server.py").symlink_to(folder / "server.py")
            except OSError:
                self.skipTest("this user may make no symbolic links")
            with Server(folder=pathlib.Path(name)) as running:
                self.assertEqual(parse(running.ask()).content, b"here")

    def test_what_it_imports(self) -> None:
        text = (ROOT / "server.py").read_text("utf-8")
        modules = {*re.findall(r"^\s*(?:import|from) (\w+)", text, re.MULTILINE)}
        self.assertIn("socket", modules)
        self.assertFalse(modules & {*FORBIDDEN.split()})


class Log(unittest.TestCase):
    """One line for each response, in the Common Log Format, with nothing dangerous in it."""

    def test_lines(self) -> None:
        rows = (  # a request, what is logged of it once unescaped, the status
            (GET, b"GET / HTTP/1.1", "200"),
            (b"GET /test.jpg?\xc3\xa4 HTTP/1.0\n\n", b"GET /test.jpg?\xc3\xa4 HTTP/1.0", "200"),
            (b"\r\nHEAD / HTTP/1.0\n\n", b"HEAD / HTTP/1.0", "200"),
            (b'GET /"\x1b[2J\\x\x7f\t\n\n', b'GET /"\x1b[2J\\x\x7f\t', "400"),
            (b"GET /\rx\x00\n\n", b"GET /\rx\x00", "400"),
            (b"\x16\x03\x01\n", b"\x16\x03\x01", "400"),
            (b"GET /" + b"a" * 9000, b"GET /" + b"a" * 8187, "414"),
        )
        form = re.compile(rf'127\.0\.0\.1 - - {STAMP} "([ !#-~]*)" (\d+) (\d+)')
        buffered = {**os.environ, "PYTHONUNBUFFERED": ""}  # the server itself writes at once
        with Server(env=buffered) as running:
            for number, (request, start_line, status) in enumerate(rows, 1):
                with self.subTest(start_line[:40]):
                    size = len(parse(running.ask(request)).content)
                    self.assertEqual(len(running.log()), number)  # it is there at once
                    line = form.fullmatch(running.log()[-1])
                    assert line, running.log()[-1]
                    logged = line[1].encode().decode("unicode_escape").encode("latin-1")
                    self.assertEqual(logged, start_line)
                    self.assertEqual((line[2], line[3]), (status, str(size)))

    def test_a_client_without_an_address(self) -> None:
        as_macos_does = """
def accept(listener, usual=socket.socket.accept):
    return usual(listener)[0], None  # so it is when the client has gone
socket.socket.accept = accept"""
        with Server(code=as_macos_does) as running:
            self.assertEqual(parse(running.ask()).content, PAGE)
            self.assertRegex(running.log()[0], rf'^- - - {STAMP} "GET / HTTP/1.1" 200 \d+$')

    def test_english_in_any_locale(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            command = [require("localedef"), "-i", "fr_FR", "-f", "ISO-8859-1", f"{folder}/fr_FR"]
            if subprocess.run(command, capture_output=True, timeout=LONG).returncode:
                self.skipTest("this system has no sources of a French locale")
            code = "import locale; locale.setlocale(locale.LC_ALL, 'fr_FR')"
            with Server(code=code, env={**os.environ, "LOCPATH": folder}) as running:
                date = parse(running.ask()).fields["date"]
                self.assertRegex(date, rf"^(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d ({MONTHS}) 20\d\d ")
                self.assertRegex(running.log()[0], STAMP)

    def test_verbose(self) -> None:
        with Server("-v") as running:
            running.ask(b"\r\nGET /none HTTP/1.0\r\nA: b\x1b\xe4\"'\r\n\r\nbody: not shown")
            shown = running.log()
        self.assertEqual(shown[:2], ["> GET /none HTTP/1.0", "> A: b\\x1b\\xe4\"'"])
        self.assertEqual(shown[2], "< HTTP/1.1 400 Bad Request")
        fields = [line.partition(":")[0] for line in shown[3:-1]]
        names = ["< Connection", "< Content-Length", "< Content-Type", "< Date"]
        self.assertEqual(sorted(fields), names)
        self.assertRegex(shown[-1], r'^127.*"GET /none HTTP/1.0" 400 \d+$')

    def test_no_names_are_looked_up(self) -> None:
        names = ("getfqdn", "gethostbyaddr", "gethostbyname", "gethostbyname_ex", "getnameinfo")
        code = "def tell(*_): print('looked up', flush=True)\n"
        code += "".join(f"socket.{name} = tell\n" for name in names)
        with Server("--bind", "0.0.0.0", code=code) as running:
            self.assertEqual(parse(running.ask()).content, PAGE)
            self.assertEqual(len(running.log()), 1)

    @on_posix
    def test_a_word_about_tls(self) -> None:
        with Server() as running:
            self.assertEqual(parse(running.ask(b"\x16\x03\x01\x02\x00\x01")).status, 400)
            self.assertEqual(running.kill(), "That was TLS: open http://, not https://\n")


class Streams(unittest.TestCase):
    """A log that can't be written costs no response, and one without a descriptor is written."""

    @on_posix
    def test_a_log_that_cannot_be_written(self) -> None:
        reader, writer = os.pipe()
        os.close(reader)
        full = os.open("/dev/full" if os.path.exists("/dev/full") else os.devnull, os.O_WRONLY)
        number, other = tempfile.mkstemp()  # which is no place for the log
        rows: tuple[dict[str, Any], ...] = (
            {"code": "sys.stdout = None"},
            {"code": "sys.stdout.close()", "stdin": number},
            {"preexec_fn": lambda: os.close(1), "stdin": number},
            {"preexec_fn": lambda: os.closerange(0, 2)},
            {"stdout": writer},
            {"stdout": full},
        )
        for row in rows:
            with self.subTest(row), Server("-v", **row) as running:
                for _ in range(3):
                    self.assertEqual(parse(running.ask()).content, PAGE)
                self.assertEqual(running.log(), [])
        self.assertEqual(os.path.getsize(other), 0)
        for descriptor in (writer, full, number):
            os.close(descriptor)
        os.unlink(other)

    def test_streams_without_a_descriptor(self) -> None:
        for code in (IDLE, IDLE.replace("TextIOBase", "StringIO")):  # as in a notebook, or a test
            with self.subTest(code), Server("-v", code=code) as running:
                self.assertEqual(parse(running.ask()).content, PAGE)
                shown = running.log()
                self.assertEqual(shown[:3], ["> GET / HTTP/1.1", "> Host: x", "< HTTP/1.1 200 OK"])
                self.assertRegex(shown[-1], rf'^127\S+ - - {STAMP} "GET / HTTP/1.1" 200 \d+$')


class Ending(unittest.TestCase):
    """How it ends, and what goes on then."""

    @on_posix
    def test_ctrl_c_in_a_terminal(self) -> None:
        import fcntl
        import pty
        import termios

        ours, theirs = pty.openpty()
        terminal: dict[str, Any] = {"stdin": theirs, "stdout": theirs, "start_new_session": True}
        terminal["preexec_fn"] = lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        with Server(**terminal) as running:
            running.ask()
            self.assertTrue(select.select([ours], [], [], LONG)[0])
            self.assertRegex(
                os.read(ours, 1000).decode(), rf'{STAMP} "GET / HTTP/1.1" 200 \d+\r\n$'
            )
            os.write(ours, b"\x03")
            _, errors = running.process.communicate(timeout=LONG)
            self.assertEqual((running.process.returncode, errors), (0, b""))
            with self.assertRaises(ConnectionRefusedError):
                running.connect()
        os.close(ours)
        os.close(theirs)

    def test_an_interrupt_that_wakes_nothing(self) -> None:
        interrupt = """
import _thread, atexit, threading
began = []
def interrupt():
    began.extend((time.monotonic(), time.process_time()))
    _thread.interrupt_main()  # as IDLE does, which sends no signal
threading.Timer(0.3, interrupt).start()
atexit.register(lambda: print(time.monotonic() - began[0], time.process_time() - began[1]))"""

        def ends_soon() -> bool:
            with Server(code=IDLE + interrupt) as running, running.connect(GET[:9]):
                self.assertEqual(running.process.wait(LONG), 0)
                seconds, computed = map(float, running.log()[-1].split())
                return seconds < 1.0 and computed < 0.1  # it waits, and doesn't try all the time

        self.assertTrue(any(ends_soon() for _ in range(4)))  # busy machines are slow

    @on_posix
    def test_a_program_that_imports_it(self) -> None:
        code = """
server.respond = lambda request: server.make_response("200 OK", "text/plain", b"of its own")
server.main()
print("and on", flush=True)"""
        with Server("-v", code=code) as running:
            self.assertEqual(parse(running.ask()).content, b"of its own")
            with running.connect(GET[:9]) as set_aside:
                running.ask()
                running.process.send_signal(signal.SIGTERM)
                if sys.implementation.name == "cpython":  # others let go of it later
                    self.assertEqual(read_all(set_aside), b"")
            assert running.process.stderr
            line = running.process.stderr.readline().decode()  # it calls main once more
            running.address = ("127.0.0.1", int(line.split(":")[2].partition("/")[0]))
            self.assertEqual(parse(running.ask()).content, b"of its own")
            self.assertEqual(running.log().count("and on"), 1)
