"""The wheel, installed outside of the checkout and run where a person's own code has our names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.lsp_client import LspClient

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

CHECKOUT = Path(__file__).resolve().parents[2]
HOSTILE = "raise SystemExit('a package of the workspace was taken for ours')\n"


def environment(home: Path) -> dict[str, str]:
    """Return an environment that does not lead back to the checkout."""
    kept = {
        name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}
    }
    return kept | {"AI_CODEGEN_HOME": str(home)}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the tree."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(CHECKOUT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel in it; what it depends on is seen, not copied."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=False)
    scripts = folder / ("Scripts" if sys.platform == "win32" else "bin")
    python = scripts / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    done = subprocess.run([*install, str(wheel)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    # A path file found there is not read again, so the checkout's editable install stays unseen.
    (site_packages(folder) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", "utf-8")
    return scripts


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A person's project that has folders of our names."""
    folder = tmp_path / "a project"
    for name in ("core", "server", "cli"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(HOSTILE, "utf-8")
    return folder


@pytest.fixture
def home(tmp_path: Path, installed: Path, workspace: Path) -> Iterator[Path]:
    """A data folder with nothing in it."""
    yield tmp_path / "home"
    run(installed, workspace, tmp_path / "home", "stop")


def site_packages(folder: Path) -> Path:
    (found,) = folder.rglob("site-packages")
    return found


def run(scripts: Path, workspace: Path, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command inside of the workspace."""
    return subprocess.run(
        [scripts / "ai-codegen-assistant", *arguments],
        cwd=workspace,
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_wheel_claims_one_name_and_holds_its_data(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"ai_codegen_assistant"}
    bundle = "ai_codegen_assistant/_bundle/"
    for folder in ("core/models/sets", "core/routing/data"):
        expected = {file.name for file in (CHECKOUT / folder).iterdir() if file.is_file()}
        assert expected == {Path(name).name for name in names if Path(name).parent == Path(bundle) / folder}
    assert not [name for name in names if "/tests/" in name or "__pycache__" in name]


def test_only_our_name_is_in_site_packages(installed: Path) -> None:
    found = {path.name for path in site_packages(installed.parent).iterdir() if not path.name.endswith(".dist-info")}
    assert found - {"dependencies.pth"} == {"ai_codegen_assistant"}
    where = [installed / "python", "-P", "-c", "import ai_codegen_assistant as package; print(package.BUNDLE)"]
    bundle = subprocess.run(
        where, env=environment(installed), capture_output=True, text=True, check=True
    ).stdout.strip()
    assert Path(bundle) == site_packages(installed.parent) / "ai_codegen_assistant" / "_bundle"


def test_the_command_explains_itself(installed: Path, workspace: Path, home: Path) -> None:
    told = run(installed, workspace, home, "--help")
    assert told.returncode == 0, told.stderr
    assert "exit status:" in told.stdout
    module = [installed / "python", "-m", "ai_codegen_assistant", "--version"]
    done = subprocess.run(module, cwd=workspace, env=environment(home), capture_output=True, text=True, check=False)
    assert done.stdout.startswith("ai-codegen-assistant "), done.stderr


def test_doctor_reaches_an_engine_started_from_the_wheel(installed: Path, workspace: Path, home: Path) -> None:
    done = run(installed, workspace, home, "doctor", "--json")
    report = json.loads(done.stdout)
    verdicts = {check["name"]: check["verdict"] for check in report["checks"]}
    assert verdicts["engine"] == verdicts["packages"] == verdicts["devices"] == "ok", done.stdout
    # Nothing is installed in this data folder, and that is what has to be said.
    assert done.returncode == 1
    assert verdicts["generate model"] == "problem"


def test_the_server_shakes_hands(installed: Path, workspace: Path, home: Path, tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    with LspClient(
        [str(installed / "ai-codegen-assistant"), "serve"],
        cwd=workspace,
        environment=environment(home),
        log=log,
        on_notification=lambda _, __: None,
        on_request=lambda _, __: None,
    ) as client:
        capabilities = {"processId": None, "rootUri": workspace.as_uri(), "capabilities": {}}
        answer = client.request("initialize", capabilities, timeout=60)
        assert answer["serverInfo"]["name"] == "ai-codegen-assistant", log.read_text("utf-8")
        client.notify("initialized", {})
        status = client.request("assistant/status", {}, timeout=60)
        assert {"engine", "models", "knowledge"} <= status.keys()
