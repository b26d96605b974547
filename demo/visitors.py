"""Who comes in the demonstration: loopback addresses, the countries they are given, and how often each connects.

Loopback addresses have no country, so a GeoIP file is made here that gives networks of 127.0.0.0/8 one each. The truth
about who came stays in this process's memory: it is what the servers' logs and tables are held against.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network
from random import SystemRandom

from obfstats.formats.logline import UNKNOWN_COUNTRY

CLIENTS = {
    "obfs3": {
        "ir": 131, "us": 84, "ru": 47, "cn": 28, "de": 17, "by": 16, "tr": 9, "eg": 8, "br": 3, "tm": 2, "uy": 1,
        UNKNOWN_COUNTRY: 5,
    },
    "obfs2": {"cn": 13, "ir": 5, "us": 2},
}  # fmt: skip
"""How many clients each bridge has in each country: many, exactly eight, one more than that, a single one."""

NETWORKS = {country: IPv4Network(f"127.{16 + 8 * index}.0.0/16") for index, country in enumerate(CLIENTS["obfs3"])}
"""Where each country's clients are. The last one's network is in no GeoIP file."""

_random = SystemRandom()


@dataclass(frozen=True, slots=True)
class Visitor:
    """A client.

    Attributes:
        address: where it comes from.
        country: whose network that is.
    """

    address: str
    country: str


class Population:
    """The clients of one bridge.

    Attributes:
        visitors: all of them.
        loners: those who are the only ones of their country, so that they can be told from others in the log.
    """

    def __init__(self, bridge: str, taken: set[str]) -> None:
        """Draw their addresses.

        Args:
            bridge: which bridge.
            taken: addresses that are others'; those drawn here are added.
        """
        clients = CLIENTS[bridge]
        self.visitors = [
            Visitor(_draw_address(NETWORKS[country], taken), country)
            for country, number in clients.items()
            for _ in range(number)
        ]
        self.loners = [visitor for visitor in self.visitors if clients[visitor.country] == 1]
        self._others = [visitor for visitor in self.visitors if visitor not in self.loners]

    def draw_day(self) -> list[Visitor]:
        """Draw a day: everybody comes, loners twice, and a third of the others come back, in random order."""
        number = len(self._others)
        regulars = _random.sample(self._others, number // 3)
        again = _random.choices(regulars, k=_random.randint(number * 9 // 10, number * 11 // 10))
        visits = [*self.visitors, *self.loners, *again]
        _random.shuffle(visits)
        return visits

    def draw(self, number: int) -> list[Visitor]:
        """Draw that many visits of anybody but the loners."""
        return _random.choices(self._others, k=number)


def draw_strangers(number: int, taken: set[str]) -> list[str]:
    """Draw addresses of those who knock without being clients."""
    networks = list(NETWORKS.values())
    return [_draw_address(_random.choice(networks), taken) for _ in range(number)]


def geoip() -> str:
    """Write the networks down in the form of tor's geoip file."""
    return "# Countries of loopback addresses, for a demonstration only.\n" + "".join(
        f"{int(network[0])},{int(network[-1])},{country.upper()}\n"
        for country, network in NETWORKS.items()
        if country != UNKNOWN_COUNTRY
    )


def _draw_address(network: IPv4Network, taken: set[str]) -> str:
    """Draw an address that nobody has yet; never a network's first or last, which stand in the GeoIP file."""
    while True:
        address = str(network[_random.randrange(1, network.num_addresses - 1)])
        if address not in taken:
            taken.add(address)
            return address
