"""`/docs`: the OpenAPI document as one page, without scripts and without anything from elsewhere."""

from base64 import b64encode
from hashlib import sha256
from html import escape
from typing import Any, Final

from api.answer import Json

_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:70em;margin:0 auto;padding:1em;color:#222;background:#fff}"
    "nav a{margin-right:1em}summary{cursor:pointer;padding:.3em 0}summary code{font-size:1rem}"
    "summary b{display:inline-block;width:4.5em}details>div{margin:0 0 1.5em 1.5em}"
    "table{border-collapse:collapse;margin:.5em 0 1em}"
    "td{vertical-align:top;padding:.15em 1em .15em 0;border-bottom:1px solid #ddd}"
    "@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}td{border-color:#444}a{color:#8bf}}"
)
_DIGEST: Final = b64encode(sha256(_STYLE.encode()).digest()).decode()
POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_DEEPEST = 6
_BOUNDS: Final = {
    "minimum": "at least",
    "maximum": "at most",
    "minLength": "characters, at least",
    "maxLength": "characters, at most",
    "maxItems": "items, at most",
    "const": "only",
    "default": "default",
}

Rows = list[tuple[str, str, str, str]]  # name, type, whether it is required, what bounds it


def page(document: Json) -> str:
    """The whole page, as HTML."""
    found: Any = document
    by_tag: dict[str, list[str]] = {each["name"]: [] for each in found["tags"]}
    schemas = found["components"]["schemas"]
    for path, methods in found["paths"].items():
        for method, operation in methods.items():
            by_tag[operation["tags"][0]].append(_operation(method.upper(), path, operation, schemas))
    title = f"{escape(found['info']['title'])} {escape(found['info']['version'])}: REST API"
    links = "".join(f'<a href="#{escape(tag)}">{escape(tag)}</a>' for tag in by_tag)
    sections = "".join(
        f'<section><h2 id="{escape(tag)}">{escape(tag)}</h2>{"".join(rows)}</section>' for tag, rows in by_tag.items()
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body><h1>{title}</h1>'
        "<p>A token goes in the header <code>X-Access-Token</code> or <code>Authorization: Bearer</code>. "
        f'As a document: <a href="openapi.json">openapi.json</a>.</p><nav>{links}</nav>{sections}</body></html>'
    )


def _operation(method: str, path: str, operation: dict[str, Any], schemas: dict[str, Any]) -> str:
    parameters: Rows = [
        (
            each["name"],
            f"{_kind(each['schema'], schemas)} in {each['in']}",
            _need(each["required"]),
            _bounds(each["schema"]),
        )
        for each in operation["parameters"]
    ]
    parts = [f"<p>{escape(operation['description'])}</p>", _table("Parameters", parameters)]
    if "requestBody" in operation:
        body = operation["requestBody"]["content"]["application/json"]["schema"]
        parts.append(_table("Body", _fields(body, schemas)))
    media, answer = next(iter(operation["responses"]["200"]["content"].items()))
    fields = _fields(answer["schema"], schemas)
    parts.append(_table("Answer", fields) if fields else f"<h4>Answer</h4><p><code>{escape(media)}</code></p>")
    failures: Rows = [
        (status, each["description"], "", "") for status, each in operation["responses"].items() if status != "200"
    ]
    parts.append(_table("Failures", failures))
    return (
        f'<details id="{escape(operation["operationId"])}"><summary><b>{method}</b><code>{escape(path)}</code> '
        f"{escape(operation['summary'])}</summary><div>{''.join(parts)}</div></details>"
    )


def _fields(schema: dict[str, Any], schemas: dict[str, Any], ahead: str = "", depth: int = 0) -> Rows:
    """The fields of an object and, behind each, those of what is in it."""
    rows: Rows = []
    if depth > _DEEPEST:
        return rows
    for part in _parts(schema, schemas):
        if "items" in part:
            rows += _fields(part["items"], schemas, f"{ahead.removesuffix('.')}[].", depth + 1)
        needed = part.get("required", ())
        for name, inner in part.get("properties", {}).items():
            rows.append((ahead + name, _kind(inner, schemas), _need(name in needed), _bounds(inner)))
            rows += _fields(inner, schemas, f"{ahead}{name}.", depth + 1)
    return rows


def _parts(schema: dict[str, Any], schemas: dict[str, Any]) -> list[dict[str, Any]]:
    """The schemas of which a value follows one, without references."""
    if "$ref" in schema:
        return _parts(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    choices = [] if "type" in schema else schema.get("anyOf", [])
    return [part for each in choices for part in _parts(each, schemas)] if choices else [schema]


def _kind(schema: dict[str, Any], schemas: dict[str, Any]) -> str:
    names = []
    for part in _parts(schema, schemas):
        name = " | ".join(f'"{each}"' for each in part["enum"]) if "enum" in part else str(part.get("type", "any"))
        if "items" in part:
            name = f"array of {_kind(part['items'], schemas)}"
        names.append(f"{name} ({part['format']})" if "format" in part else name)
    return " or ".join(names)


def _bounds(schema: dict[str, Any]) -> str:
    return ", ".join(f"{words} {schema[key]}" for key, words in _BOUNDS.items() if key in schema)


def _need(required: bool) -> str:
    return "required" if required else ""


def _table(title: str, rows: Rows) -> str:
    if not rows:
        return ""
    lines = "".join(
        f"<tr><td><code>{escape(name)}</code></td>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"
        for name, *cells in rows
    )
    return f"<h4>{title}</h4><table>{lines}</table>"
