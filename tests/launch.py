"""Starts a server for the tests: python launch.py FOLDER CHANGES [argument ...].

Changes are names of functions below, each with values after colons, such as
"pages limit:64". Without them, server.py runs as a user starts it. It ends when its
standard input does, so no server outlives the tests.
"""

import _thread
import builtins
import contextlib
import errno
import functools
import io
import itertools
import locale
import os
import pathlib
import runpy
import selectors
import signal
import socket
import sys
import threading
import time
from typing import Any, Callable

ROOT = pathlib.Path(__file__).resolve().parent.parent


def main() -> None:
    """Make the changes, and start the server."""
    folder, changes, *arguments = sys.argv[1:]
    threading.Thread(target=end_with_the_tests, daemon=True).start()
    sys.argv = [os.path.join(folder, "server.py"), *arguments]
    sys.path[:1] = [folder, str(ROOT)]
    if not changes:
        runpy.run_path(sys.argv[0], run_name="__main__")
        return
    for change in changes.split():
        name, *values = change.split(":")
        globals()[name](*values)
    import server

    server.main()


def end_with_the_tests() -> None:
    """End this process when whoever started it is gone."""
    os.read(0, 1)
    os._exit(1)


def replace(owner: Any, **new: Any) -> None:
    """Give an object other attributes."""
    for name, value in new.items():
        setattr(owner, name, value)


def wrap(owner: Any, new: Callable[..., Any]) -> None:
    """Let new, which gets the usual function first, take its place by the same name."""
    usual = getattr(owner, new.__name__)
    replace(owner, **{new.__name__: lambda *a, **b: new(usual, *a, **b)})


def imported() -> Any:
    """Return server.py as a module; the standard library is changed before that."""
    import server

    return server


def pages() -> None:
    """Add the pages of pages.py."""
    from tests.pages import respond

    replace(imported(), respond=respond)


def no_picture() -> None:
    """Send no picture in its place."""
    server = imported()
    replace(server, pic_content=server.Response("200 OK", "image/jpeg", b"none"))


def patience(head: str, piece: str = "60", last: str = "0.5") -> None:
    """Let clients have so many seconds."""
    times = {"HEAD_SECONDS": head, "PIECE_SECONDS": piece, "LAST_SECONDS": last}
    replace(imported(), **{name: float(value) for name, value in times.items()})


# How clients come, and what they send


def no_defer_accept() -> None:
    """Do without what only Linux has."""
    vars(socket).pop("TCP_DEFER_ACCEPT", None)


def small_reads(size: str) -> None:
    """Let requests come in pieces of so many bytes."""

    def recv(usual: Any, client: socket.socket, _: int) -> Any:
        return usual(client, int(size))

    wrap(socket.socket, recv)


def endless_bodies() -> None:
    """Let a client send its POST again and again, faster than anybody reads."""

    def recv(usual: Any, client: socket.socket, size: int) -> Any:
        piece = usual(client, size, socket.MSG_PEEK)
        return piece if piece.startswith(b"POST") else usual(client, size)

    wrap(socket.socket, recv)


def endless_newcomers() -> None:
    """Let somebody new, who is gone again, always be there."""

    def accept(usual: Any, listener: socket.socket) -> Any:
        try:
            return usual(listener)
        except BlockingIOError:
            ours, theirs = socket.socketpair()
            theirs.close()
            return ours, ("", 0)

    wrap(socket.socket, accept)


def no_addresses() -> None:
    """Let accept give no address, as macOS does for a client that is gone."""

    def accept(usual: Any, listener: socket.socket) -> Any:
        return usual(listener)[0], None

    wrap(socket.socket, accept)


# What the system refuses, or tells


def accept_fails(*names: str) -> None:
    """Let each second accept fail, with these errors in turn."""
    turns = itertools.count()

    def accept(usual: Any, listener: socket.socket) -> Any:
        turn = next(turns)
        if turn % 2:
            number = getattr(errno, names[turn // 2 % len(names)])
            raise OSError(number, os.strerror(number))
        return usual(listener)

    wrap(socket.socket, accept)


def refuse(name: str) -> None:
    """Let a function of the socket module, or a method of a socket, fail."""

    def call(*_: object, **__: object) -> None:
        raise OSError(errno.EAFNOSUPPORT, "not here")

    replace(socket if hasattr(socket, name) else socket.socket, **{name: call})


def limit(number: str) -> None:
    """Have no more descriptors than that."""
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (int(number), int(number)))


def memory_limit(megabytes: str) -> None:
    """Let the server have not much more memory than it begins with, on Linux."""
    imported()
    statm = pathlib.Path("/proc/self/statm")
    if statm.exists() and sys.implementation.name == "cpython":
        import resource

        size = int(statm.read_text().split()[0]) * resource.getpagesize()
        size += int(megabytes) << 20
        resource.setrlimit(resource.RLIMIT_AS, (size, size))


def few(number: str, name: str = "ValueError") -> None:
    """Wait with a select that can hold no more than that, as on Windows."""

    def select(usual: Any, selector: Any, timeout: float) -> Any:
        if len(selector.get_map()) > int(number):
            raise getattr(builtins, name)("too many file descriptors in select()")
        return usual(selector, timeout)

    wrap(selectors.SelectSelector, select)
    replace(selectors, DefaultSelector=selectors.SelectSelector)


def inherit(number: str) -> None:
    """Have other files open."""
    for _ in range(int(number)):
        os.dup(0)


def no_descriptors() -> None:
    """Let others take all descriptors, and give them back later."""
    limit("64")
    taken: list[int] = []

    def take() -> None:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(0))
        time.sleep(0.5)
        for number in taken:
            os.close(number)

    once_it_listens(take)


def once_it_listens(action: Callable[[], None]) -> None:
    """Call this soon after the server listens."""

    def listen(usual: Any, listener: socket.socket, size: int) -> None:
        usual(listener, size)
        threading.Timer(0.2, action).start()

    wrap(socket.socket, listen)


def as_windows() -> None:
    """Say that this isn't a POSIX system, from the first use of a socket on."""

    def getaddrinfo(usual: Any, *values: Any, **named: Any) -> Any:
        replace(os, name="nt")
        return usual(*values, **named)

    wrap(socket, getaddrinfo)


def tell_options() -> None:
    """Print the options that are set."""

    def setsockopt(usual: Any, owner: Any, level: int, option: int, value: Any) -> None:
        print(f"option {option} is {value}", flush=True)
        usual(owner, level, option, value)

    wrap(socket.socket, setsockopt)


def tell_names() -> None:
    """Print a line for each name that is looked up."""
    for name in dir(socket):
        if name.startswith(("gethostby", "getnameinfo", "getfqdn")):
            replace(socket, **{name: lambda *_: print("looked up", flush=True)})


# Bugs, streams, and programs


def bug_in_parse(name: str) -> None:
    """Raise this for one path."""

    def parse(usual: Any, received: bytes) -> Any:
        if b"/bug" in received:
            raise getattr(builtins, name)("a bug")
        return usual(received)

    wrap(imported(), parse)


def bug_in_recv(name: str) -> None:
    """Raise this while one request is received."""

    def recv(usual: Any, client: socket.socket, size: int) -> Any:
        piece = usual(client, size)
        if b"/bug" in piece:
            raise getattr(builtins, name)("a bug")
        return piece

    wrap(socket.socket, recv)


def bug_in_log(name: str) -> None:
    """Let the terminal fail for each second line."""
    turns = itertools.cycle((False, True))

    def fileno() -> int:
        if next(turns):
            raise getattr(builtins, name)("a bug")
        return 1

    sys.stdout = io.StringIO()
    replace(sys.stdout, fileno=fileno)


def program(name: str) -> None:
    """Run a program of README on a free port, and say where, as server.py does."""

    def bind(usual: Any, listener: socket.socket, place: Any) -> None:
        usual(listener, (place[0], 0))

    def listen(usual: Any, listener: socket.socket, *size: int) -> None:
        usual(listener, *size)
        host, port = listener.getsockname()
        line = f"Serving http://{host}:{port}/ (Ctrl-C stops)"
        print(line, file=sys.stderr, flush=True)

    wrap(socket.socket, bind)
    wrap(socket.socket, listen)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    runpy.run_path(name, run_name="__main__")
    sys.exit()


def french() -> None:
    """Speak another language."""
    locale.setlocale(locale.LC_ALL, "fr_FR")


def no_stdout() -> None:
    """Have no standard output, as pythonw has none."""
    replace(sys, stdout=None)


def closed_stdout() -> None:
    """Close standard output."""
    sys.stdout.close()


def idle(base: str) -> None:
    """Have streams without a descriptor, as IDLE, a notebook or a test has."""

    def write(number: int, text: str) -> int:
        return os.write(number, text.encode())

    for number, name in enumerate(("stdout", "stderr"), 1):
        replace(sys, **{name: getattr(io, base)()})
        replace(getattr(sys, name), write=functools.partial(write, number))


def interrupt() -> None:
    """Interrupt the server as IDLE does, which sends no signal."""
    once_it_listens(_thread.interrupt_main)


def twice() -> None:
    """Call main, wait for a Ctrl-C of the program's own, and call main again."""
    interrupted = threading.Event()

    def main(usual: Any) -> None:
        usual()
        print("main is over", flush=True)
        interrupted.wait()
        print("my own Ctrl-C", flush=True)
        usual()

    signal.signal(signal.SIGINT, lambda *_: interrupted.set())
    wrap(imported(), main)


if __name__ == "__main__":
    main()
