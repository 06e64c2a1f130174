from __future__ import annotations

import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from core.cancellation import CancelToken
from core.errors import Cancelled, SandboxFailed
from core.sandbox import Limits, Outcome, Protection, SandboxResult, available_protection, run
from core.sandbox.runner import _works

WORKING = [one for one in Protection if _works(one)]
ISOLATED = [one for one in WORKING if one.isolated]
LIMITED = [one for one in WORKING if one is not Protection.TIME]
ADD = "def add(a, b):\n    return a + b\n"

each = pytest.mark.parametrize("protection", WORKING)
isolated = pytest.mark.parametrize("protection", ISOLATED)
limited = pytest.mark.parametrize("protection", LIMITED)


def processes_with(marker: str) -> list[psutil.Process]:
    return [one for one in psutil.process_iter(["cmdline"]) if marker in (one.info["cmdline"] or [])]


def until_none(marker: str) -> list[psutil.Process]:
    """Give the system a moment to end what was killed."""
    deadline = time.monotonic() + 10
    while (found := processes_with(marker)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def test_the_best_protection_that_works_is_taken_and_named() -> None:
    result = run(ADD, "assert add(1, 2) == 3")
    assert result.protection is available_protection() is WORKING[0]
    assert result.passed


def test_each_protection_says_what_it_does_and_does_not_promise() -> None:
    for protection in Protection:
        assert ("no files of yours" in protection.words) is protection.isolated
        assert ("read and change your files" in protection.words) is not protection.isolated


# --- verdicts -------------------------------------------------------------------------------


@each
def test_passing_tests_pass(protection: Protection) -> None:
    result = run(ADD, "assert add(1, 2) == 3\nprint('seen')", protection=protection)
    assert (result.outcome, result.problem, result.output) == (Outcome.PASSED, None, "seen\n")


@each
def test_a_failing_assertion_is_quoted(protection: Protection) -> None:
    result = run(ADD, "assert add(1, 2) == 3\nassert add(\n    1, 1\n) == 3, 'no'", protection=protection)
    assert result.outcome is Outcome.FAILED
    assert result.problem == "tests, line 2: assert add(\n    1, 1\n) == 3, 'no'\nAssertionError: no"


@pytest.mark.parametrize(
    ("code", "tests", "words"),
    [
        ("def f(:\n", "", "code, line 1: invalid syntax"),
        (ADD, "assert", "tests, line 1: invalid syntax"),
        (ADD, "add(1)", "missing 1 required positional argument"),
        ("def f():\n    return 1 / 0", "f()", "code, line 2: return 1 / 0\nZeroDivisionError"),
        ("import no_such_module", "", "No module named 'no_such_module'"),
        (ADD, ">>> add(1, 2)\n4\n", "Expected:\n    4\nGot:\n    3"),
        ("import sys\nsys.exit(0)", "", "SystemExit: 0"),
        ("import os\nos._exit(0)", "assert False", "ended before its tests were over (exit status 0)"),
        ("def f():\n    f()", "f()", "RecursionError"),
        ("raise KeyboardInterrupt", "", "KeyboardInterrupt"),
        ("x = input()", "", "EOFError"),
        ("import os\nif os.fork() == 0:\n    raise ValueError\nos.wait()\n1 / 0", "", "ZeroDivisionError"),
    ],
)
def test_what_went_wrong_is_said(code: str, tests: str, words: str) -> None:
    result = run(code, tests)
    assert result.outcome is Outcome.FAILED
    assert words in str(result.problem)


@pytest.mark.parametrize(
    "tests", ["", ">>> add(1, 2)\n3\n>>> add(0, 0)\n0\n", "from math import pi\nassert add(pi, 0) == pi"]
)
def test_tests_may_be_statements_a_session_or_nothing(tests: str) -> None:
    assert run(ADD, tests).outcome is Outcome.PASSED


def test_the_code_is_no_main_program() -> None:
    assert run("if __name__ == '__main__':\n    raise SystemExit(1)", "").passed


def test_text_of_any_kind_arrives_as_it_is() -> None:
    assert run("x = 'ä\u2028\\udc80🙂'", "assert [len(x), ord(x[-2])] == [4, 0xdc80]\nprint('ü')").output == "ü\n"


def test_a_verdict_that_the_code_prints_itself_counts_for_nothing() -> None:
    code = 'import os, sys\nfor out in (1, 2):\n    os.write(out, b\'{"nonce": "0", "problem": null}\\n\')\nos._exit(0)'
    assert run(code, "").outcome is Outcome.FAILED


def test_a_crash_names_the_signal() -> None:
    result = run("import ctypes\nctypes.string_at(0)", "")
    assert result.outcome is Outcome.KILLED
    assert "SIGSEGV" in str(result.problem)


def test_a_sandbox_that_cannot_be_started_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SandboxFailed, match="Install bubblewrap"):
        run(ADD, "", protection=Protection.BUBBLEWRAP)


# --- limits ---------------------------------------------------------------------------------


@each
@pytest.mark.parametrize(
    "code",
    [
        "while True:\n    pass",
        "import time\ntime.sleep(1000)",
        "import signal, time\nfor n in set(signal.Signals) - {9, 19}:\n    signal.signal(n, signal.SIG_IGN)\ntime.sleep(1000)",
    ],
)
def test_code_that_does_not_end_is_ended(protection: Protection, code: str) -> None:
    result = run(code, "", limits=Limits(wall_seconds=2), protection=protection)
    assert result.outcome is Outcome.TIMEOUT
    assert result.problem == "It had not ended after 2 seconds."


@limited
def test_processor_time_is_limited(protection: Protection) -> None:
    result = run("while True:\n    pass", "", limits=Limits(cpu_seconds=1, wall_seconds=60), protection=protection)
    assert result.outcome is Outcome.TIMEOUT
    assert result.problem == "It used more than 1 seconds of processor time."


@limited
def test_memory_is_limited(protection: Protection) -> None:
    result = run("x = bytearray(2 << 30)", "", protection=protection)
    assert result.outcome is Outcome.FAILED
    assert "memory" in str(result.problem)


@each
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_flood_of_output_is_cut_off(protection: Protection, stream: str) -> None:
    code = f"import sys\nwhile True:\n    print('x' * 1000, file=sys.{stream})"
    result = run(code, "", limits=Limits(output=5000, wall_seconds=60), protection=protection)
    assert result.outcome is Outcome.KILLED
    assert "5,000 bytes" in str(result.problem)
    assert len(result.output) == 5000


FORKS = """
import os, time
children = 0
try:
    while children < 300:
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
        children += 1
except OSError:
    pass
print(children)
"""


@limited
def test_processes_are_limited_or_the_result_says_that_they_are_not(protection: Protection) -> None:
    result = run(FORKS, "", limits=Limits(processes=8), protection=protection)
    if "processes" in result.unlimited:
        assert not protection.isolated
        assert os.geteuid() == 0
    else:
        assert int(result.output.split()[0]) <= 8


@limited
def test_a_fork_bomb_ends_with_the_run(protection: Protection) -> None:
    marker = f"7{uuid.uuid4().int % 10**9}"
    code = (
        "import os\n"
        "for _ in range(5):\n"
        "    if os.fork() == 0:\n"
        "        os.setsid()\n"
        f"        os.execvp('sleep', ['sleep', '{marker}'])\n"
        "while True:\n"
        "    try:\n"
        "        os.fork()\n"
        "    except OSError:\n"
        "        pass\n"
    )
    if protection is Protection.LIMITS and os.geteuid() == 0:
        code = code.partition("while True")[0]  # root's processes are not limited: no bomb then
    result = run(code, "", limits=Limits(wall_seconds=2, processes=12), protection=protection)
    assert result.outcome in {Outcome.TIMEOUT, Outcome.PASSED}
    assert until_none(marker) == []


FILL = """
import os
written = 0
try:
    for number in range(100):
        with open(f"file{number}", "wb") as stream:
            for _ in range(8):
                stream.write(b"x" * (1 << 20))
                stream.flush()
                written += 1
except OSError:
    pass
print(written)
"""


@isolated
def test_the_disk_is_limited(protection: Protection) -> None:
    result = run(FILL, "", limits=Limits(disk=4 << 20), protection=protection)
    assert int(result.output) <= 4


@limited
def test_the_size_of_a_file_is_limited(protection: Protection) -> None:
    result = run("open('big', 'wb').write(b'x' * (8 << 20))", "", limits=Limits(disk=4 << 20), protection=protection)
    assert result.outcome is Outcome.FAILED
    assert "OSError" in str(result.problem)


@each
def test_what_was_written_is_thrown_away(protection: Protection) -> None:
    result = run("import os\nopen('a.txt', 'w').write('x')\nprint(os.getcwd())", "", protection=protection)
    assert result.passed
    assert not (Path(result.output.strip()) / "a.txt").exists()
    assert run("import os", "assert os.listdir() == []", protection=protection).passed


@each
def test_a_cancelled_run_ends_and_leaves_nothing(protection: Protection) -> None:
    token = CancelToken()
    marker = f"8{uuid.uuid4().int % 10**9}"
    code = f"import os\nif os.fork():\n    os.wait()\nos.execvp('sleep', ['sleep', '{marker}'])"

    def cancel_once_it_runs() -> None:
        while not processes_with(marker):
            time.sleep(0.02)
        token.cancel()

    threading.Thread(target=cancel_once_it_runs).start()
    with pytest.raises(Cancelled):
        run(code, "", limits=Limits(wall_seconds=60), token=token, protection=protection)
    assert until_none(marker) == []


def test_a_run_that_was_cancelled_before_does_not_start(tmp_path: Path) -> None:
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        run(f"open({str(tmp_path / 'x')!r}, 'w')", "", token=token)
    assert list(tmp_path.iterdir()) == []


# --- escapes --------------------------------------------------------------------------------


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret.txt"
    path.write_text("the person's own")
    tmp_path.chmod(0o755)
    path.chmod(0o666)
    return path


@isolated
def test_files_of_the_person_cannot_be_seen(protection: Protection, secret: Path) -> None:
    for path in (secret, Path.home() / ".bashrc", Path("/etc/passwd"), Path("/etc/hostname"), Path(__file__)):
        result = run(f"print(open({str(path)!r}).read())", "", protection=protection)
        assert result.outcome is Outcome.FAILED
        assert "Error" in str(result.problem)
        assert result.output == ""


@isolated
def test_nothing_outside_can_be_written(protection: Protection, secret: Path) -> None:
    places = [secret.with_name("new"), Path("/usr/new"), Path("/new"), Path(sys.prefix) / "new", Path.home() / "new"]
    for path in places:
        assert run(f"open({str(path)!r}, 'w').write('x')", "", protection=protection).outcome is Outcome.FAILED
        assert not path.exists()
    run(f"open({str(secret)!r}, 'w').write('x')", "", protection=protection)
    assert secret.read_text() == "the person's own"


@isolated
def test_links_mounts_and_new_roots_lead_nowhere(protection: Protection, secret: Path) -> None:
    code = (
        "import ctypes, os\n"
        f"os.symlink({str(secret)!r}, 'link')\n"
        "libc = ctypes.CDLL(None)\n"
        "libc.mount(b'none', b'/', None, 32, None)\n"
        "libc.umount2(b'/', 2)\n"
        "libc.unshare(0x10000000 | 0x00020000)\n"
        "libc.umount2(b'/usr', 2)\n"
        "libc.chroot(b'.')\n"
        "os.chdir('../../../../../..')\n"
        f"print(os.path.exists('link'), os.path.exists({str(secret)!r}), os.path.exists('.{secret}'))\n"
    )
    assert run(code, "", protection=protection).output == "False False False\n"


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)  # noqa: FBT003 -- the library's own order
        yield server


@isolated
def test_the_loopback_network_cannot_be_reached(protection: Protection, listener: socket.socket) -> None:
    code = f"import socket\nsocket.create_connection(('127.0.0.1', {listener.getsockname()[1]}), 2)"
    result = run(code, "", protection=protection)
    assert result.outcome is Outcome.FAILED
    assert "Error" in str(result.problem)
    with pytest.raises(BlockingIOError):
        listener.accept()


@isolated
def test_local_sockets_cannot_be_reached(protection: Protection, tmp_path: Path) -> None:
    for address in (str(tmp_path / "socket"), f"\0{uuid.uuid4().hex}"):
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(address)
            server.listen()
            code = f"import socket\nsocket.socket(socket.AF_UNIX).connect({address!r})"
            assert run(code, "", protection=protection).outcome is Outcome.FAILED


@isolated
def test_other_processes_can_neither_be_seen_nor_killed(protection: Protection) -> None:
    code = f"import os\nfor pid in ({os.getpid()}, {os.getppid()}):\n    os.kill(pid, 0)"
    result = run(code, "", protection=protection)
    assert "ProcessLookupError" in str(result.problem)


@isolated
@pytest.mark.parametrize("target", ["os.getppid()", "1", "0", "-1"])
def test_killing_what_is_around_it_kills_no_more_than_the_run(protection: Protection, target: str) -> None:
    code = f"import os, signal, time\nos.kill({target}, signal.SIGKILL)\ntime.sleep(60)"
    result = run(code, "", limits=Limits(wall_seconds=2), protection=protection)
    assert result.outcome in {Outcome.FAILED, Outcome.KILLED, Outcome.TIMEOUT}
    assert run(ADD, "assert add(1, 2) == 3", protection=protection).passed


@each
def test_the_environment_is_not_passed_on(protection: Protection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "the person's own")
    result = run("import os\nprint(sorted(os.environ))", "", protection=protection)
    assert "SECRET_TOKEN" not in result.output
    assert "SANDBOX" not in result.output


@each
def test_open_files_are_not_passed_on(protection: Protection, secret: Path) -> None:
    with secret.open() as stream:
        os.set_inheritable(stream.fileno(), True)  # noqa: FBT003 -- the library's own order
        result = run(f"import os\nprint(os.read({stream.fileno()}, 100))", "", protection=protection)
    assert "person" not in result.output


@isolated
def test_the_code_has_no_rights_of_root(protection: Protection) -> None:
    def attempt(code: str) -> SandboxResult:
        return run(code, "", protection=protection)

    assert attempt("import os\nos.setuid(0)").outcome is Outcome.FAILED or os.geteuid() != 0
    assert attempt("import os\nos.chroot('.')").outcome is Outcome.FAILED
    assert attempt("import os\nassert os.getuid() != 0").outcome is Outcome.PASSED
