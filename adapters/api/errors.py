"""The one place where an error gets its HTTP status."""

from __future__ import annotations

from docket.adapters.http import Response
from docket.domain import errors
from docket.domain.registry import RegistryError

_STATUS: dict[type[errors.Rejection], int] = {
    errors.InvalidArgument: 400,
    errors.NotFound: 404,
    errors.NotModified: 304,
    errors.Conflict: 409,
    errors.Forbidden: 403,
    errors.Unsupported: 501,
}

_REGISTRY_STATUS = {"not found": 404, "denied": 403, "login refused": 401}
# Without a password, or with a wrong one, a pull is 500, as with dockerd: at 401 the docker CLI asks for a login, also where nobody
# can answer, and hangs.


def to_response(error: Exception) -> Response | None:
    """Docker's error body; None for what is a bug, which the server answers and logs itself."""
    if isinstance(error, errors.Rejected):
        status = next(code for kind, code in _STATUS.items() if isinstance(error.rejection, kind))
        return Response.empty(304) if status == 304 else Response.error(status, error.rejection.message)
    if isinstance(error, RegistryError):
        return Response.error(_REGISTRY_STATUS.get(error.kind, 500), str(error))
    if isinstance(error, errors.Unavailable):
        return Response.error(503, str(error))
    if isinstance(error, errors.PortError | errors.StoreError):
        return Response.error(500, str(error))
    return None
