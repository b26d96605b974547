"""The public site: how long it takes, and how large its pages are; and again after one more day.

    script/bench site [--quick]

250 countries and 8 transports for 365 days; made-up numbers, tables as `obfstats analyse` writes them. `--quick` takes
30 countries. Each run is the whole program, with reading and with writing to the disk.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import subprocess
import sys
import time
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from obfstats.show.world import load_world

FIRST = date(2025, 12, 1)
DAYS = 365
TRANSPORTS = ["obfs4", "webtunnel", "snowflake", "meek", "obfs3", "obfs2", "conjure", "<OR>"]
MAX_PAGE = 300_000


def write_tables(folder: Path, countries: list[str], days: int) -> None:
    """Write the tables of some days. Sizes of countries have a heavy tail; a country has an event a year."""
    dice = random.Random(21)
    folder.mkdir(exist_ok=True)
    users = ["date,country,transport,users,lower,upper,predicted,capped"]
    expected = ["date,country,transport,lower,upper"]
    clients = [
        (
            "date,country,transport,addresses,addresses_lower,addresses_upper,"
            "connections,connections_lower,connections_upper,bridges"
        )
    ]
    events = ["date,country,transport,detector,direction,value,expected_lower,expected_upper,annotations"]
    bridges = ["date,running,reporting,served_share,completed_share,capped_bridges,capped_users,series_break"]
    sizes = {country: math.exp(dice.gauss(3, 2)) for country in countries}
    keys = [("", ""), *(("", name) for name in TRANSPORTS), *((country, "") for country in countries)]
    total = sum(sizes.values())
    for number in range(days):
        day = FIRST + timedelta(days=number)
        bridges.append(f"{day},2000,1900,0.5,1,0,0,{'true' if number == 200 else 'false'}")
        for country, transport in keys:
            size = sizes[country] if country else total / (len(TRANSPORTS) if transport else 1)
            value = size * (1 + 0.2 * math.sin(number * 2 * math.pi / 7)) * math.exp(dice.gauss(0, 0.05))
            key = f"{day},{country},{transport}"
            users.append(f"{key},{value:.3f},{value * 0.95:.3f},{value * 1.05:.3f},0,0")
            expected.append(f"{key},{value * 0.8:.0f},{value * 1.2:.0f}")
            clients.append(f"{key},{value / 9:.3f},{value / 10:.3f},{value / 8:.3f},,,,200")
            if country and dice.random() < 1 / 400:
                events.append(f"{key},obfstats,{dice.choice(['drop', 'rise'])},{value:.0f},1,2,Something was reported.")
        for country in countries:
            clients += [f"{day},{country},{transport},5,4,6,,,,200" for transport in TRANSPORTS[:4]]
    tables = {"users": users, "expected": expected, "clients": clients, "events": events, "bridges": bridges}
    for name, lines in tables.items():
        (folder / f"obfstats-{name}.csv").write_text("\n".join(lines) + "\n")


def make_site(folder: Path, out: Path) -> tuple[float, float, str]:
    """Run the program; give its seconds, those of CPU time, and what it printed."""
    command = [str(Path(sys.executable).with_name("obfstats")), "site", "--from", str(folder), "--to", str(out)]
    begin, before = time.monotonic(), os.times()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return time.monotonic() - begin, cpu, done.stdout.partition(": ")[2].strip()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    world = load_world()
    codes = sorted(code.lower() for code in [*world.shapes, *world.dots])
    countries = codes[:30] if quick else [*codes, "??", "eu"][:250]
    print(f"## A public site of {len(countries)} countries x {DAYS} days\n")
    print("| run | time | CPU time | files |\n|---|---|---|---|")
    with TemporaryDirectory() as scratch:
        folder, out = Path(scratch, "results"), Path(scratch, "site")
        for run, days in (("first", DAYS), ("nothing new", DAYS), ("one more day", DAYS + 1)):
            write_tables(folder, countries, days)
            seconds, cpu, files = make_site(folder, out)
            print(f"| {run} | {seconds:.1f} s | {cpu:.1f} s | {files} |", flush=True)
        pages = {path: path.stat().st_size for path in out.rglob("*.html")}
        largest = max(pages, key=lambda path: pages[path])
        print(
            f"\nThe largest of {len(pages)} pages is {largest.relative_to(out)} with {pages[largest] / 1000:.0f} kB "
            f"(goal: {MAX_PAGE / 1000:.0f}); the mean is {sum(pages.values()) / len(pages) / 1000:.0f} kB."
        )


if __name__ == "__main__":
    main()
