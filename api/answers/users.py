"""What operations of the tag Users answer."""

from typing import Literal

from api.answers.base import Answer, Anything, Date, Operation, absent
from api.answers.shared import Forwards, SuccessResponse


class Quota(Answer):
    allowed: int
    used: int


class GetUsersResult(Answer):
    id: str
    username: str
    name: str | None
    address: str
    tags: list[str]
    targets: list[str]
    enabled2fa: list[str]
    autoreply: bool
    encryptMessages: bool
    encryptForwarded: bool
    quota: Quota = absent()
    metaData: Anything = absent()
    internalData: Anything = absent()
    hasPasswordSet: bool
    activated: bool
    disabled: bool
    suspended: bool


class GetUsersResponse(Answer):
    success: bool
    total: int
    page: int
    previousCursor: str | bool
    nextCursor: str | bool
    query: str = absent()
    results: list[GetUsersResult]


class CreateUserResponse(Answer):
    success: bool
    id: str


class ResolveIdForUsernameResponse(Answer):
    success: bool
    id: str


class KeyInfo(Answer):
    name: str
    address: str
    fingerprint: str


class Recipients(Answer):
    allowed: int
    used: int
    ttl: int | bool


class Filters(Answer):
    allowed: int
    used: int


class Received(Answer):
    allowed: int
    used: int
    ttl: int | bool


class ImapUpload(Answer):
    allowed: int
    used: int
    ttl: int | bool


class ImapDownload(Answer):
    allowed: int
    used: int
    ttl: int | bool


class Pop3Download(Answer):
    allowed: int
    used: int
    ttl: int | bool


class ImapMaxConnections(Answer):
    allowed: int
    used: int


class Pop3MaxMessages(Answer):
    allowed: int


class FeatureFlagsOf(Answer):
    indexing: bool = absent()


class UserLimits(Answer):
    quota: Quota = absent()
    recipients: Recipients
    filters: Filters
    forwards: Forwards
    received: Received
    imapUpload: ImapUpload
    imapDownload: ImapDownload
    pop3Download: Pop3Download
    pop3MaxMessages: Pop3MaxMessages
    imapMaxConnections: ImapMaxConnections = absent()


class GetUserResponse(Answer):
    success: bool
    id: str
    username: str
    name: str | None
    address: str
    language: str | None
    retention: int = absent()
    enabled2fa: list[str]
    autoreply: bool
    encryptMessages: bool
    encryptForwarded: bool
    pubKey: str
    mtaRelay: str = absent()
    keyInfo: KeyInfo | bool
    metaData: Anything
    internalData: Anything = absent()
    targets: list[str]
    spamLevel: int
    limits: UserLimits
    tags: list[str] = absent()
    fromWhitelist: list[str] = absent()
    disabledScopes: list[Literal["imap", "pop3", "smtp"]] = absent()
    featureFlags: FeatureFlagsOf
    hasPasswordSet: bool
    activated: bool
    disabled: bool
    suspended: bool


class DeleteUserResponseAddresses(Answer):
    deleted: int = absent()


class DeleteUserResponse(Answer):
    success: bool
    code: str = absent()
    user: str = absent()
    addresses: DeleteUserResponseAddresses = absent()
    deleteAfter: Date = absent()
    task: str = absent()


class RecalculateQuotaResponse(Answer):
    success: bool
    storageUsed: int
    previousStorageUsed: int


class RecalculateQuotaAllUsersResponse(Answer):
    success: bool
    task: str


class ResetUserPasswordResponse(Answer):
    success: bool
    password: str
    validAfter: Date = absent()


class RecoverInfoResponse(Answer):
    success: bool
    user: str
    username: str
    storageUsed: int
    tags: list[str] = absent()
    deleted: Date
    recoverableAddresses: list[str]


class CancelUserDeletionResponseAddresses(Answer):
    recovered: int = absent()
    main: str = absent()


class CancelUserDeletionResponse(Answer):
    success: bool
    code: str
    user: str = absent()
    task: str = absent()
    addresses: CancelUserDeletionResponseAddresses = absent()


OPERATIONS = {
    "GET /users": Operation("getUsers", GetUsersResponse),
    "POST /users": Operation("createUser", CreateUserResponse),
    "GET /users/resolve/{username}": Operation("resolveUser", ResolveIdForUsernameResponse),
    "GET /users/{user}": Operation("getUser", GetUserResponse),
    "PUT /users/{user}": Operation("updateUser", SuccessResponse),
    "DELETE /users/{user}": Operation("deleteUser", DeleteUserResponse),
    "PUT /users/{user}/logout": Operation("logoutUser", SuccessResponse),
    "POST /users/{user}/quota/reset": Operation("recalculateQuota", RecalculateQuotaResponse),
    "POST /quota/reset": Operation("recalculateQuotaAllUsers", RecalculateQuotaAllUsersResponse),
    "POST /users/{user}/password/reset": Operation("resetUserPassword", ResetUserPasswordResponse),
    "GET /users/{user}/restore": Operation("restoreUserInfo", RecoverInfoResponse),
    "POST /users/{user}/restore": Operation("cancelUserDelete", CancelUserDeletionResponse),
    "GET /users/{user}/updates": Operation("getUpdates", media="text/event-stream"),
}
