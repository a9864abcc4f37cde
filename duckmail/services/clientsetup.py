"""What mail programs are told to set themselves up: autoconfig (Thunderbird and others) and autodiscover (Outlook).

- It is the same for everybody: whether an account exists is not looked at, and what was asked is repeated nowhere but
  as the login name that the program itself gave.
- All ports are TLS from the first octet (RFC 8314 §3), and names and passwords go over nothing else.

Formats: Mozilla's "Autoconfiguration" config file 1.1; Microsoft's [MS-OXDSCLI], POX, response schema 2006a.
"""

from dataclasses import dataclass
from xml.etree.ElementTree import Element, ParseError, SubElement, tostring

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from duckmail.errors import InvalidInput

LARGEST = 16 * 1024  # octets of a request that are read
LONGEST = 320  # characters of an address
RESPONSE = "http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006"
OUTLOOK = "http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a"
_REQUESTS = (
    "{http://schemas.microsoft.com/exchange/autodiscover/outlook/requestschema/2006}",
    "{http://schemas.microsoft.com/exchange/autodiscover/mobilesync/requestschema/2006}",
)
INVALID, NO_PROVIDER = "600", "601"  # [MS-OXDSCLI] §2.2.4.1.1.2: ErrorCode


@dataclass(frozen=True, slots=True)
class Service:
    """`kind`: imap, pop3 or smtp."""

    kind: str
    port: int


@dataclass(frozen=True, slots=True)
class Setup:
    """`host`: that programs connect to. `web`: of https URLs. `name`: for people."""

    host: str
    web: str
    name: str
    services: tuple[Service, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a program wants: `address` as given, `schema` of the answer."""

    address: str
    schema: str


class Unanswerable(InvalidInput):
    """A request that says nothing that can be answered."""


def autoconfig(setup: Setup) -> bytes:
    """`config-v1.1.xml`. Programs put in the address themselves."""
    root = Element("clientConfig", version="1.1")
    provider = SubElement(root, "emailProvider", id=setup.host)
    _texts(provider, domain="%EMAILDOMAIN%", displayName=setup.name, displayShortName=setup.name)
    for service in setup.services:
        name = "outgoingServer" if service.kind == "smtp" else "incomingServer"
        server = SubElement(provider, name, type=service.kind)
        _texts(
            server,
            hostname=setup.host,
            port=str(service.port),
            socketType="SSL",
            authentication="password-cleartext",
            username="%EMAILADDRESS%",
        )
    return _document(root)


def asked(body: bytes) -> Asked:
    """The request of autodiscover. Raises: Unanswerable."""
    try:
        root = fromstring(body, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise Unanswerable("It is no request") from error
    for schema in _REQUESTS:
        address = root.findtext(f"{schema}Request/{schema}EMailAddress", "").strip()
        wanted = root.findtext(f"{schema}Request/{schema}AcceptableResponseSchema", "").strip()
        if wanted and len(address) <= LONGEST:
            return Asked(address, wanted)
    raise Unanswerable("It is no request")


def autodiscover(setup: Setup, address: str) -> bytes:
    """The answer to a request for the schema `OUTLOOK`."""
    root = Element("Autodiscover", xmlns=RESPONSE)
    response = SubElement(root, "Response", xmlns=OUTLOOK)
    if address:
        _texts(SubElement(response, "User"), DisplayName=address)
    account = SubElement(response, "Account")
    _texts(account, AccountType="email", Action="settings")
    for service in setup.services:
        protocol = SubElement(account, "Protocol")
        login = {"LoginName": address} if address else {}
        _texts(
            protocol,
            Type=service.kind.upper(),
            Server=setup.host,
            Port=str(service.port),
            DomainRequired="off",
            **login,
            SPA="off",
            SSL="on",
            AuthRequired="on",
        )
    return _document(root)


def autodiscover_error(code: str, text: str) -> bytes:
    root = Element("Autodiscover", xmlns=RESPONSE)
    error = SubElement(SubElement(root, "Response"), "Error", Time="00:00:00.0000000", Id="0")
    _texts(error, ErrorCode=code, Message=text)
    SubElement(error, "DebugData")
    return _document(root)


def autodiscover_url(setup: Setup) -> str:
    return f"https://{setup.web}/autodiscover/autodiscover.xml"


def _texts(parent: Element, **texts: str) -> None:
    for name, text in texts.items():
        SubElement(parent, name).text = text


def _document(root: Element) -> bytes:
    octets: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return octets + b"\n"
