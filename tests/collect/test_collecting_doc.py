"""docs/collecting.md: a newcomer's commands and the backup, as the page has them."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from pathlib import Path

from obfstats.collect.index import parse_index, unpack_index
from peers.child import Child
from peers.namespaces import in_own_network
from peers.program import OBFSTATS
from tests.collect.collectors import document
from tests.collect.services import KEY, request, serving
from tests.proxy.visiting import wait_until
from tests.publish.programs import run

PAGE = (Path(__file__).parents[2] / "docs" / "collecting.md").read_text()
DAY = 86_400


def section(title: str) -> str:
    """A section of the page."""
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def commands(title: str) -> list[str]:
    """The indented blocks of a section: each is a command, or a few."""
    blocks = re.findall(r"(?:^    .*\n)+", section(title), re.MULTILINE)
    return [re.sub("^    ", "", block, flags=re.MULTILINE) for block in blocks]


def published(collector: Path) -> list[bytes]:
    """The documents of the recent files that a collector's index has."""
    public = collector / "public"
    if not (public / "index.json.xz").exists():
        return []
    paths = [entry.path for entry in parse_index(unpack_index((public / "index.json.xz").read_bytes())).files]
    texts = b"".join((public / path).read_bytes() for path in paths if path.endswith("-obfsproxy-stats"))
    return [b"@type" + text for text in texts.split(b"@type")[1:]]


def test_the_three_commands_of_the_page_work_as_they_stand(tmp_path: Path) -> None:
    """A collector, a bridge's document, a mirror; `script/obfstats` is the installed program here."""
    (tmp_path / "script").mkdir()
    (tmp_path / "script" / "obfstats").symlink_to(OBFSTATS)
    collect, submit, mirror = commands("Try it")

    def story() -> None:
        with Child(["bash", "-c", collect], folder=tmp_path) as collector:
            collector.wait_for_line("stdout", "^listening at http://127.0.0.1:8085$")
            sent = run(["bash", "-c", submit], folder=tmp_path)
            assert sent.returncode == 0, sent.stderr
            assert b": accepted; in the public archive by " in sent.stdout
            assert wait_until(lambda: bool(published(tmp_path / "trial" / "collector")))
            mirrored = run(["bash", "-c", mirror], folder=tmp_path)
            assert mirrored.returncode == 0, mirrored.stderr

    try:
        in_own_network(story)
    except PermissionError:
        # Only root may have port 8085 for itself.
        story()
    recent = tmp_path / "trial" / "mirrored" / "recent" / "obfsproxy-stats"
    [documents] = [path for path in recent.iterdir() if path.name.endswith("-obfsproxy-stats")]
    written = (tmp_path / "trial" / "document").read_text()
    assert documents.read_text() == f"@type obfsproxy-stats 1.0\n{written}"
    assert "obfsproxy-ips DE=24\n" in written
    assert (recent / f"{documents.name}.signatures").exists()


def test_a_backup_is_restored_and_bridges_go_on(tmp_path: Path) -> None:
    """The page's `cp -a`, of a collector that was stopped with a document that was not public yet."""
    [stop, copy, start] = commands("Backup and restore")[0].splitlines()
    assert (stop.split()[1], start.split()[1]) == ("stop", "start")
    copy = copy.replace("/var/lib/", f"{tmp_path}/").replace("/backup/", f"{tmp_path}/backup/")
    folder = tmp_path / "obfstats-collect"
    (tmp_path / "backup").mkdir()
    now = int(time.time())
    first, second = document(1, now - DAY), document(1, now - 2 * DAY)

    with serving(folder, "--publish-every", "86400", "--admit", KEY.public) as collector:
        assert collector.post(request(first)).status == 201
    subprocess.run(["bash", "-c", copy], check=True)
    with serving(folder, "--publish-every", "1") as collector:
        assert collector.post(request(second)).status == 201
        assert wait_until(lambda: len(published(folder)) == 2)
        assert run([OBFSTATS, "mirror", collector.url, str(tmp_path / "mirrored")]).returncode == 0

    shutil.rmtree(folder)
    (tmp_path / "backup" / "obfstats-collect").rename(folder)
    with serving(folder, "--publish-every", "1") as collector:
        assert collector.post(request(first)).status == 200
        assert collector.post(request(second)).status == 201
        assert wait_until(lambda: len(published(folder)) == 2)
        result = run([OBFSTATS, "mirror", collector.url, str(tmp_path / "mirrored")])
        assert result.returncode == 0, result.stderr
    assert sorted(published(folder)) == sorted([first, second])
