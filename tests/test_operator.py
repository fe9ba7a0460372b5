"""What the operator sees and does: the command line, the log, and how it ends."""

import ast
import contextlib
import ipaddress
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
    LARGE,
    LONG,
    ROOT,
    Server,
    free_port,
    on_linux,
    on_posix,
    read_all,
    read_answer,
    require,
    until,
)

MONTHS = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
STAMP = rf"\[\d\d/(?:{MONTHS})/20\d\d:\d\d:\d\d:\d\d \+0000\]"
LINE = re.compile(rf'\A127\.0\.0\.1 - - {STAMP} "([ !#-~]*)" (\d+) (\d+)\Z')
FORBIDDEN = {"asyncio", "http", "multiprocessing", "socketserver", "ssl", "subprocess"}
INTERFACES = pathlib.Path("/proc/net/if_inet6")
Ended = subprocess.CompletedProcess[str]


def run(*arguments: str, folder: pathlib.Path = ROOT, changes: str = "") -> Ended:
    """Run a server.py that must end by itself, with warnings as errors."""
    launch = [str(ROOT / "tests" / "launch.py"), str(folder), changes]
    command = [sys.executable, "-X", "dev", "-W", "error", *launch, *arguments]
    reader, writer = os.pipe()
    with open(reader), open(writer, "w"):  # launch.py ends when nobody can write to it
        return subprocess.run(
            command, stdin=reader, capture_output=True, text=True, timeout=LONG
        )


def ipv6_addresses() -> dict[str, str]:
    """Return what can be bound here, and its place in the URL."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:  # compiled in, maybe, but off
        return {}
    hosts = {"::1": "[::1]", "::": "[::1]"}
    text = INTERFACES.read_text() if INTERFACES.exists() else ""
    for digits, name in re.findall(r"^(fe80\w+) .* (\w+)$", text, re.MULTILINE):
        address = ipaddress.ip_address(bytes.fromhex(digits))
        hosts[f"{address}%{name}"] = f"[{address}]"
    return hosts


class CommandLine(unittest.TestCase):
    """Arguments, the first line, and what is said when it can't start."""

    def test_the_first_line_is_a_url(self) -> None:
        """It can be clicked, also where everybody is let in."""
        for address, host in {"0.0.0.0": "127.0.0.1", **ipv6_addresses()}.items():
            with self.subTest(address), Server("--bind", address) as running:
                _, port = running.address
                url = re.sub(r"%\w+", "", running.url)  # only PyPy has it in there
                self.assertEqual(url, f"http://{host}:{port}/")
                if "%" in address:
                    running.address = (address, port)
                running.check()
                self.assertRegex(running.log()[0], r'^[0-9a-f:.]+(%\w+)? - - \[.+\] "G')
        if not ipv6_addresses():
            self.skipTest("this system has no IPv6")

    @on_linux
    def test_only_where_it_is_told(self) -> None:
        """Another address of this computer isn't bound."""
        with Server() as running:
            running.address = ("127.0.0.2", running.address[1])
            with self.assertRaises(ConnectionRefusedError):
                running.connect()

    def test_a_port_again_at_once(self) -> None:
        """Even if its last connections were closed by the server just now."""
        port = free_port()
        for _ in range(2):
            with Server(str(port)) as running, running.connect(HALF):
                self.assertEqual(running.address[1], port)
                running.ask()

    def test_no_port_is_shared_on_windows(self) -> None:
        """There, the option that gives a port again would let two servers share it."""
        with Server(changes="as_windows tell_options") as running:
            option = rf"option {int(socket.SO_REUSEADDR)} is (True|1)"
            self.assertNotRegex("\n".join(running.log()), option)

    def test_bad_arguments(self) -> None:
        """They get the usual message, and exit status 2."""
        for line in ("65536", "-1", "x", "1 2", "--nonsense", "--bind", "0 --bind="):
            with self.subTest(line):
                ended = run(*line.split())
                self.assertEqual((ended.returncode, ended.stdout), (2, ""))
                form = r"\Ausage: (?s:.*)\nserver\.py: error: .*\n\Z"
                self.assertRegex(ended.stderr, form)

    def test_help(self) -> None:
        """It names all arguments."""
        ended = run("--help")
        self.assertEqual((ended.returncode, ended.stderr), (0, ""))
        for word in ("port", "--bind ADDRESS", "-v", "8000", "0.0.0.0"):
            self.assertIn(word, ended.stdout)

    def one_sentence(self, ended: Ended, *words: str) -> None:
        """Assert exit status 1, one line on standard error, and words in it."""
        self.assertEqual((ended.returncode, ended.stdout), (1, ""), ended.stderr)
        self.assertEqual(ended.stderr.count("\n"), 1, ended.stderr)
        for word in words:
            self.assertRegex(ended.stderr, word)

    def test_one_sentence_for_what_it_cannot_use(self) -> None:
        """A busy port, an address that isn't ours, a name that is none."""
        in_use = "in use|10048"  # on Windows, whose words are in its own language
        with Server() as running:
            busy = str(running.address[1])
            words = ("127.0.0.1", f"port {busy}", in_use, "another")
            self.one_sentence(run(busy), *words)
        umlauts = os.fsdecode("\u00e4".encode() * 70)  # as they are in this locale
        for bind in ("203.0.113.1", umlauts):
            with self.subTest(bind):
                self.one_sentence(run("65535", "--bind", bind), "port 65535", "Cannot")
        for call in ("getaddrinfo", "listen"):
            with self.subTest(call):
                self.one_sentence(run(changes=f"refuse:{call}"), "port 8000", "Cannot")

    def test_its_files(self) -> None:
        """They are those beside it, and it says so if one can't be read."""
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name, os.fsdecode("d\u00e9j\u00e0 vu".encode()))
            folder.mkdir()
            for file in ("server.py", "test.jpg"):
                shutil.copy(ROOT / file, folder)
            (folder / "index.html").write_bytes(b"here")
            folders = [folder]
            with contextlib.suppress(OSError):  # this user may make no symbolic links
                link = pathlib.Path(name, "server.py")
                link.symlink_to(folder / "server.py")
                link.stat()  # Wine says that it has made one, and has not
                folders.append(pathlib.Path(name))
            for each in folders:
                with Server(folder=each, cwd=tempfile.gettempdir()) as running:
                    self.assertEqual(running.get("/").content, b"here")
            for missing in ("test.jpg", "index.html"):
                (folder / missing).unlink()
                self.one_sentence(run("0", folder=folder), missing)
                (folder / missing).mkdir()
                self.one_sentence(run("0", folder=folder), missing)

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
        """What a client sent is escaped, and can be unescaped; no name is looked up."""
        rows = {  # a request, and what is logged of it
            GET: b"GET / HTTP/1.1",
            b"GET /test.jpg?\xc3\xa4 HTTP/1.0\n\n": b"GET /test.jpg?\xc3\xa4 HTTP/1.0",
            b"\r\nHEAD / HTTP/1.0\n\n": b"HEAD / HTTP/1.0",
            b"GET /\"\x1b[2J\\x\x7f\t'\n\n": b"GET /\"\x1b[2J\\x\x7f\t'",
            b"GET /\rx\x00\n\n": b"GET /\rx\x00",
            b"\x16\x03\x01\n": b"\x16\x03\x01",
            b"GET /" + b"a" * 9000: b"GET /" + b"a" * 8187,
        }
        with Server("--bind", "0.0.0.0", changes="tell_names") as running:
            for number, (request, start_line) in enumerate(rows.items(), 1):
                with self.subTest(start_line[:40]):
                    answer = read_answer(running.ask(request))
                    self.assertEqual(len(running.log()), number)
                    self.assertRegex(running.log()[-1], LINE)
                    _, logged, end = running.log()[-1].split('"')
                    self.assertEqual(ast.literal_eval(f'b"{logged}"'), start_line)
                    expected = f" {answer.status} {len(answer.content)}"
                    self.assertEqual(end, expected)
            about_tls = r"\A.*TLS.* http://.*\n\Z"
            self.assertRegex(running.errors(), about_tls)

    def test_before_the_response(self) -> None:
        """The line is there when the first byte comes."""
        with Server(changes="pages") as running:
            with running.connect(LARGE, 4096) as client:
                client.recv(1)
                self.assertTrue(running.log()[0].endswith(" 200 8000000"))

    def test_the_time(self) -> None:
        """Date and log have that of the response, to the second."""
        rows = {
            "784111777": ("Sun, 06 Nov 1994", "06/Nov/1994", "08:49:37"),
            "951782399.9": ("Mon, 28 Feb 2000", "28/Feb/2000", "23:59:59"),
        }
        with Server(changes="pages") as running:
            for second, (date, day, clock) in rows.items():
                answer = running.get(f"/clock?{second}")
                self.assertEqual(answer.fields["date"], f"{date} {clock} GMT")
                self.assertIn(f"[{day}:{clock} +0000]", running.log()[-1])

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

    def test_a_client_without_an_address(self) -> None:
        """On macOS, one that is gone has none."""
        with Server(changes="no_addresses") as running:
            running.check()
            self.assertRegex(running.log()[0], rf'^- - - {STAMP} "GET / HTTP/1.0" 200')

    def test_verbose(self) -> None:
        """Both heads are shown, and no body, on IDLE's streams as on others."""
        request = b"\r\nGET /none HTTP/1.0\r\nA: b\x1b\xe4'\r\n\r\nbody: not shown"
        for changes in ("", "idle:TextIOBase", "idle:StringIO"):
            with self.subTest(changes), Server("-v", changes=changes) as running:
                running.ask(request)
                asked, field, answered, *fields, line = running.log()
                self.assertEqual(asked, "> GET /none HTTP/1.0")
                self.assertEqual(field, r"> A: b\x1b\xe4'")
                self.assertEqual(answered, "< HTTP/1.1 400 Bad Request")
                for each in fields:
                    self.assertRegex(each, r"^< [A-Z][\w-]+: .+")
                self.assertRegex(line, LINE)


class Streams(unittest.TestCase):
    """A log that can't be written costs no response; no line is glued to another."""

    @on_posix
    def test_a_log_that_cannot_be_written(self) -> None:
        """A closed pipe, a full disk, no standard output."""
        reader, writer = os.pipe()
        os.close(reader)
        path = "/dev/full" if os.path.exists("/dev/full") else os.devnull
        with open(writer, "w") as pipe, open(path, "w") as full:
            rows: tuple[dict[str, Any], ...] = (
                {"changes": "no_stdout"},
                {"changes": "closed_stdout"},
                {"stdout": pipe},
                {"stdout": full},
            )
            for row in rows:
                with self.subTest(row), Server("-v", **row) as running:
                    for _ in range(3):
                        running.check()
                    self.assertEqual(running.errors(), "")

    @on_posix
    def test_a_pipe_that_is_full(self) -> None:
        """Lines are whole or missing, whatever the pipe takes of one."""
        long = b"GET /%b\n" % (b"\xff" * 5000)
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        logged = b""
        with open(reader, "rb", 0) as pipe, open(writer, "w") as log:
            with Server(stdout=log) as running:
                for _ in range(5):
                    for _ in range(6):  # which is more than the pipe holds
                        self.assertEqual(read_answer(running.ask(long)).status, 400)
                    logged += pipe.read(1 << 20)
                running.ask()
                logged += pipe.read(1 << 20)
        for line in logged.decode().splitlines():
            self.assertRegex(line, LINE)


class Ending(unittest.TestCase):
    """How it ends, and what goes on then."""

    @on_posix
    def test_ctrl_c_in_a_terminal(self) -> None:
        """It says nothing, and the port is free."""
        import fcntl
        import pty
        import termios

        ours, theirs = pty.openpty()
        with Server(
            stdin=theirs,
            stdout=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        ) as running:
            running.ask()
            self.assertTrue(select.select([ours], [], [], LONG)[0])
            line = os.read(ours, 1000).decode()
            self.assertRegex(line.removesuffix("\r\n"), LINE)
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
            (port,) = re.findall(r":(\d+)/", until(running.errors))
            running.address = ("127.0.0.1", int(port))
            running.check()
