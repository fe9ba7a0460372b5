"""What the operator sees and does: the command line, the log, signals, and a system at fault."""

import contextlib
import errno
import os
import pathlib
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest
from unittest import mock

import server
from tests.support import (
    GET,
    LONG,
    ROOT,
    Server,
    descriptors,
    free_port,
    parse,
    read_all,
    require,
)

STAMP = r"\[\d\d/[A-Z][a-z]{2}/20\d\d:\d\d:\d\d:\d\d \+0000\]"
HAS_IPV6 = socket.has_ipv6 and os.path.exists("/proc/net/if_inet6")


def run(*arguments: str, folder: pathlib.Path = ROOT) -> tuple[int, str, str]:
    """Return exit status, standard output and standard error of a server.py that must fail."""
    command = [sys.executable, str(folder / "server.py"), *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=LONG)
    return ended.returncode, ended.stdout, ended.stderr


class CommandLine(unittest.TestCase):
    """Arguments, the first line, and what is said when it can't start."""

    def test_the_first_line_is_a_url(self) -> None:
        with Server() as running:
            port = running.address[1]
            line = f"Serving http://127.0.0.1:{port}/ (Ctrl-C stops)\n"
            self.assertEqual(running.first_line, line)
            self.assertEqual(parse(running.ask()).status, 200)

    def test_all_addresses(self) -> None:
        with Server("--bind", "0.0.0.0") as running:
            self.assertEqual(running.address[0], "127.0.0.1")
            self.assertEqual(parse(running.ask()).status, 200)

    @unittest.skipUnless(HAS_IPV6, "this system has no IPv6")
    def test_ipv6(self) -> None:
        for bind in ("::1", "::"):
            with self.subTest(bind), Server("--bind", bind) as running:
                self.assertRegex(running.url, r"^http://\[::1\]:\d+/$")
                self.assertEqual(parse(running.ask()).status, 200)
                self.assertRegex(running.log()[0], rf'^::1 - - {STAMP} "GET / HTTP/1.1" 200 \d+$')

    def test_a_port_of_ones_own_and_another_folder(self) -> None:
        port = free_port()
        with Server(str(port), cwd=tempfile.gettempdir()) as running:
            self.assertEqual(running.address[1], port)
            self.assertEqual(parse(running.ask()).status, 200)
        with Server(str(port)) as running:  # at once again: SO_REUSEADDR
            self.assertEqual(running.address[1], port)

    def test_bad_arguments(self) -> None:
        for arguments in (["70000"], ["-1"], ["65536"], ["x"], ["1", "2"], ["--nonsense"]):
            with self.subTest(arguments):
                status, _, errors = run(*arguments)
                self.assertEqual(status, 2)
                self.assertIn("usage: ", errors)
                self.assertNotIn("Traceback", errors)

    def test_one_sentence_for_what_it_cannot_use(self) -> None:
        with Server() as running:
            busy = str(running.address[1])
            for arguments, words in (
                ([busy], ["127.0.0.1", f"port {busy}", "in use", "port"]),
                (["0", "--bind", "203.0.113.1"], ["203.0.113.1"]),
                (["0", "--bind", "a" * 70], ["a" * 70]),
                (["0", "--bind", "\u00e4" * 70], ["Cannot use"]),
            ):
                with self.subTest(arguments):
                    self.one_sentence(run(*arguments), words)

    def test_one_sentence_for_a_missing_file(self) -> None:
        for missing in ("index.html", "test.jpg"):
            with self.subTest(missing), tempfile.TemporaryDirectory() as name:
                for file in {"server.py", "index.html", "test.jpg"} - {missing}:
                    shutil.copy(ROOT / file, name)
                self.one_sentence(run("0", folder=pathlib.Path(name)), [missing, "No such file"])
                os.mkdir(os.path.join(name, missing))  # there, but unreadable
                self.one_sentence(run("0", folder=pathlib.Path(name)), [missing, "directory"])

    def one_sentence(self, ended: tuple[int, str, str], words: list[str]) -> None:
        """Assert exit status 1, nothing but one line on standard error, and words in it."""
        status, output, errors = ended
        self.assertEqual((status, output, errors.count("\n")), (1, "", 1), errors)
        for word in words:
            self.assertIn(word, errors)


class Ports(unittest.TestCase):
    """The port asked for, without a listener."""

    def test_ports(self) -> None:
        for arguments, port in (([], 8000), (["0"], 0), (["65535"], 65535)):
            with (
                self.subTest(port),
                mock.patch.object(sys, "argv", ["server.py", *arguments]),
                mock.patch.object(socket.socket, "bind", side_effect=OSError("not now")) as bind,
                self.assertRaisesRegex(SystemExit, f"127.0.0.1 port {port} .not now"),
            ):
                server.main()
            bind.assert_called_once_with(("127.0.0.1", port))

    def test_nobody_shares_it(self) -> None:
        for system, reuses in (("posix", True), ("nt", False)):  # nt: there, it means sharing
            with (
                self.subTest(system),
                mock.patch.object(os, "name", system),
                mock.patch.object(sys, "argv", ["server.py", "0"]),
                mock.patch.object(socket.socket, "setsockopt") as setsockopt,
                mock.patch.object(socket.socket, "settimeout") as settimeout,
                mock.patch.object(socket.socket, "bind", side_effect=OSError("not now")),
                self.assertRaises(SystemExit),
            ):
                server.main()
            timeouts = [call.args[0] for call in settimeout.call_args_list]
            self.assertEqual(timeouts, [None if reuses else 0.5])  # or Ctrl-C would wait there
            options = [call.args[1] for call in setsockopt.call_args_list]
            self.assertEqual(socket.SO_REUSEADDR in options, reuses)


class Log(unittest.TestCase):
    """One line for each response, in the Common Log Format, with nothing dangerous in it."""

    def test_lines(self) -> None:
        page, picture = ((ROOT / name).stat().st_size for name in ("index.html", "test.jpg"))
        with Server() as running:
            for request, entry in (
                (GET, f'"GET / HTTP/1.1" 200 {page}'),
                (b"GET /test.jpg HTTP/1.0\n\n", f'"GET /test.jpg HTTP/1.0" 200 {picture}'),
                (b"HEAD / HTTP/1.0\n\n", '"HEAD / HTTP/1.0" 200 -'),
                (b'GET /"\x1b[2J\\\xff\r\r\n\r\n', r'"GET /\x22\x1b[2J\\\xff" 400 61'),
            ):
                running.ask(request)
                line = running.log()[-1]
                self.assertRegex(line, rf"^127\.0\.0\.1 - - {STAMP} ")
                self.assertTrue(line.endswith(" " + entry), line)
            self.assertEqual(len(running.log()), 4)

    def test_date_and_log_have_the_time(self) -> None:
        whole, when = server.dated(b"HTTP/1.1 200 OK\r\n\r\nx\r\n", 784111777)
        date = b"Date: Sun, 06 Nov 1994 08:49:37 GMT"  # 9110 5.6.7
        self.assertEqual(whole, b"HTTP/1.1 200 OK\r\n" + date + b"\r\n\r\nx\r\n")
        self.assertEqual(when, "06/Nov/1994:08:49:37 +0000")
        with Server() as running:
            dates = [parse(running.ask()).fields["date"]]
            while len(dates) < 40 and dates[0] == dates[-1]:  # it changes with the second
                time.sleep(0.05)
                dates.append(parse(running.ask()).fields["date"])
            now = time.strftime("%a, %d %b %Y %H:%M", time.gmtime())
            self.assertEqual(dates[-1][: len(now) - 1], now[:-1])
            self.assertNotEqual(dates[0], dates[-1])

    def test_verbose(self) -> None:
        with Server("-v") as running:
            running.ask(b"\r\nGET /none HTTP/1.0\r\nA: b\x1b\xe4\"'\r\n\r\nbody: not shown")
            shown = running.log()
        self.assertEqual(
            shown[:4],
            ["> GET /none HTTP/1.0", "> A: b\\x1b\\xe4\"\\'", "> ", "< HTTP/1.1 400 Bad Request"],
        )
        self.assertRegex(shown[4], "^< Date: ")
        self.assertEqual(
            shown[5:8],
            ["< Content-Type: text/plain", "< Content-Length: 61", "< Connection: close"],
        )
        self.assertEqual(shown[8], "< ")
        self.assertRegex(shown[9], r'"GET /none HTTP/1.0" 400 61$')
        self.assertEqual(len(shown), 10)  # fmt: skip

    def test_a_word_about_tls(self) -> None:
        with Server() as running:
            for _ in range(
                3
            ):  # it is said once: nobody may be reading, and a full pipe would block
                self.assertEqual(parse(running.ask(b"\x16\x03\x01\x02\x00\x01")).status, 400)
            status, errors = running.stop()
        self.assertEqual((status, errors), (0, "That was TLS: open http://, not https://\n"))

    def test_no_names_are_looked_up(self) -> None:
        forbid = "socket.getfqdn = socket.gethostbyaddr = socket.getnameinfo = None"
        with Server(code=forbid) as running:
            self.assertEqual(parse(running.ask()).status, 200)


class Stopping(unittest.TestCase):
    """SIGTERM and Ctrl-C: whoever has asked is answered, then it ends with 0."""

    def test_idle(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number), Server() as running:
                self.assertEqual(running.stop(number), (0, ""))

    def test_a_full_queue_is_answered(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number), Server() as running, contextlib.ExitStack() as stack:
                running.process.send_signal(signal.SIGSTOP)
                clients = [stack.enter_context(running.connect(GET)) for _ in range(100)]
                running.process.send_signal(number)
                running.process.send_signal(signal.SIGCONT)
                answers = [parse(read_all(client)).status for client in clients]
                self.assertEqual(answers, [200] * 100)
                self.assertEqual(running.process.wait(LONG), 0)
                self.assertEqual(len(running.log()), 100)

    def test_beside_a_stalled_client(self) -> None:
        took = []
        for _ in range(3):
            with Server() as running, running.connect(GET[:9]) as stalled:
                time.sleep(0.05)  # it is being waited for, with 10 seconds' patience
                began = time.monotonic()
                self.assertEqual(running.stop(), (0, ""))
                took.append(time.monotonic() - began)
                self.assertEqual(parse(read_all(stalled)).status, 408)
            if took[-1] < 1:
                break
        self.assertLess(min(took), 1)

    def test_a_queue_that_does_not_end(self) -> None:
        slow = "server.converse = lambda client, *_: (time.sleep(0.1), client.close())"
        took = [9.0]
        while took[-1] >= 1.0 and len(took) < 4:
            with Server(code=slow) as running, contextlib.ExitStack() as stack:
                for _ in range(100):  # these take ten seconds
                    stack.enter_context(running.connect(GET))
                began = time.monotonic()
                running.process.send_signal(signal.SIGTERM)
                time.sleep(0.5)
                self.assertEqual(running.stop(signal.SIGINT), (0, ""))  # which adds no time
                took.append(time.monotonic() - began)
        self.assertLess(min(took), 1.0)

    def test_a_crowd_that_stalls_costs_no_answer(self) -> None:
        answered: list[int] = []
        while len(answered) < 4 and answered[-1:] != [10]:
            with Server() as running, contextlib.ExitStack() as stack:
                running.process.send_signal(signal.SIGSTOP)
                for _ in range(200):
                    stack.enter_context(running.connect(GET[:9]))
                clients = [stack.enter_context(running.connect(GET)) for _ in range(10)]
                running.process.send_signal(signal.SIGTERM)
                running.process.send_signal(signal.SIGCONT)
                answered.append(0)
                for client in clients:
                    with contextlib.suppress(OSError):  # a busy machine can be too slow for them
                        answered[-1] += read_all(client)[9:12] == b"200"
                self.assertEqual(running.process.wait(LONG), 0)
        self.assertEqual(answered[-1], 10)

    def test_a_signal_after_the_end(self) -> None:
        stop = mock.Mock()
        with (
            mock.patch.object(server, "write"),
            mock.patch.object(signal, "signal", stop),
            mock.patch.object(sys, "argv", ["server.py", "0"]),
            mock.patch.object(socket.socket, "accept", side_effect=BlockingIOError),
        ):
            server.main()
            for number, handler in [call.args for call in stop.call_args_list]:
                handler(number, None)  # its listener is closed, and that is no matter

    def test_no_new_clients_while_it_ends(self) -> None:
        with Server() as running:
            running.stop()
            with self.assertRaises(ConnectionRefusedError):
                running.connect()

    def test_a_second_ctrl_c_ends_it_at_once(self) -> None:
        slow = "server.converse = lambda *_: time.sleep(60)"  # nothing that would end by itself
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(number), Server(code=slow) as running, running.connect(GET):
                time.sleep(0.2)
                running.process.send_signal(number)
                time.sleep(0.2)
                self.assertIsNone(running.process.poll())
                deadline = time.monotonic() + LONG
                while running.process.poll() is None and time.monotonic() < deadline:
                    running.process.send_signal(number)  # two at once may be one to it
                    time.sleep(0.05)
                self.assertEqual(running.stop(number), (-number, ""))


class Faults(unittest.TestCase):
    """Nothing that goes wrong around it ends it, or costs a response."""

    def test_a_log_that_cannot_be_written(self) -> None:
        page = (ROOT / "index.html").read_bytes()
        reader, writer = os.pipe()
        os.close(reader)
        with open("/dev/full", "wb") as full, os.fdopen(writer, "wb") as broken:
            for name, options in (
                ("full", {"stdout": full}),
                ("its reader gone", {"stdout": broken}),
                ("closed", {"preexec_fn": lambda: os.close(1)}),
                ("closed with standard input", {"preexec_fn": lambda: os.closerange(0, 2)}),
            ):
                with self.subTest(name), Server(**options) as running:
                    for _ in range(3):  # and no line of the log goes to a client instead
                        self.assertEqual(parse(running.ask()).content, page)
                    self.assertEqual(running.stop(), (0, ""))

    def test_no_other_descriptor_takes_the_place_of_the_log(self) -> None:
        with tempfile.TemporaryFile() as other:  # which would take what is written
            with Server(stdin=other, preexec_fn=lambda: os.close(1)) as running:
                self.assertEqual(parse(running.ask()).status, 200)
            self.assertEqual(os.fstat(other.fileno()).st_size, 0)

    def test_standard_error_that_cannot_be_written(self) -> None:
        with tempfile.TemporaryFile() as log:
            port = str(free_port())
            command = f'exec "{sys.executable}" "{ROOT / "server.py"}" {port} 2>&-'
            process = subprocess.Popen(["/bin/sh", "-c", command], stdout=log)
            try:
                deadline = time.monotonic() + LONG
                raw = b""
                while not raw and time.monotonic() < deadline:
                    with contextlib.suppress(ConnectionRefusedError):
                        with socket.create_connection(("127.0.0.1", int(port))) as client:
                            client.sendall(b"\x16")
                            raw = read_all(client)
                    time.sleep(0.01)
                self.assertEqual(parse(raw).status, 400)
            finally:
                process.terminate()
                self.assertEqual(process.wait(LONG), 0)

    def test_accept_that_fails(self) -> None:
        names = ("ECONNABORTED", "EMFILE", "ENFILE", "ENOBUFS", "ENOMEM")
        listener = mock.MagicMock(spec=socket.socket)
        listener.__enter__.return_value = listener
        listener.getsockname.return_value = ("127.0.0.1", 1)
        failures = [OSError(getattr(errno, name), name) for name in names]
        failures.append(socket.timeout())  # in Python 3.9 this is no TimeoutError
        listener.accept.side_effect = [*failures, BlockingIOError()]
        with (
            mock.patch.object(server, "write"),
            mock.patch.object(time, "sleep") as sleep,
            mock.patch.object(socket, "socket", return_value=listener),
            mock.patch.object(signal, "signal"),
            mock.patch.object(sys, "argv", ["server.py", "0"]),
        ):
            server.main()  # it ends, since stop was called, when nobody is left
        self.assertEqual(listener.accept.call_count, len(failures) + 1)
        pauses = [call.args[0] for call in sleep.call_args_list]
        self.assertEqual(len(pauses), len(failures))
        self.assertTrue(all(0.01 <= pause <= 0.5 for pause in pauses))

    def test_a_client_without_an_address(self) -> None:
        client = mock.MagicMock(spec=socket.socket)  # so macOS gives one that was reset
        with (
            mock.patch.object(server, "write"),
            mock.patch.object(server, "converse") as converse,
            mock.patch.object(signal, "signal"),
            mock.patch.object(sys, "argv", ["server.py", "0"]),
            mock.patch.object(
                socket.socket, "accept", side_effect=[(client, None), BlockingIOError]
            ),
        ):
            server.main()
        self.assertEqual(converse.call_args.args[:2], (client, "-"))

    @unittest.skipUnless(hasattr(resource, "prlimit"), "this system has no prlimit")
    def test_out_of_descriptors(self) -> None:
        with Server() as running, running.connect(GET) as client:
            read_all(client)
            pid = running.process.pid
            soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (4, hard))
            with running.connect(GET) as waiting:
                busy = cpu_seconds(pid)
                time.sleep(0.5)
                self.assertLess(cpu_seconds(pid) - busy, 0.2)
                resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
                self.assertEqual(parse(read_all(waiting)).status, 200)

    def test_clients_that_vanish(self) -> None:
        reset = struct.pack("ii", 1, 0)  # SO_LINGER of no time: close resets the connection
        with Server() as running:
            before = descriptors(running.process.pid)
            for sent in (b"", b"G", GET[:-2], GET, b"POST\r\n\r\n", b"GET /test.jpg HTTP/1.0\n\n"):
                for stopped in (True, False):  # reset before accept, and while it is served
                    for vanish in (socket.SO_LINGER, None):
                        if stopped:
                            running.process.send_signal(signal.SIGSTOP)
                        client = running.connect(sent)
                        if vanish:
                            client.setsockopt(socket.SOL_SOCKET, vanish, reset)
                        client.close()
                        running.process.send_signal(signal.SIGCONT)
                    self.assertEqual(parse(running.ask()).status, 200)
            self.assertEqual(descriptors(running.process.pid), before)
            self.assertEqual(running.stop(), (0, ""))


class Curl(unittest.TestCase):
    """curl, where it is installed."""

    def curl(self, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
        """Return what curl did, which must succeed."""
        command = [require("curl"), "--silent", "--show-error", "--max-time", "10", *arguments]
        ended = subprocess.run(command, capture_output=True, timeout=LONG)
        self.assertEqual((ended.returncode, ended.stderr), (0, b""))
        return ended

    def test_page_and_picture(self) -> None:
        with Server() as running:
            for path, file in (("", "index.html"), ("test.jpg", "test.jpg")):
                got = self.curl(running.url + path).stdout
                self.assertEqual(got, (ROOT / file).read_bytes())
            head = self.curl("-i", running.url).stdout.partition(b"\r\n\r\n")[0]
            self.assertTrue(head.startswith(b"HTTP/1.1 200 OK\r\n"))
            self.assertRegex(self.curl("-I", running.url).stdout, rb"^HTTP/1\.1 200 OK\r\n")

    def test_a_large_body_gets_its_answer(self) -> None:
        with Server() as running, tempfile.NamedTemporaryFile() as body:
            body.write(b"x" * 20_000_000)
            body.flush()
            for expect in ("Expect: 100-continue", "Expect:"):
                got = self.curl("-H", expect, "--data-binary", "@" + body.name, running.url).stdout
                self.assertTrue(got.startswith(b"405 Method Not Allowed: "), got)


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used, as Linux counts it."""
    numbers = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(numbers[11]) + int(numbers[12])) / os.sysconf("SC_CLK_TCK")
