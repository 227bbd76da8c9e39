"""The image: what its Dockerfile says, held to the project, and its steps that need no engine."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import threading
import tomllib
import zipfile
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from pointstream.operations.settings import Settings

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

Instruction = tuple[str, str]


def stages() -> list[list[Instruction]]:
    """The instructions of each stage, its FROM first; what comes before goes with the first."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE)
    found: list[list[Instruction]] = [[]]
    for line in text.replace("\\\n", " ").splitlines():
        if not line.strip():
            continue
        word, _, rest = line.partition(" ")
        if word == "FROM" and any(each == "FROM" for each, _ in found[-1]):
            found.append([])
        found[-1].append((word, " ".join(rest.split())))
    return found


def of(stage: list[Instruction], word: str) -> list[str]:
    return [rest for each, rest in stage if each == word]


def ignored(path: str) -> bool:
    """Whether .dockerignore keeps a file out: the last line that fits it, or a directory of it."""
    parents = [path, *map(str, Path(path).parents)][:-1]
    out = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = line.removeprefix("!")
        names = parents if not pattern.startswith("**/") else [Path(each).name for each in parents]
        # A star does not cross directories here, unlike fnmatch's.
        pattern = pattern.removeprefix("**/")
        if any(fnmatch(n, pattern) and n.count("/") == pattern.count("/") for n in names):
            out = not line.startswith("!")
    return out


def test_the_linter_finds_nothing() -> None:
    """hadolint, with the shell lines."""
    beside = Path(sys.executable).with_name("hadolint")
    hadolint = str(beside) if beside.exists() else shutil.which("hadolint")
    assert hadolint is not None
    told = subprocess.run(
        [hadolint, "--no-color", str(DOCKERFILE)], capture_output=True, text=True, check=False
    )

    assert (told.returncode, told.stdout) == (0, "")


def test_versions_are_those_of_the_project() -> None:
    """The Python that the requirements were locked for, by its patch; the project's version."""
    build, last = stages()
    (base,) = re.findall(r"BASE=(\S+)", " ".join(of(build, "ARG")))
    python = PROJECT["project"]["requires-python"].removeprefix(">=")

    assert re.fullmatch(rf"python:{re.escape(python)}\.\d+-slim-[a-z]+", base)
    assert of(build, "FROM") == ["${BASE} AS build"]
    assert of(last, "FROM") == ["${BASE}"]
    assert f"VERSION={PROJECT['project']['version']}" in of(last, "ARG")
    assert f"pointstream:{PROJECT['project']['version']} " in DOCKERFILE.read_text()


def test_everything_installed_has_a_hash_or_is_here() -> None:
    """No line of pip fetches what no lock names, and none compiles."""
    build, last = stages()
    runs = " && ".join(of(build, "RUN"))
    installs = [step for step in runs.split("&&") if " install " in step]

    assert len(installs) == 3
    for step in installs:
        locked = "--require-hashes --only-binary :all: -r requirements" in step
        assert locked or "--no-deps --no-index" in step, step
    assert "pip install" not in " ".join(of(last, "RUN"))
    locked_build = (ROOT / "requirements-build.txt").read_text()
    assert f"{PROJECT['build-system']['requires'][0]} \\" in locked_build


def test_the_last_stage_runs_as_nobody_in_particular_and_has_no_tools() -> None:
    """A user by number, so that Kubernetes sees it is not root; pip is gone."""
    last = stages()[1]
    (user,) = of(last, "USER")
    (run,) = of(last, "RUN")

    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", user)
    assert "pip uninstall --yes --quiet pip setuptools wheel" in run
    owner, group = user.split(":")
    data_dir = re.search(r"POINTSTREAM_DATA_DIR=(\S+)", " ".join(of(last, "ENV")))
    assert data_dir is not None
    assert f"install -d -o {owner} -g {group} -m 0750 {data_dir[1]}" in run
    assert "root" not in " ".join(rest for _, rest in last)


def test_it_starts_the_worker_and_is_stopped_as_one() -> None:
    """The entry point is a script of the project; SIGTERM is what a worker stops on."""
    last = stages()[1]
    (entry,) = map(json.loads, of(last, "ENTRYPOINT"))
    (command,) = map(json.loads, of(last, "CMD"))

    assert entry == [*PROJECT["project"]["scripts"]]
    assert command == ["worker"]
    assert of(last, "STOPSIGNAL") == ["SIGTERM"]
    assert of(last, "EXPOSE") == [str(Settings.model_fields["web_port"].default)]


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
def test_the_health_check_asks_the_worker(status: int, healthy: bool) -> None:
    """Its command, run as it stands there: 0 when /healthz says 200."""

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, *args: object) -> None: ...

    (check,) = of(stages()[1], "HEALTHCHECK")
    python, *arguments = json.loads(check.partition(" CMD ")[2])
    server = HTTPServer(("127.0.0.1", 0), Pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        asked = subprocess.run(
            [sys.executable, *arguments],
            env={"POINTSTREAM_WEB_PORT": str(server.server_port)},
            stderr=subprocess.DEVNULL,
            check=False,
        )
    finally:
        server.shutdown()
        server.server_close()

    assert python == "python"
    assert (asked.returncode == 0) is healthy


def test_what_is_copied_suffices_for_the_wheel(tmp_path: Path) -> None:
    """From nothing but what gets into the build, and without a network."""
    build, _ = stages()
    for line in of(build, "COPY"):
        *sources, target = line.split()
        for source in sources:
            path = ROOT / source
            files = [path] if path.is_file() else [f for f in path.rglob("*") if f.is_file()]
            taken = [f.relative_to(ROOT) for f in files if not ignored(str(f.relative_to(ROOT)))]
            assert taken, f"{source} does not get into the build"
            for file in taken:
                under = Path(target) / (file.relative_to(source) if path.is_dir() else file.name)
                place = tmp_path / "build" / under
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / file, place)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "wheel"]
    flags = ["--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(tmp_path)]

    subprocess.run([*pip, *flags, str(tmp_path / "build")], check=True)

    (wheel,) = tmp_path.glob("pointstream-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "pointstream/programme.yaml" in names
    assert "pointstream/operations/templates/spend-and-earn.yaml" in names
    assert not [name for name in names if "__pycache__" in name or name.startswith("tests")]


@pytest.mark.parametrize(
    ("path", "stays_out"),
    [
        ("src/pointstream/__init__.py", False),
        ("deploy/programme.yaml", False),
        ("requirements.txt", False),
        ("deploy/README.md", True),
        ("deploy/broker/pom.xml", True),
        ("src/pointstream/__pycache__/app.pyc", True),
        (".git/config", True),
        ("requirements-dev.txt", True),
        (".run/worker/data", True),
    ],
)
def test_only_what_is_needed_gets_into_a_build(path: str, stays_out: bool) -> None:
    """A secret in a working copy must not end in a layer."""
    assert ignored(path) is stays_out
