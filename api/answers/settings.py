"""What operations of the tag Settings answer."""

from api.answers.base import Answer, Operation, absent


class GetSettingsResult(Answer):
    key: str
    value: str | int | bool
    name: str
    description: str
    default: str | int | bool
    type: str
    custom: bool


class GetSettingsResponse(Answer):
    success: bool
    filter: str = absent()
    settings: list[GetSettingsResult]


class CreateSettingResponse(Answer):
    success: bool
    key: str


class GetSettingResponse(Answer):
    success: bool
    key: str
    value: str | int | bool = absent()
    error: str = absent()


OPERATIONS = {
    "GET /settings": Operation("getSettings", GetSettingsResponse),
    "POST /settings/{key}": Operation("createSetting", CreateSettingResponse),
    "GET /settings/{key}": Operation("getSetting", GetSettingResponse),
}
