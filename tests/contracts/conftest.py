"""Fixtures of the contracts: one for each port, which gives every adapter of it in turn.

Helper modules of a test folder are no packages under ``--import-mode=importlib``; this makes ``kernels.py`` known as
``contract_kernels``, so that tests can import its types.
"""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

_SPEC = spec_from_file_location("contract_kernels", Path(__file__).with_name("kernels.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
_KERNELS = module_from_spec(_SPEC)
sys.modules["contract_kernels"] = _KERNELS
_SPEC.loader.exec_module(_KERNELS)

bench = _KERNELS.bench
