"""What the settings say: names that nobody reads, proxies that nobody believes, the certificate."""

import difflib
from collections.abc import Iterable, Iterator
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509

from homeroom_server.catalogue import CatalogueError, load_catalogue
from homeroom_server.doctor.finding import Finding, fix, ok, warning
from homeroom_server.peers import networks
from homeroom_server.settings import Settings, variables

_OF_OTHERS = frozenset({"HOMEROOM_URL", "HOMEROOM_KEY", "HOMEROOM_ORGANIZATION", "HOMEROOM_REPLICA_FILE"})
"""Read by the SDK's command."""
_OF_OTHERS_BEGIN = ("HOMEROOM_MERGE_", "HOMEROOM_TEST_")
_CERTIFICATE_DAYS_MIN = 21
_VARIABLES, _PROXIES, _CERTIFICATE = "environment variables", "proxies", "TLS certificate"


def check_variables(environment: Iterable[str]) -> Iterator[Finding]:
    """Variables that look like settings and are none: whoever set them believes that they count."""
    known = set(variables().values())
    ours = [name for name in sorted(environment) if name.startswith("HOMEROOM_")]
    wrong = [name for name in ours if name not in known | _OF_OTHERS and not name.startswith(_OF_OTHERS_BEGIN)]
    for name in wrong:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
        todo = f"{near[0]} may be meant" if near else "remove it, or see settings.py for what there is"
        yield warning(_VARIABLES, f"{name} is no setting: nobody reads it", todo)
    if not wrong:
        yield ok(_VARIABLES, f"{len(ours)} of HOMEROOM_*, each of them known")


def check_proxies(settings: Settings) -> Finding:
    """Whether callers behind a proxy would be told apart, and whether anybody may pass for another."""
    believed = networks(settings.proxies)
    if any(network.prefixlen == 0 for network in believed):
        return fix(
            _PROXIES,
            "everybody is believed who calls (a network of all addresses)",
            "name your proxies alone in HOMEROOM_PROXIES: as it is, whoever sends X-Forwarded-For has any address",
        )
    stands_open = not _is_loopback(settings.host) and not settings.tls_certificate
    if stands_open and all(network.is_loopback for network in believed):
        return warning(
            _PROXIES,
            f"the node answers plain HTTP at {settings.host}, and no proxy on another machine is believed",
            "name the proxy that ends TLS before it in HOMEROOM_PROXIES: else all clients have the proxy's address, "
            "which may have connections_per_address_max connections",
        )
    return ok(_PROXIES, f"believed: {settings.proxies.strip() or 'nobody'}")


def check_catalogue(settings: Settings) -> Iterator[Finding]:
    """Every fault of it."""
    try:
        load_catalogue(settings.catalogue)
    except CatalogueError as fault:
        yield fix("catalogue", str(fault), "correct it: no node starts with it")


def check_certificate(settings: Settings, url: str | None, now: datetime) -> Iterator[Finding]:
    """That the certificate counts, for how long, and for the host of `url`. Its key was tried with the settings."""
    if not settings.tls_certificate:
        return
    certificate = x509.load_pem_x509_certificates(Path(settings.tls_certificate).read_bytes())[0]
    days = (certificate.not_valid_after_utc - now).total_seconds() / 86_400
    ends = f"{certificate.not_valid_after_utc:%Y-%m-%d}"
    renew = "renew it, and restart the nodes, which read it at their start"
    if days < 0:
        yield fix(_CERTIFICATE, f"it expired on {ends}", renew)
    elif certificate.not_valid_before_utc > now:
        begins = f"{certificate.not_valid_before_utc:%Y-%m-%d}"
        yield fix(_CERTIFICATE, f"it does not count before {begins}", "look at this machine's clock, or wait")
    elif days < _CERTIFICATE_DAYS_MIN:
        yield warning(_CERTIFICATE, f"it expires on {ends}, in {days:.0f} days", renew)
    else:
        yield ok(_CERTIFICATE, f"readable, fits its key, counts until {ends}")
    names = list(_names(certificate))
    host = urlsplit(url).hostname if url else None
    if host is not None and not any(_is_for(name, host) for name in names):
        said = ", ".join(names) or "nobody"
        yield fix(_CERTIFICATE, f"it is for {said}, and not for {host}", f"take one that names {host}")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _names(certificate: x509.Certificate) -> Iterator[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return
    yield from names.get_values_for_type(x509.DNSName)
    yield from (str(address) for address in names.get_values_for_type(x509.IPAddress))


def _is_for(name: str, host: str) -> bool:
    """As clients compare: `*` stands for one label."""
    if name.startswith("*."):
        return host.partition(".")[2].lower() == name[2:].lower()
    return host.lower() == name.lower()
