"""Which documents of a folder are still to be sent (`--submit`): those that were released since it was given.

    DIR/2012-02-10-09-22-04-obfsproxy-stats    a document (publish/release.py)
    DIR/.submitted                             names of documents that are not to be sent, or not any more, a line each;
                                               0600. The line `begun` follows those that were there first

- Documents that are in DIR when `--submit` is first given are not sent: the operator may not want that. Nor are those
  that are released while the program runs without it.
- A document that is released later is to be sent, also if the program is killed before it could note anything.
- Only a regular file of this user's is a document: others may be able to write into DIR.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from obfstats.lockedfile import LockedFile
from obfstats.publish.release import is_document, read_released

if TYPE_CHECKING:
    from pathlib import Path

_LIST_NAME = ".submitted"
_BEGUN = "begun"


class UnsentDocuments:
    """The documents of a folder that are to be sent. The list of the others stays open until the program ends.

    Attributes:
        left_out: how many documents are not sent because they were there first.
    """

    def __init__(self, folder: Path) -> None:
        """Read the list, or begin it.

        Args:
            folder: the folder, which exists.

        Raises:
            LockedFileError: if the list cannot be used.
            OSError: if it cannot be read or written.
        """
        self.left_out = 0
        self._folder = folder
        self._list = LockedFile.open(folder / _LIST_NAME, "list of sent documents", "remove it")
        self._list.make_private()
        self._done = set(self._list.read(self._list.size).decode("ascii", "replace").split("\n"))
        if _BEGUN not in self._done:
            present = self._new_names()
            self.left_out = len(present)
            self._note(*present, _BEGUN)

    def close(self) -> None:
        """Let other programs have the list."""
        self._list.close()

    def find(self) -> list[tuple[str, bytes]]:
        """Find the documents that are to be sent: their names and texts, the oldest interval first.

        Raises:
            OSError: if one cannot be read.
        """
        return [(name, read_released(self._folder / name)) for name in self._new_names()]

    def mark_done(self, name: str) -> None:
        """Note that a document is not to be sent any more.

        Raises:
            OSError: if the disk does not accept that; the next program finds the document again.
        """
        self._note(name)

    def _note(self, *names: str) -> None:
        self._done.update(names)
        self._list.append("".join(f"{name}\n" for name in names).encode(), sync=True)

    def _new_names(self) -> list[str]:
        return sorted(path.name for path in self._folder.iterdir() if path.name not in self._done and is_document(path))


def remove_list(folder: Path) -> None:
    """Remove the list: what is released from now on is not sent, even if `--submit` is given again later."""
    with suppress(OSError):
        (folder / _LIST_NAME).unlink(missing_ok=True)
