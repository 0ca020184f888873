"""docket: a container engine whose source of truth is an event log."""

import os.path

__version__ = "0.1.0"

# The five layers are symlinks beside this file. A checkout without symlinks (git on Windows writes plain files there) finds
# them at the root of the repository instead.
if not os.path.isdir(os.path.join(__path__[0], "domain")):
    __path__.append(os.path.dirname(os.path.dirname(__path__[0])))
