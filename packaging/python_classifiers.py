"""Hatchling runs this before it checks classifiers: Debian 12's list of them ends with Python 3.12."""

from __future__ import annotations

from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class PythonClassifiersHook(MetadataHookInterface):
    """Adds the classifiers of later versions of Python to those that may be used."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Change nothing."""

    def get_known_classifiers(self) -> list[str]:
        """Give the classifiers that an old list lacks."""
        return [f"Programming Language :: Python :: 3.{minor}" for minor in (13, 14, 15)]
