"""A real Prometheus, promtool and node_exporter (Debian's packages, unpacked by script/fetch-peers).

with prometheus.scraping(tmp_path, {"obfstats": ("127.0.0.1", 9036)}) as server:
server.query("obfstats_failing")        its samples: labels and value
"""

from __future__ import annotations

import json
import subprocess
import urllib.parse
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from peers.child import Child
from peers.fetched import find_program
from peers.missing import need

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_CONFIGURATION = """\
global: {{scrape_interval: 500ms, evaluation_interval: 500ms}}
rule_files: [{rules}]
scrape_configs:
"""
_JOB = """\
  - job_name: {job}
    static_configs: [{{targets: ["{host}:{port}"]}}]
"""


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus.

    Attributes:
        url: where it answers.
    """

    url: str

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Give labels and value of each sample of an instant query.

        Raises:
            urllib.error.HTTPError: if it is no valid expression.
        """
        found = self._get("query?" + urllib.parse.urlencode({"query": expression}))
        if found["resultType"] == "scalar":
            return [({}, float(found["result"][1]))]
        return [(sample["metric"], float(sample["value"][1])) for sample in found["result"]]

    def rules(self) -> list[dict[str, Any]]:
        """Give all rules, with `query`, `health` and `lastError`."""
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def _get(self, path: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}", timeout=30) as answer:
            data: dict[str, Any] = json.load(answer)["data"]
        return data


@contextmanager
def scraping(folder: Path, targets: Mapping[str, tuple[str, int]], rules: str = "") -> Iterator[Prometheus]:
    """Run Prometheus until the block ends.

    Args:
        folder: for its configuration and data.
        targets: what it scrapes twice a second, by job.
        rules: the pattern of rule files, if there are any.
    """
    need("prometheus", "prometheus")
    jobs = [_JOB.format(job=job, host=host, port=port) for job, (host, port) in targets.items()]
    configuration = folder / "prometheus.yml"
    configuration.write_text(_CONFIGURATION.format(rules=rules) + "".join(jobs))
    command = [
        find_program("prometheus") or "prometheus",
        f"--config.file={configuration}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        "--web.listen-address=127.0.0.1:0",
    ]
    with Child(command) as child:
        match = child.wait_for_line("stderr", r'msg="?Listening on"?.*address=127\.0\.0\.1:([0-9]+)')
        child.wait_for_line("stderr", "Server is ready to receive web requests")
        yield Prometheus(f"http://127.0.0.1:{match[1]}")


def promtool(*arguments: str, text: bytes = b"") -> tuple[int, str]:
    """Run promtool; give its exit status and everything that it printed.

    Args:
        arguments: its command line.
        text: its standard input.
    """
    need("prometheus", "promtool")
    command = [find_program("promtool") or "promtool", *arguments]
    result = subprocess.run(command, input=text, capture_output=True, check=False, timeout=60)
    return result.returncode, (result.stdout + result.stderr).decode()


@contextmanager
def node_exporter(textfiles: Path) -> Iterator[tuple[str, int]]:
    """Run node_exporter with its collector of textfiles alone; yield where it listens."""
    need("prometheus-node-exporter", "prometheus-node-exporter")
    command = [
        find_program("prometheus-node-exporter") or "prometheus-node-exporter",
        "--collector.disable-defaults",
        "--collector.textfile",
        f"--collector.textfile.directory={textfiles}",
        "--web.listen-address=127.0.0.1:0",
    ]
    with Child(command) as child:
        match = child.wait_for_line("stderr", r'msg="?Listening on"?.*address=127\.0\.0\.1:([0-9]+)')
        yield "127.0.0.1", int(match[1])
