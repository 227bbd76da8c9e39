"""The reference consumers, which are scripts: loaded as modules, or run as processes."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

__all__ = ["load", "path_of"]


def path_of(name: str) -> Path:
    """Where the script of this name is."""
    return Path(__file__).resolve().parents[2] / "deploy" / "consumers" / f"{name}.py"


def load(name: str) -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location(f"consumer_{name}", path_of(name))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
