"""The door as the options ask for it, and the server that stands behind it."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

from retain.actions.people import People
from retain.errors import ConfigError
from retain.review.access import Door
from retain.review.desk import Desk

__all__ = ["place_door", "serve"]

_HERE = frozenset({"127.0.0.1", "localhost", "::1"})


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def place_door(
    people: People,
    *,
    host: str = "127.0.0.1",
    url: str | None = None,
    certificate: str | None = None,
    header: str | None = None,
    proxies: Sequence[str] = (),
    local_name: str = "local",
) -> tuple[Door, frozenset[str], bool]:
    """Decide who is let in and under which names the page is reached.

    Parameters
    ----------
    people
        Who may come in; when there is anybody, everybody has to sign in, also on this machine.
    host
        Address listened on.
    url
        The address that people type.
    certificate
        A file, when https is served.
    header, proxies
        The header that names the person, and the addresses it is believed from.
    local_name
        Who writes where nobody signs in.

    Returns
    -------
    door, hosts, is_secure
        The door; names under which the page answers; whether browsers reach it by https.

    Raises
    ------
    ConfigError
        When the page would be open to others with nobody to sign in, or the header to anybody.
    """
    known = bool(people.accounts())
    if not known and (not _is_here(host) or header or url):
        raise ConfigError(
            f"--host {host}: others could reach the page and nobody is known yet. Add people "
            "first: retain review CONFIG --add-person NAME --role lead"
        )
    if header and not proxies:
        raise ConfigError(
            f"--trust-header {header}: any visitor could send it. Say which address the proxy has: "
            "--proxy 127.0.0.1"
        )
    for proxy in proxies:
        try:
            ip_address(proxy)
        except ValueError:
            raise ConfigError(
                f"--proxy {proxy}: not an address; expected one like 10.0.0.5"
            ) from None
    hosts = set(_HERE)
    if host not in ("0.0.0.0", "::"):
        hosts.add(host.lower())
    else:
        hosts |= {socket.gethostname().lower(), socket.getfqdn().lower()}
    asked = urlsplit(url or "")
    if url:
        if asked.scheme not in ("http", "https") or not asked.hostname:
            raise ConfigError(f"--url {url}: expected one like https://retain.acme.example")
        hosts.add(asked.hostname.lower())
    door = Door(people, known, local_name, header or "", frozenset(proxies))
    return door, frozenset(hosts), bool(certificate) or asked.scheme == "https"


def serve(
    desk: Desk,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    certificate: str | None = None,
    key: str | None = None,
) -> None:
    """Serve the page until it is stopped.

    Raises
    ------
    ConfigError
        When the port is taken, or the certificate cannot be read.
    """
    import uvicorn

    from retain.review.app import create_app

    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except (OSError, OverflowError) as problem:
        raise ConfigError(
            f"--port {port}: {host} cannot be listened on ({problem}). Choose another --port."
        ) from problem
    # who is at the other end is what the socket says: headers that claim otherwise are not read
    uvicorn.run(
        create_app(desk),
        host=host,
        port=port,
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
