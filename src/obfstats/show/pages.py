"""Templates become pages, with their style inside, that load nothing and run nothing.

The templates escape every value. Beside that, the policy in the page lets a browser use its own style, by its hash, and
data: images, and nothing else: no script, no request, no form.
"""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from obfstats import __version__

_REST: Final = "img-src data:; base-uri 'none'; form-action 'none'"

HEADERS: Final = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'unsafe-inline'; {_REST}; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""What a server should send with pages. The policy in each page is stricter, but cannot forbid frames."""


def render(template: str, **values: object) -> str:
    """Make a page.

    Args:
        template: its name.
        values: what it shows.
    """
    style = _style()
    digest = b64encode(sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; {_REST}"
    page = _environment().get_template(template)
    # The style is ours, and escaping would change it.
    return page.render(style=Markup(style), policy=policy, version=__version__, **values)  # noqa: S704


@cache
def _style() -> str:
    """Give the style, with a class for each width of a bar: w0 to w100, in percent."""
    style = files("obfstats.show").joinpath("assets", "style.css").read_text(encoding="utf-8")
    return style + "".join(f".w{percent}{{width:{percent}%}}" for percent in range(101)) + "\n"


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("obfstats.show"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
