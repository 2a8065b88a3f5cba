# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""tools/setup_torch.py: which build of torch, from where; with pip itself and package indexes on this machine."""

from __future__ import annotations

import base64
import functools
import hashlib
import http.server
import importlib
import subprocess
import sys
import threading
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
CUDA = "https://download.pytorch.org/whl/cu126"


@pytest.fixture
def torch_tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "tools")
    for name in ("setup_machine", "setup_torch"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module("setup_torch")


@pytest.mark.parametrize(
    ("environment", "gpu", "before", "index", "optional"),
    [
        ({}, False, "", "CPU", True),
        ({}, True, "", None, False),
        ({}, True, "CPU", "CPU", False),  # a GPU that comes and goes changes nothing
        ({}, False, "pypi", None, False),
        ({"HPT_TORCH": ""}, False, CUDA, CUDA, False),
        ({"HPT_TORCH": "cuda"}, False, "CPU", None, False),
        ({"HPT_TORCH": "cpu"}, True, "pypi", "CPU", False),
        ({"HPT_TORCH_INDEX": CUDA}, True, "CPU", CUDA, False),
    ],
)
def test_which_index_torch_comes_from(
    torch_tool: ModuleType, environment: dict[str, str], gpu: bool, before: str, index: str | None, optional: bool
) -> None:
    cpu = torch_tool.CPU_INDEX
    source = torch_tool.choose(environment, gpu=gpu, before=cpu if before == "CPU" else before)
    assert (source.index, source.optional) == (cpu if index == "CPU" else index, optional)
    line = torch_tool.announce(source, 40_000_000_000)
    assert source.reason in line
    assert "40 GB are free" in line


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"HPT_TORCH": "gpu"}, "HPT_TORCH=gpu is unknown: use one of auto, cpu, cuda"),
        ({"HPT_TORCH": "cpu", "HPT_TORCH_INDEX": CUDA}, "both choose the build of torch: set one"),
    ],
)
def test_when_the_choice_cannot_be_used_expect_one_sentence_before_anything_is_done(
    environment: dict[str, str], sentence: str
) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "setup_env.py"],
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert sentence in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("sign", ["proc/driver/nvidia", "dev/dxg", "dev/nvhost-gpu"])
def test_a_gpu_is_seen_by_its_driver_by_wsl_or_as_a_jetson(
    torch_tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sign: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not torch_tool.gpu_seen(tmp_path)
    (tmp_path / sign).mkdir(parents=True)
    assert torch_tool.gpu_seen(tmp_path)


def _wheel(folder: Path, name: str, version: str, needs: str = "") -> None:
    """A wheel of one module in an index's folder for it; the module's text is the index's name."""
    page = folder / name.replace("_", "-")
    page.mkdir(parents=True)
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"INDEX = {folder.name!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        + (f"Requires-Dist: {needs}\n" if needs else ""),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = [
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b'=').decode()},{len(text)}"
        for path, text in files.items()
    ]
    with zipfile.ZipFile(page / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, text in {**files, f"{info}/RECORD": "\n".join([*record, f"{info}/RECORD,,", ""])}.items():
            wheel.writestr(path, text)
    links = [f'<a href="{file.name}">{file.name}</a>' for file in page.glob("*.whl")]
    (page / "index.html").write_text(f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>")


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Two indexes: `builds` has torch and torchvision only, `ordinary` has another torch, and what they need."""
    _wheel(tmp_path / "builds", "torch", "2.13.0+tiny", "torch_needs==1.0")
    _wheel(tmp_path / "builds", "torchvision", "0.28.0+tiny", "torch==2.13.0")
    _wheel(tmp_path / "ordinary", "torch", "2.13.0", "torch_needs==1.0")
    _wheel(tmp_path / "ordinary", "torch_needs", "1.0")
    handler = functools.partial(_Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()


@pytest.fixture
def setup_env(
    torch_tool: ModuleType, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ModuleType:
    """The tool, of a project that wants torch and torchvision, with an environment of its own and pip as it is."""
    for name in ("setup_env", "setup_extras", "setup_pins"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    module = importlib.import_module("setup_env")
    home = tmp_path / "project"
    venv.create(home / ".venv", with_pip=True)
    (home / ".venv" / "setup").mkdir()
    for path in importlib.import_module("setup_pins").requirement_files(home, "kilted"):
        path.write_text("torch\ntorch_needs\n")
    (home / "extras.cfg").write_text("[timm]\ntorchvision\n")
    (home / "pins.txt").write_text("torch==2.13.0\ntorch_needs==1.0\ntorchvision==0.28.0\n")
    state = home / ".venv" / "setup"
    for name, value in {
        "ROOT": home,
        "VENV": home / ".venv",
        "PYTHON": home / ".venv" / "bin" / "python",
        "STATE": state,
        "LOG": state / "log.txt",
        "CONSTRAINTS": home / "pins.txt",
    }.items():
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(module, "fix_cmake_files", lambda: None)  # these wheels have none, nor NumPy
    monkeypatch.setattr(torch_tool, "gpu_seen", lambda: False)
    for variable, text in {"PIP_CONFIG_FILE": "/dev/null", "PIP_INDEX_URL": f"{server}/ordinary", "HPT_TORCH": ""}.items():
        monkeypatch.setenv(variable, text)
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_CONSTRAINT", "HPT_TORCH_INDEX"):
        monkeypatch.delenv(name, raising=False)
    return module


def _where_from(setup_env: ModuleType, *modules: str) -> list[str]:
    code = f"import {', '.join(modules)}; print({', '.join(f'{name}.INDEX' for name in modules)})"
    done = subprocess.run([setup_env.PYTHON, "-I", "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_when_an_index_has_only_torch_expect_what_it_needs_from_the_ordinary_one(
    setup_env: ModuleType, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPT_TORCH_INDEX", f"{server}/builds")
    setup_env.install_packages()
    assert _where_from(setup_env, "torch", "torch_needs") == ["builds", "ordinary"]
    monkeypatch.delenv("HPT_TORCH_INDEX")  # the next call of make, without it: the same build still
    setup_env.install_packages()
    setup_env.install_extras(["timm"], "packages")
    assert _where_from(setup_env, "torch", "torchvision") == ["builds", "builds"]
    monkeypatch.setenv("HPT_TORCH", "cuda")  # the same version, another build: taken anew
    setup_env.install_packages()
    assert _where_from(setup_env, "torch", "torch_needs") == ["ordinary", "ordinary"]


def test_when_no_gpu_is_seen_expect_the_cpu_build_where_it_can_be_had(
    setup_env: ModuleType,
    torch_tool: ModuleType,
    server: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(torch_tool, "CPU_INDEX", f"{server}/nothing_here")
    setup_env.install_packages()
    said = capsys.readouterr()
    assert "no NVIDIA GPU was seen" in said.out
    assert f"no CPU build of torch from {server}/nothing_here (see the log): taking what the ordinary index has, " in said.out
    assert "about 6 GB in all" in said.out
    assert said.err == ""
    assert _where_from(setup_env, "torch") == ["ordinary"]
    (setup_env.STATE / "torch").unlink()
    subprocess.run([setup_env.PYTHON, "-m", "pip", "uninstall", "-qy", "torch"], check=True)
    monkeypatch.setattr(torch_tool, "CPU_INDEX", f"{server}/builds")
    setup_env.install_packages()
    assert _where_from(setup_env, "torch", "torch_needs") == ["builds", "ordinary"]


def test_when_the_index_asked_for_has_none_expect_an_error(
    setup_env: ModuleType, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPT_TORCH_INDEX", f"{server}/nothing_here")
    with pytest.raises(setup_env.SetupError, match=r"installing torch from http://127.* failed with exit status 1"):
        setup_env.install_packages()
