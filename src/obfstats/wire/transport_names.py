"""The names of the transports, for command lines, help and completion: nothing else has to be loaded for them."""

from __future__ import annotations

TRANSPORT_NAMES = ("dummy", "obfs2", "obfs3")
"""In the order they are offered."""

RETIRED: dict[str, str] = {
    "b64": "b64 is not offered: Base64 hides nothing from an observer; use obfs3, or obfs4 through "
    "lyrebird or obfs4proxy.",
    "scramblesuit": "scramblesuit is not offered: obfs4 has taken its place; use lyrebird or obfs4proxy.",
}
"""By name: transports that only the Python obfsproxy offered, and a sentence that says what to use instead."""
