"""Settings: what administrators change while the server runs."""

from api.answer import Json
from api.route import Call, Route, route
from api.schemas.settings import ListSettings, OneSetting, PutSetting
from duckmail.errors import NotFound
from duckmail.services.settings import Entry


async def list_settings(call: Call, request: ListSettings) -> Json:
    entries = await call.services.settings.list(request.filter, call.by)
    return {
        "success": True,
        **({"filter": request.filter} if "filter" in request.model_fields_set else {}),
        "settings": [_row(entry) for entry in entries],
    }


def _row(entry: Entry) -> Json:
    setting = entry.setting
    return {
        "key": setting.key,
        "value": entry.value,
        "name": setting.name,
        "description": setting.description,
        "default": setting.default,
        "type": setting.type,
        "custom": entry.custom,
    }


async def read(call: Call, request: OneSetting) -> Json:
    try:
        entry = await call.services.settings.get(request.key, call.by)
    except NotFound as error:
        # Clients of the contract expect 200 for this.
        return {"success": False, "key": request.key, "error": error.text}
    return {"success": True, "key": request.key, "value": entry.value}


async def put(call: Call, request: PutSetting) -> Json:
    await call.services.settings.put(request.key, request.value, call.by)
    return {"success": True, "key": request.key}


ROUTES: tuple[Route, ...] = (
    route("GET", "/settings", ListSettings, list_settings),
    route("GET", "/settings/{key}", OneSetting, read),
    route("POST", "/settings/{key}", PutSetting, put),
)
