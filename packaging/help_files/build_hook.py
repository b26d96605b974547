"""Hatchling runs this for each wheel: it adds man pages and shell completion as files below share/."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class HelpFilesHook(BuildHookInterface[Any]):
    """Makes the files before the wheel is put together, and removes them afterwards. Editable installs get none."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Make the files."""
        if version == "editable":
            return
        root = Path(self.root)
        sys.path[:0] = [str(root / "packaging"), str(root / "src")]
        from help_files import write_files  # noqa: PLC0415

        self._folder = tempfile.TemporaryDirectory(prefix="obfstats-share-")
        write_files(Path(self._folder.name), (root / "CHANGELOG.md").read_text(encoding="utf-8"))
        # Newer versions have build_data["shared_data"]; Debian 12's has only this.
        self.build_config.target_config["shared-data"] = {self._folder.name: "share"}

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Remove the files."""
        if version != "editable":
            self._folder.cleanup()
