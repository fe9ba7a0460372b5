"""What the operator sees and does: the command line, the log, and how it ends."""

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

from tests.support import (
    GET,
    HALF,
    LONG,
    PAGE,
    ROOT,
    Server,
    free_port,
    on_posix,
    read_all,
    read_answer,
    require,
    until,
)

MONTHS = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
STAMP = rf"\[\d\d/(?:{MONTHS})/20\d\d:\d\d:\d\d:\d\d \+0000\]"
LINE = re.compile(rf'127\.0\.0\.1 - - {STAMP} "([ !#-~]*)" (\d+) (\d+)')
FILES = ("server.py", "index.html", "test.jpg")
FORBIDDEN = {"asyncio", "http", "multiprocessing", "socketserver", "ssl", "subprocess"}
Ended = subprocess.CompletedProcess[str]


def run(*arguments: str, folder: pathlib.Path = ROOT, changes: str = "") -> Ended:
    """Run a server.py that must end by itself, with warnings as errors."""
    script = [str(folder / "server.py")]
    if changes:
        script = [str(ROOT / "tests" / "launch.py"), str(ROOT), changes]
    command = [sys.executable, "-X", "dev", "-W", "error", *script, *arguments]
    reader, writer = os.pipe()
    with open(reader), open(writer, "w"):  # launch.py ends when nobody can write to it
        return subprocess.run(
            command, stdin=reader, capture_output=True, text=True, timeout=LONG
        )


def ipv6_addresses() -> list[str]:
    """Return what can be bound here, with link-local ones where the system tells."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:  # compiled in, maybe, but off
        return []
    addresses = ["::1", "::"]
    with contextlib.suppress(FileNotFoundError):
        for line in pathlib.Path("/proc/net/if_inet6").read_text().splitlines():
            digits, *_, interface = line.split()
            if digits.startswith("fe80"):
                words = ":".join(re.findall("....", digits))
                addresses.append(f"{words}%{interface}")
    return addresses


class CommandLine(unittest.TestCase):
    """Arguments, the first line, and what is said when it can't start."""

    def one_sentence(self, ended: Ended, *words: str) -> None:
        """Assert exit status 1, one line on standard error, and words in it."""
        self.assertEqual((ended.returncode, ended.stdout), (1, ""), ended.stderr)
        self.assertEqual(ended.stderr.count("\n"), 1, ended.stderr)
        for word in words:
            self.assertRegex(ended.stderr, word)

    def test_the_first_line_is_a_url(self) -> None:
        """It can be clicked, also where everybody is let in."""
        for arguments in ((), ("--bind", "0.0.0.0")):
            with self.subTest(arguments), Server(*arguments) as running:
                self.assertEqual(running.url, f"http://127.0.0.1:{running.address[1]}/")
                running.check()
                self.assertEqual(running.errors(), "")

    @unittest.skipUnless(ipv6_addresses(), "this system has no IPv6")
    def test_ipv6(self) -> None:
        """The URL has brackets, and the log has none."""
        for address in ipv6_addresses():
            with self.subTest(address), Server("--bind", address) as running:
                if "%" in address:  # the URL leaves it out
                    running.address = (address, running.address[1])
                running.check()
                self.assertRegex(running.url, r"^http://\[(::1|fe80:[^]]+)\]:\d+/$")
                self.assertRegex(running.log()[0], r'^[0-9a-f:]+(%\w+)? - - \[.+\] "G')

    def test_only_where_it_is_told(self) -> None:
        """Another address of this computer isn't bound."""
        with contextlib.closing(socket.socket()) as probe:
            try:
                probe.bind(("127.0.0.2", 0))
            except OSError:
                self.skipTest("this system has one address of its own only")
        with Server() as running, self.assertRaises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", running.address[1]), LONG).close()

    def test_a_port_again_at_once(self) -> None:
        """Even if its last connections were closed by the server just now."""
        port = free_port()
        for _ in range(3):
            with Server(str(port)) as running, running.connect(HALF):
                self.assertEqual(running.address[1], port)
                running.ask()

    def test_who_may_share_a_port(self) -> None:
        """On Windows, the option that allows it would let two servers share it."""
        line = f"option {int(socket.SO_REUSEADDR)} is True"
        for changes, told in (
            ("tell_options", True),
            ("as_windows tell_options", False),
        ):
            with self.subTest(changes), Server(changes=changes) as running:
                shared = told and os.name == "posix"
                self.assertEqual(line in running.log(), shared)

    def test_bad_arguments(self) -> None:
        """They get the usual message, and exit status 2."""
        lines = (
            "70000",
            "65536",
            "-1",
            "x",
            "1 2",
            "--nonsense",
            "--bind",
            "0 --bind=",
        )
        for arguments in lines:
            with self.subTest(arguments):
                ended = run(*arguments.split())
                self.assertEqual((ended.returncode, ended.stdout), (2, ""))
                form = r"\Ausage: (?s:.*)\nserver\.py: error: .*\n\Z"
                self.assertRegex(ended.stderr, form)

    def test_help(self) -> None:
        """It names all arguments."""
        ended = run("--help")
        self.assertEqual((ended.returncode, ended.stderr), (0, ""))
        for word in ("port", "--bind ADDRESS", "-v", "8000", "0.0.0.0"):
            self.assertIn(word, ended.stdout)

    def test_one_sentence_for_what_it_cannot_use(self) -> None:
        """A busy port, an address that isn't ours, a name that is none."""
        in_use = "in use|Only one usage"  # on Windows
        with Server() as running:
            busy = str(running.address[1])
            words = ("127.0.0.1", f"port {busy}", in_use, "another")
            self.one_sentence(run(busy), *words)
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError):  # somebody else keeps it busy, then
                stack.enter_context(socket.create_server(("127.0.0.1", 8000)))
            self.one_sentence(run(), "port 8000")
        umlauts = os.fsdecode("\u00e4".encode() * 70)  # as they are in this locale
        for bind in ("203.0.113.1", "a" * 70, umlauts):
            with self.subTest(bind):
                self.one_sentence(run("65535", "--bind", bind), "port 65535", "Cannot")
        for call in ("getaddrinfo", "bind", "listen"):
            with self.subTest(call):
                ended = run("0", changes=f"refuse:{call}")
                self.one_sentence(ended, "127.0.0.1 port 0", "not here")

    def copy(self, name: str, *files: str) -> pathlib.Path:
        """Return a folder with copies of these files."""
        folder = pathlib.Path(name, os.fsdecode("d\u00e9j\u00e0 vu".encode()))
        folder.mkdir()
        for file in files:
            shutil.copyfile(ROOT / file, folder / file)
        return folder

    def test_one_sentence_for_a_missing_file(self) -> None:
        """Even if the port is busy, which it finds out later."""
        with Server() as running:
            for missing in FILES[1:]:
                with self.subTest(missing), tempfile.TemporaryDirectory() as name:
                    folder = self.copy(name, *{*FILES} - {missing})
                    for _ in ("it isn't there", "it can't be read"):
                        ended = run(str(running.address[1]), folder=folder)
                        self.one_sentence(ended, missing)
                        (folder / missing).mkdir(exist_ok=True)

    def test_from_another_folder(self) -> None:
        """Its files are those beside it, also if it is started by a link."""
        with tempfile.TemporaryDirectory() as name:
            folder = self.copy(name, *FILES)
            (folder / "index.html").write_bytes(b"here")
            with Server(folder=folder, cwd=tempfile.gettempdir()) as running:
                self.assertEqual(running.get("/").content, b"here")
            try:
                pathlib.Path(name, "server.py").symlink_to(folder / "server.py")
            except OSError:
                self.skipTest("this user may make no symbolic links")
            with Server(folder=pathlib.Path(name)) as running:
                self.assertEqual(running.get("/").content, b"here")

    def test_what_it_imports(self) -> None:
        """Of networking, only sockets and what waits on them."""
        code = "import sys; sys.path += sys.argv; import server; print(*sys.modules)"
        command = [sys.executable, "-BISc", code, str(ROOT)]
        modules = subprocess.check_output(command, text=True, timeout=LONG).split()
        self.assertIn("selectors", modules)
        self.assertFalse(FORBIDDEN & {*modules})


class Log(unittest.TestCase):
    """One line for each response, in the Common Log Format, and nothing dangerous."""

    def test_lines(self) -> None:
        """What a client sent is escaped, and can be unescaped."""
        rows = {  # a request, and what is logged of it
            GET: b"GET / HTTP/1.1",
            b"GET /test.jpg?\xc3\xa4 HTTP/1.0\n\n": b"GET /test.jpg?\xc3\xa4 HTTP/1.0",
            b"\r\nHEAD / HTTP/1.0\n\n": b"HEAD / HTTP/1.0",
            b"GET /\"\x1b[2J\\x\x7f\t'\n\n": b"GET /\"\x1b[2J\\x\x7f\t'",
            b"GET /\rx\x00\n\n": b"GET /\rx\x00",
            b"\x16\x03\x01\n": b"\x16\x03\x01",
            b"GET /" + b"a" * 9000: b"GET /" + b"a" * 8187,
        }
        buffered = {**os.environ, "PYTHONUNBUFFERED": ""}  # the server writes at once
        with Server(env=buffered) as running:
            for number, (request, start_line) in enumerate(rows.items(), 1):
                with self.subTest(start_line[:40]):
                    answer = read_answer(running.ask(request))
                    line = LINE.fullmatch(running.log()[-1])
                    self.assertEqual((bool(line), len(running.log())), (True, number))
                    logged, status, size = line.groups() if line else ("", "", "")
                    raw = logged.encode().decode("unicode_escape").encode("latin-1")
                    self.assertEqual(raw, start_line)
                    self.assertEqual(int(status), answer.status)
                    self.assertEqual(int(size), len(answer.content))

    def test_before_the_response(self) -> None:
        """The line is there when the first byte comes."""
        with Server(changes="pages") as running:
            with running.connect(b"GET /size?8000000 HTTP/1.0\r\n\r\n", 4096) as client:
                client.recv(1)
                self.assertTrue(running.log()[0].endswith(" 200 8000000"))

    def test_the_time(self) -> None:
        """Date and log have that of the response, to the second."""
        rows = {
            784111777: ("Sun, 06 Nov 1994 08:49:37 GMT", "06/Nov/1994:08:49:37 +0000"),
            784111778: ("Sun, 06 Nov 1994 08:49:38 GMT", "06/Nov/1994:08:49:38 +0000"),
            951782400: ("Tue, 29 Feb 2000 00:00:00 GMT", "29/Feb/2000:00:00:00 +0000"),
            951782399.9: (
                "Mon, 28 Feb 2000 23:59:59 GMT",
                "28/Feb/2000:23:59:59 +0000",
            ),
        }
        with Server(changes="pages") as running:
            for second, (date, stamp) in rows.items():
                answer = running.get(f"/clock?{second}")
                self.assertEqual(answer.fields["date"], date)
                self.assertIn(f"[{stamp}]", running.log()[-1])

    def test_a_client_without_an_address(self) -> None:
        """On macOS, one that is gone has none."""
        with Server(changes="no_addresses") as running:
            running.check()
            self.assertRegex(running.log()[0], rf'^- - - {STAMP} "GET / HTTP/1.0" 200')

    def test_english_in_any_locale(self) -> None:
        """Names of days and months aren't translated."""
        with tempfile.TemporaryDirectory() as folder:
            names = ("-i", "fr_FR", "-f", "ISO-8859-1", f"{folder}/fr_FR")
            command = [require("localedef"), *names]
            if subprocess.run(command, capture_output=True, timeout=LONG).returncode:
                self.skipTest("this system has no sources of a French locale")
            environment = {**os.environ, "LOCPATH": folder}
            with Server(changes="french pages", env=environment) as running:
                date = running.get("/clock?981000000").fields["date"]
                self.assertEqual(date, "Thu, 01 Feb 2001 04:00:00 GMT")
                self.assertIn("/Feb/", running.log()[0])

    def test_verbose(self) -> None:
        """Both heads are shown line by line, and no body."""
        request = b"\r\nGET /none HTTP/1.0\r\nA: b\x1b\xe4'\r\n\r\nbody: not shown"
        with Server("-v") as running:
            running.ask(request)
            *shown, line = running.log()
        self.assertEqual(shown[:2], ["> GET /none HTTP/1.0", "> A: b\\x1b\\xe4'"])
        self.assertEqual(shown[2], "< HTTP/1.1 400 Bad Request")
        fields = sorted(line.partition(":")[0] for line in shown[3:])
        names = ["< Connection", "< Content-Length", "< Content-Type", "< Date"]
        self.assertEqual(fields, names)
        self.assertRegex(line, r'^127.*"GET /none HTTP/1.0" 400 \d+$')

    def test_no_names_are_looked_up(self) -> None:
        """That can take seconds."""
        with Server("--bind", "0.0.0.0", changes="tell_names") as running:
            running.check()
            self.assertEqual(len(running.log()), 1)

    def test_a_word_about_tls(self) -> None:
        """When somebody types https:// into a browser."""
        with Server() as running:
            answer = read_answer(running.ask(b"\x16\x03\x01\x02\x00\x01"))
            self.assertEqual(answer.status, 400)
            self.assertRegex(running.errors(), r"\A.*TLS.* http://.*\n\Z")


class Streams(unittest.TestCase):
    """A log that can't be written costs no response; no line is glued to another."""

    @on_posix
    def test_a_log_that_cannot_be_written(self) -> None:
        """A closed pipe, a full disk, no standard output."""
        reader, writer = os.pipe()
        os.close(reader)
        path = "/dev/full" if os.path.exists("/dev/full") else os.devnull
        full = os.open(path, os.O_WRONLY)
        rows: tuple[dict[str, Any], ...] = (
            {"changes": "no_stdout"},
            {"changes": "closed_stdout"},
            {"stdout": writer},
            {"stdout": full},
        )
        for row in rows:
            with self.subTest(row), Server("-v", **row) as running:
                for _ in range(3):
                    running.check()
                self.assertEqual(running.log(), [])
                self.assertEqual(running.errors(), "")
        os.close(writer)
        os.close(full)

    @on_posix
    def test_a_pipe_that_is_full(self) -> None:
        """Lines are whole or missing, whatever the pipe takes of one."""
        long = b"GET /%b\n" % (b"\xff" * 5000)
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        with Server(stdout=writer) as running:
            logged = b""
            for _ in range(5):
                for _ in range(6):  # which is more than the pipe holds
                    self.assertEqual(read_answer(running.ask(long)).status, 400)
                logged += os.read(reader, 1 << 20)
            running.ask()
            logged += os.read(reader, 1 << 20)
        os.close(reader)
        os.close(writer)
        for line in logged.decode().splitlines():
            self.assertRegex(line, rf"\A{LINE.pattern}\Z")

    @on_posix
    def test_a_file_that_must_not_grow(self) -> None:
        """Nor are lines glued together where the disk is full."""
        long = b"GET /%b\n" % (b"\xff" * 5000)
        with Server(changes="file_limit:300000") as running:
            for _ in range(20):
                self.assertEqual(read_answer(running.ask(long)).status, 400)
            self.assertEqual(running.log_file.stat().st_size, 300_000)
            for line in running.log()[:-1]:
                self.assertRegex(line, rf"\A{LINE.pattern}\Z")

    def test_streams_without_a_descriptor(self) -> None:
        """In IDLE, a notebook or a test the same text is written."""
        for base in ("TextIOBase", "StringIO"):
            with self.subTest(base), Server("-v", changes=f"idle:{base}") as running:
                self.assertEqual(read_answer(running.ask()).content, PAGE)
                *shown, line = running.log()
                lines = ["> GET / HTTP/1.1", "> Host: x", "< HTTP/1.1 200 OK"]
                self.assertEqual(shown[:3], lines)
                self.assertTrue(LINE.fullmatch(line))


class Ending(unittest.TestCase):
    """How it ends, and what goes on then."""

    @on_posix
    def test_ctrl_c_in_a_terminal(self) -> None:
        """It says nothing, and the port is free."""
        import fcntl
        import pty
        import termios

        def take_terminal() -> None:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        ours, theirs = pty.openpty()
        terminal: dict[str, Any] = {
            "stdin": theirs,
            "stdout": theirs,
            "start_new_session": True,
        }
        with Server(**terminal, preexec_fn=take_terminal) as running:
            running.ask()
            self.assertTrue(select.select([ours], [], [], LONG)[0])
            self.assertRegex(os.read(ours, 1000).decode(), rf"\A{LINE.pattern}\r\n\Z")
            os.write(ours, b"\x03")
            self.assertEqual(running.process.wait(LONG), 0)
            self.assertEqual(running.errors(), "")
            with self.assertRaises(ConnectionRefusedError):
                running.connect()
        os.close(ours)
        os.close(theirs)

    def test_an_interrupt_without_a_signal(self) -> None:
        """So does IDLE, and Ctrl-C on Windows is like it."""
        with Server(changes="idle:TextIOBase interrupt") as running:
            with running.connect(HALF):
                self.assertEqual(running.process.wait(LONG), 0)
            self.assertEqual(running.errors(), "")

    @on_posix
    def test_a_program_that_goes_on(self) -> None:
        """It can call main again, and Ctrl-C is its own between and after."""
        with Server(changes="twice") as running:
            with running.connect(HALF) as client:
                running.check()
                running.process.send_signal(signal.SIGTERM)
                self.assertEqual(read_all(client), b"")
            until(lambda: "main is over" in running.log())
            running.process.send_signal(signal.SIGINT)
            until(lambda: "my own Ctrl-C" in running.log())
            port = until(running.errors).split(":")[2].partition("/")[0]
            running.address = ("127.0.0.1", int(port))
            running.check()
