"""HTML of a message with nothing left in it that runs, loads or pretends: no scripts, forms, frames, foreign styles.

What stays is what mail is written with. Links of `cid:` and `attachment:` stay, so that pictures of the message show.
"""

import nh3

# nh3 panics, with a BaseException, when a tag is both allowed and cleaned away with its content.
_GONE = frozenset({"script", "style", "title", "iframe", "object", "noscript", "template", "svg", "math"})
_TAGS = (nh3.ALLOWED_TAGS | {"font", "center", "big", "tt", "u", "s"}) - _GONE
_ANYWHERE = frozenset({"align", "bgcolor", "color", "dir", "height", "lang", "style", "title", "valign", "width"})
_ATTRIBUTES: dict[str, set[str]] = {
    **{tag: set(names) for tag, names in nh3.ALLOWED_ATTRIBUTES.items()},
    "*": set(_ANYWHERE),
    "font": {"face", "size"},
    "table": {"border", "cellpadding", "cellspacing", "summary"},
}
_SCHEMES = frozenset({"http", "https", "mailto", "tel", "cid", "attachment"})
# Of `style`: nothing that lies over what a webmail shows around the message, and, by the values that are dropped
# with `url(`, nothing that loads.
_STYLES = frozenset(
    {
        "background-color", "border", "border-bottom", "border-collapse", "border-color", "border-left",
        "border-radius", "border-right", "border-spacing", "border-style", "border-top", "border-width",
        "color", "direction", "display", "font", "font-family", "font-size", "font-style", "font-weight",
        "height", "letter-spacing", "line-height", "list-style-type", "margin", "margin-bottom",
        "margin-left", "margin-right", "margin-top", "max-width", "min-width", "padding", "padding-bottom",
        "padding-left", "padding-right", "padding-top", "text-align", "text-decoration", "text-indent",
        "text-transform", "vertical-align", "white-space", "width", "word-break",
    }
)  # fmt: skip


def clean(source: str) -> str:
    """CPU."""
    return _CLEANER.clean(source)


def _attribute(tag: str, name: str, value: str) -> str | None:
    del tag
    if name == "style" and any(mark in value.lower() for mark in ("url(", "expression(", "\\", "@import")):
        return None
    return value


_CLEANER = nh3.Cleaner(
    tags=set(_TAGS),
    clean_content_tags=set(_GONE),
    attributes=_ATTRIBUTES,
    attribute_filter=_attribute,
    url_schemes=set(_SCHEMES),
    filter_style_properties=set(_STYLES),
    strip_comments=True,
    link_rel="noopener noreferrer",
)
