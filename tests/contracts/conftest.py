"""Fixtures of the contracts: one for each port, which gives every adapter of it in turn.

Helper modules of a test folder are no packages under ``--import-mode=importlib``; this makes ``kernels.py`` known as
``contract_kernels`` and ``grounds.py`` as ``contract_grounds``, so that tests can import their types.
"""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType


def _load(name: str) -> ModuleType:
    spec = spec_from_file_location(f"contract_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


_load("grounds")
bench = _load("kernels").bench
