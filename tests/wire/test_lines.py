"""What the program says to tor: one line each, in tor's own words."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obfstats.wire import lines
from obfstats.wire.endpoint import Endpoint

LISTENER = Endpoint("192.0.2.1", 443)

texts = st.text(max_size=60) | st.text(st.characters(max_codepoint=127), max_size=60)
hosts = st.ip_addresses().map(str)
ports = st.integers(1, 65535)
_WORD = re.compile(r'(?P<key>[^ ="]+)=(?:"(?P<quoted>(?:[^"\\]|\\[0-7]{3})*)"|(?P<bare>[^ "]*))(?: |\Z)')


def read_values(line: str) -> dict[str, str]:
    """Read KEY=VALUE after the first word, as in LOG and STATUS; a value may be a C string."""
    rest = line.partition(" ")[2]
    found: dict[str, str] = {}
    while rest:
        match = _WORD.match(rest)
        assert match is not None, "tor does not understand the line"
        quoted = match["quoted"]
        found[match["key"]] = match["bare"] if quoted is None else unquote(quoted)
        rest = rest[match.end() :]
    return found


def unquote(text: str) -> str:
    """Undo the escapes of a C string's inside."""
    bare = re.sub(r"\\([0-7]{3})", lambda escape: chr(int(escape[1], 8)), text)
    return bare.encode("latin-1").decode("utf-8")


def is_one_line(line: str) -> bool:
    """Tell whether tor reads a line as one, whatever its locale."""
    return re.fullmatch("[ -~]+", line) is not None


def test_the_words_of_a_server() -> None:
    """A server's lines are the specification's."""
    assert lines.smethod("obfs3", LISTENER) == "SMETHOD obfs3 192.0.2.1:443"
    assert lines.smethod("obfs3", Endpoint("2001:db8::1", 443)) == "SMETHOD obfs3 [2001:db8::1]:443"
    assert lines.smethod_error("obfs3", "port 443 is taken") == "SMETHOD-ERROR obfs3 port 443 is taken"
    assert lines.SMETHODS_DONE == "SMETHODS DONE"


def test_the_words_of_a_client() -> None:
    """A client's lines are the specification's."""
    assert lines.cmethod("obfs3", Endpoint("127.0.0.1", 4711)) == "CMETHOD obfs3 socks5 127.0.0.1:4711"
    assert lines.cmethod_error("obfs3", "no port is free") == "CMETHOD-ERROR obfs3 no port is free"
    assert lines.CMETHODS_DONE == "CMETHODS DONE"
    assert lines.PROXY_DONE == "PROXY DONE"
    assert lines.proxy_error("no such proxy") == "PROXY-ERROR no such proxy"


def test_the_words_of_both() -> None:
    """What goes wrong, what happens, and which program it is."""
    assert lines.env_error("no state") == "ENV-ERROR no state"
    assert lines.log("notice", 'say "hi"') == r'LOG SEVERITY=notice MESSAGE="say \042hi\042"'
    assert lines.status_version("1.0", "obfsproxy") == 'STATUS TYPE=version VERSION="1.0" IMPLEMENTATION="obfsproxy"'


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("", '""'),
        (" !#[]~", '" !#[]~"'),
        ('"\\', r'"\042\134"'),
        ("\0\n\x7f", r'"\000\012\177"'),
        ("é€", r'"\303\251\342\202\254"'),
        ("\udcff", r'"\134udcff"'),
    ],
)
def test_c_string_keeps_few_bytes_as_they_are(text: str, written: str) -> None:
    """Quotes, backslashes and all that is not printable ASCII become three octal digits a byte."""
    assert lines.c_string(text) == written


@given(st.text(st.characters(exclude_categories=["C", "Z"]) | st.just(" "), max_size=60))
def test_tor_reads_a_message_as_it_was_meant(message: str) -> None:
    """Whatever can be shown, in any script, quotes and backslashes among it."""
    line = lines.log("warning", message)
    assert is_one_line(line)
    assert read_values(line) == {"SEVERITY": "warning", "MESSAGE": message}


@given(texts, st.sampled_from("\n\r\x1b\0\x85\u2028\udcff"), texts)
def test_a_message_stays_one_line_in_tors_log(before: str, odd: str, after: str) -> None:
    """Tor writes out what it reads: a line end would begin a line that looks like tor's own."""
    line = lines.log("warning", before + odd + after)
    assert is_one_line(line)
    read = read_values(line)["MESSAGE"]
    assert read.isprintable()
    assert ascii(odd)[1:-1] in read


@given(host=hosts, port=ports)
def test_tor_reads_a_server_method_as_it_was_meant(host: str, port: int) -> None:
    """The address as tor writes it itself."""
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    assert lines.smethod("obfs3", Endpoint(host, port)).split() == ["SMETHOD", "obfs3", address]


@pytest.mark.parametrize("name", ["", "obfs 3", "3obfs", "obfs-3", "obfs3\n", "öbfs3", "<OR>"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    """Tor ends a program whose method has such a name."""
    with pytest.raises(ValueError, match="a transport's name is not of letters"):
        lines.smethod(name, LISTENER)
    with pytest.raises(ValueError, match="a transport's name is not of letters"):
        lines.cmethod_error(name, "why")


@pytest.mark.parametrize("host", ["", "localhost", "192.0.2", "192.0.2.1 ARGS:a=b", "2001:db8::1%eth0", "[::1]"])
def test_a_listener_is_an_address(host: str) -> None:
    """Tor looks no name up, and knows no zones."""
    with pytest.raises(ValueError, match=r"a listener's (host is not an IP address|address has a zone)"):
        lines.smethod("obfs3", Endpoint(host, 443))
    with pytest.raises(ValueError, match=r"a listener's (host is not an IP address|address has a zone)"):
        lines.cmethod("obfs3", Endpoint(host, 443))


@pytest.mark.parametrize("port", [-1, 0, 65536])
def test_a_listener_has_a_port(port: int) -> None:
    """Port 0 asks the kernel for one; it is not where anything listens."""
    with pytest.raises(ValueError, match="its port is invalid"):
        lines.smethod("obfs3", Endpoint("192.0.2.1", port))
    with pytest.raises(ValueError, match="its port is invalid"):
        lines.cmethod("obfs3", Endpoint("127.0.0.1", port))


@given(st.text(max_size=700))
def test_a_message_never_becomes_a_second_line(message: str) -> None:
    """Line ends are shown as escapes, giant messages are cut off, and none is empty."""
    shown = lines.ascii_line(message)
    assert is_one_line(shown)
    assert len(shown) <= lines.MAX_MESSAGE
    for line in (
        lines.env_error(message),
        lines.proxy_error(message),
        lines.smethod_error("obfs3", message),
        lines.cmethod_error("obfs3", message),
    ):
        assert line.endswith(f" {shown}")


def test_a_message_is_cut_off_visibly() -> None:
    """500 characters stay as they are; a longer text ends in dots."""
    assert lines.ascii_line("x" * 500) == "x" * 500
    assert lines.ascii_line("x" * 501) == "x" * 497 + "..."
    assert lines.ascii_line("\n" * 500) == r"\n" * 248 + "\\..."
    assert lines.ascii_line("") == "no reason given"
    assert read_values(lines.log("info", "é" * 10_000))["MESSAGE"] == "é" * 497 + "..."
