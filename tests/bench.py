"""Measure server.py next to nginx, http.server and a bare loop; print a table of ratios.

    python tests/bench.py            about five minutes
    python tests/bench.py --quick    one short round, under 40 seconds

The way of a figure: main starts all servers; measure puts one under load, by wrk where that is
installed and else by our own client, while the others are idle; table shows medians of ratios.
"""

import argparse
import contextlib
import json
import os
import pathlib
import platform
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from typing import NamedTuple

PROJECT = pathlib.Path(__file__).resolve().parent.parent
CONTENTS = {"/": PROJECT / "index.html", "/test.jpg": PROJECT / "test.jpg"}
SERVERS = ("server.py", "nginx", "http.server", "bare loop")
STARTS = 9  # the median of their times is shown
PATIENCE = 10.0  # seconds for a server to start, to answer, to end
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
HEAD = """GET {path} HTTP/1.1
Host: 127.0.0.1:{port}
Connection: keep-alive
Cache-Control: max-age=0
sec-ch-ua: "Chromium";v="130", "Google Chrome";v="130", "Not?A_Brand";v="99"
sec-ch-ua-mobile: ?0
sec-ch-ua-platform: "Linux"
Upgrade-Insecure-Requests: 1
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
Chrome/130.0.0.0 Safari/537.36
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,\
*/*;q=0.8,application/signed-exchange;v=b3;q=0.7
Sec-Fetch-Site: none
Sec-Fetch-Mode: navigate
Sec-Fetch-User: ?1
Sec-Fetch-Dest: document
Accept-Encoding: gzip, deflate, br, zstd
Accept-Language: en-GB,en;q=0.9
""".replace("\n", "\r\n")  # as Chrome sends it; the empty line at its end comes later
SAME = r'wrk.format = function() return %s .. "\r\n" end'
DIFFERING = r"""local threads, count = 0, 0
function setup(thread) thread:set("id", threads) threads = threads + 1 end
function request() count = count + 1
return %s .. "X-Request: " .. id .. "." .. count .. "\r\n\r\n" end"""
NGINX = """{user} daemon off; worker_processes 1; worker_rlimit_nofile 4096; pid nginx.pid;
error_log nginx.err; events {{ worker_connections 2048; }}
http {{ access_log nginx.log; sendfile on; keepalive_timeout 0;
types {{ text/html html; image/jpeg jpg; }} client_body_temp_path t1; proxy_temp_path t2;
fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
server {{ listen 127.0.0.1:{port}; root "{root}"; }} }}"""
BARE_LOOP = r"""import socket, sys
head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
page, picture = (head % len(c) + c for c in (open(f, "rb").read() for f in sys.argv[2:]))
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=socket.SOMAXCONN)
while True:
    client, address = listener.accept()
    try: client.sendall(picture if client.recv(65536).startswith(b"GET /test.jpg") else page)
    except OSError: pass
    client.close()"""


class Case(NamedTuple):
    """A row of the table."""

    path: str
    connections: int  # open at once
    heads: str  # "same" or "differing" in each request


CASES = [
    Case(path, connections, heads)
    for connections in (8, 512)
    for path, heads in (("/", "same"), ("/", "differing"), ("/test.jpg", "same"))
]


class Server(NamedTuple):
    """A server that runs and answers."""

    process: "subprocess.Popen[str]"
    port: int
    log: pathlib.Path


class Load(NamedTuple):
    """What the clients saw, in seconds, and what it cost the server."""

    requests: int
    rate: float  # requests a second
    median: float  # of the latencies
    slow: float  # their 99th percentile
    errors: int
    cpu: float = 0.0  # seconds for each request; 0: not to be had


Round = dict[str, Load]  # by the servers' names


def main() -> None:
    """Start the servers, measure them in turn, print the table."""
    parser = argparse.ArgumentParser(description="Measure server.py next to other servers.")
    parser.add_argument("--seconds", type=int, default=2, help="of each load, default 2")
    parser.add_argument("--rounds", type=int, default=5, help="default 5")
    parser.add_argument("--quick", action="store_true", help="one round, one second each")
    args = parser.parse_args()
    if min(args.seconds, args.rounds) < 1:
        parser.error("seconds and rounds are numbers from 1")
    seconds, rounds = (1, 1) if args.quick else (args.seconds, args.rounds)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit("Ended."))  # and so the servers are ended, too
    with contextlib.ExitStack() as stack:
        directory = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ready, empty = start_times(directory)
        started = {name: start(name, directory, stack) for name in SERVERS}
        servers = {name: server for name, server in started.items() if server}
        before = peak_memory(servers["server.py"])
        results = measure_all(servers, rounds, seconds, directory)
        after = peak_memory(servers["server.py"])
    client = "wrk" if shutil.which("wrk") else "bench.py's own client, itself a limit to req/s"
    python = f"{platform.python_implementation()} {platform.python_version()}"
    missing = ", ".join(name for name in SERVERS if name not in servers) or "nothing"
    print(f"{time.strftime('%Y-%m-%d')}, {python}, {os.cpu_count()} CPUs, load by {client}.")
    print(f"server.py divided by the other, CPU for each request; rounds: {rounds}, of {seconds} s")
    print("each, medians; latency of server.py; errors of", "/".join(SERVERS), "in all rounds.")
    print(f"Not to be had here: {missing}{'' if before else ', CPU and memory (no /proc)'}.\n")
    print(table(results))
    print(f"\nserver.py: peak memory {before:.1f} MiB before the load, {after:.1f} MiB after it;")
    print(f"first answer {ready * 1000:.0f} ms after its start, {ready / empty:.1f} times what an")
    print(f"empty Python program takes (medians of {STARTS} starts).")


def progress(text: str) -> None:
    """Show text in the place of the one before."""
    print(f"\r{text:<79}", end="" if text else "\r", file=sys.stderr, flush=True)


def pin(cores: list[int]) -> None:
    """Keep this process, and what it starts, on these cores, where there is more than one."""
    if len(CORES) > 1:
        os.sched_setaffinity(0, cores)


def start_times(directory: pathlib.Path) -> tuple[float, float]:
    """Return medians in seconds: server.py until its first answer, an empty program as a whole."""
    ready, empty = [], []
    for number in range(STARTS):
        progress(f"start {number + 1} of {STARTS}")
        with contextlib.ExitStack() as stack:
            began = time.monotonic()
            start("server.py", directory, stack)
            ready.append(time.monotonic() - began)
        pin(CORES[:1])
        began = time.monotonic()
        subprocess.run([sys.executable, "-c", ""], check=True, timeout=PATIENCE)
        empty.append(time.monotonic() - began)
    return statistics.median(ready), statistics.median(empty)


def start(name: str, directory: pathlib.Path, stack: contextlib.ExitStack) -> "Server | None":
    """Start a server, which ends with the stack, and wait until it answers; None: it can't."""
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if name == "nginx" and not nginx:
        return None
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    user = "user root;" if hasattr(os, "geteuid") and os.geteuid() == 0 else ""
    configuration = directory / "nginx.conf"
    configuration.write_text(NGINX.format(user=user, port=port, root=PROJECT))
    commands = {
        "server.py": [sys.executable, "server.py", "0"],
        "nginx": [str(nginx), "-p", f"{directory}/", "-c", str(configuration)],
        "http.server": [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)],
        "bare loop": [sys.executable, "-c", BARE_LOOP, str(port), *map(str, CONTENTS.values())],
    }
    log_path = directory / f"{name}.log"
    pin(CORES[:1])
    with open(log_path, "ab") as log:
        errors = subprocess.PIPE if name == "server.py" else log  # it says its port there
        command = commands[name]
        process = subprocess.Popen(command, cwd=PROJECT, stdout=log, stderr=errors, text=True)
    stack.enter_context(process)
    stack.callback(stop, process)
    pin(CORES[1:])
    if process.stderr:
        impatience = threading.Timer(PATIENCE, process.kill)
        impatience.start()
        said = re.search(r":(\d+)/", process.stderr.readline())
        impatience.cancel()
        port = int(said[1]) if said else 0
    server = Server(process, port, log_path)
    if answers(server):
        return server
    return sys.exit("server.py does not start.") if name == "server.py" else None


def stop(process: "subprocess.Popen[str]") -> None:
    """End a server."""
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()


def answers(server: Server) -> bool:
    """Return whether a server answers in time; whoever came before has then had its answer."""
    end = time.monotonic() + PATIENCE
    while server.process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(OSError):
            with socket.create_connection(("127.0.0.1", server.port), 1) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                while client.recv(65536):
                    pass
                return True
        time.sleep(0.01)
    return False


def measure_all(
    servers: dict[str, Server], rounds: int, seconds: int, directory: pathlib.Path
) -> dict[Case, list[Round]]:
    """Measure each server in each case, one after the other, every second round in reverse."""
    results: dict[Case, list[Round]] = {case: [] for case in CASES}
    for turn in range(rounds):
        for case in CASES:
            results[case].append({})
            for name in list(servers)[:: -1 if turn % 2 else 1]:
                progress(f"round {turn + 1} of {rounds}: {' '.join(map(str, case))}, {name}")
                results[case][-1][name] = measure(servers[name], case, seconds, directory)
    progress("")
    return results


def measure(server: Server, case: Case, seconds: int, directory: pathlib.Path) -> Load:
    """Put a server under load; its clients' requests are over, and its log empty, afterwards."""
    head = HEAD.format(path=case.path, port=server.port)
    before = cpu_seconds(server.process.pid)
    if shutil.which("wrk"):
        load = load_by_wrk(server.port, case, head, seconds, directory / "head.lua")
    else:
        load = load_by_threads(server.port, case, head, seconds)
    cpu = cpu_seconds(server.process.pid) - before
    if not answers(server):
        sys.exit(f"{server.log.stem} does not answer any more after {case}")
    os.truncate(server.log, 0)
    return load._replace(cpu=cpu / max(load.requests, 1))


def load_by_wrk(port: int, case: Case, head: str, seconds: int, script: pathlib.Path) -> Load:
    """Let wrk send requests, and read its report."""
    script.write_text((SAME if case.heads == "same" else DIFFERING) % json.dumps(head))
    threads = min(case.connections, max(1, len(CORES) - 1))  # or the load is what one measures
    command = ["wrk", f"-t{threads}", f"-c{case.connections}", f"-d{seconds}s", "--latency"]
    command += ["-s", str(script), f"http://127.0.0.1:{port}{case.path}"]
    report = subprocess.run(
        command, capture_output=True, check=True, text=True, timeout=seconds + PATIENCE
    ).stdout
    units = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}
    latencies = re.findall(r"\n +(?:50|99)% +([\d.]+)(us|ms|s|m)", report)
    median, slow = (float(number) * units[unit] for number, unit in latencies)
    requests = sum(map(int, re.findall(r"(\d+) requests in", report)))
    rate = sum(map(float, re.findall(r"Requests/sec: +([\d.]+)", report)))
    failures = r"(?:connect|read|write|timeout|Non-2xx or 3xx responses:) (\d+)"
    return Load(requests, rate, median, slow, sum(map(int, re.findall(failures, report))))


def load_by_threads(port: int, case: Case, head: str, seconds: int) -> Load:
    """Send requests from so many threads, and count those that bring the whole content."""
    content = CONTENTS[case.path].read_bytes()
    latencies: list[float] = []
    errors: list[OSError] = []
    end = time.monotonic() + seconds

    def visit() -> None:
        while (left := end - time.monotonic()) > 0:
            field = f"X-Request: {time.monotonic_ns()}\r\n" if case.heads == "differing" else ""
            try:
                with socket.socket() as client:
                    client.settimeout(left)
                    client.connect(("127.0.0.1", port))
                    began = time.monotonic()
                    client.sendall(f"{head}{field}\r\n".encode())
                    received = b"".join(iter(lambda: client.recv(65536), b""))
                if received[8:13] != b" 200 " or not received.endswith(content):
                    raise ConnectionError
                latencies.append(time.monotonic() - began)
            except OSError as error:
                if time.monotonic() < end:
                    errors.append(error)

    visitors = [threading.Thread(target=visit) for _ in range(case.connections)]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join()
    ordered = sorted(latencies) or [0.0]
    median, slow = (ordered[len(latencies) * percent // 100] for percent in (50, 99))
    return Load(len(latencies), len(latencies) / seconds, median, slow, len(errors))


def cpu_seconds(pid: int) -> float:
    """Return the time a process and its children (nginx's worker) have computed; 0: unknown."""
    try:
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    own = (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")  # user's and system's ticks
    return own + sum(cpu_seconds(int(child)) for child in children)


def peak_memory(server: Server) -> float:
    """Return the most memory that a server has had resident, in MiB; 0: unknown."""
    try:
        status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
    except OSError:
        return 0.0
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def ratio(rounds: list[Round], other: str, figure: str) -> str:
    """Return the median of server.py's figure divided by the other's in the same round."""
    pairs = [
        (getattr(loads["server.py"], figure), getattr(loads[other], figure))
        for loads in rounds
        if other in loads
    ]
    ratios = [ours / theirs for ours, theirs in pairs if theirs]
    return f"{statistics.median(ratios):.2f}" if ratios else "-"


def table(results: dict[Case, list[Round]]) -> str:
    """Return the results as Markdown that is as easily read as it is."""
    ratios = ("rate nginx", "cpu nginx", "rate http.server", "cpu http.server", "cpu bare loop")
    titles = [title.replace("rate", "req/s:").replace("cpu", "CPU:") for title in ratios]
    rows = [["path", "at once", "heads", *titles, "median", "99 %", "errors"]]
    for case, rounds in results.items():
        row = [case.path, str(case.connections), case.heads]
        for title in ratios:
            figure, _, other = title.partition(" ")
            row.append(ratio(rounds, other, figure))
        for figure in ("median", "slow"):
            seconds = statistics.median(getattr(loads["server.py"], figure) for loads in rounds)
            row.append(f"{seconds * 1000:.1f} ms")
        errors = [[loads[name].errors for loads in rounds if name in loads] for name in SERVERS]
        rows.append([*row, "/".join(str(sum(some)) if some else "-" for some in errors)])
    widths = [max(map(len, column)) for column in zip(*rows)]
    rows.insert(1, ["-" * (width - 1) + ":" for width in widths])
    lines = (" | ".join(map(str.rjust, row, widths)) for row in rows)
    return "\n".join(f"| {line} |" for line in lines)


if __name__ == "__main__":
    main()
