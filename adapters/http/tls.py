"""TLS for TCP listeners. The client's certificate is required, because it is the only thing that says who calls; without an
authority that signs clients, TLS only encrypts."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from docket.adapters.http.errors import ListenError

if TYPE_CHECKING:
    from ssl import SSLContext  # At run time ssl is imported only where TLS is used.


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """Paths of PEM files: who may sign clients (empty: no certificate is asked for), and who we are."""

    ca: str
    cert: str
    key: str


def server_context(config: TlsConfig) -> "SSLContext":
    """TLS 1.2 or newer, with required client certificates where there is an authority for them.

    Raises ListenError for unreadable or unfit files.
    """
    import ssl

    try:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=config.ca or None)
        context.load_cert_chain(config.cert, config.key)
    except (OSError, ssl.SSLError) as error:
        files = f"ca '{config.ca}', cert '{config.cert}', key '{config.key}'"
        raise ListenError(f"cannot use the TLS files ({files}): {error}") from error
    context.verify_mode = ssl.CERT_REQUIRED if config.ca else ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context
