"""What operations of the tag TwoFactorAuth answer."""

from api.answers.base import Answer, Anything, Operation, absent
from api.answers.shared import SuccessResponse


class GenerateTOTPSeedResponse(Answer):
    success: bool
    seed: str
    qrcode: str


class GetWebAuthNResult(Answer):
    id: str
    rawId: str
    description: str
    authenticatorAttachment: str


class GetWebAuthNResponse(Answer):
    success: bool
    credentials: list[GetWebAuthNResult]


class DeleteWebAuthNResponse(Answer):
    success: bool
    deleted: bool


class RegistrationOptionsUser(Answer):
    id: str
    name: str
    displayName: str


class RegistrationOptionsAuthenticatorSelection(Answer):
    authenticatorAttachment: str
    requireResidentKey: bool
    userVerification: str


class RegistrationOptionsParameters(Answer):
    type: str
    alg: int


class RegistrationOptionsRp(Answer):
    name: str
    id: str
    icon: str = absent()


class RegistrationOptionsExcludeCredentialsItem(Answer):
    rawId: str
    type: str
    transports: list[str]


class RegistrationOptions(Answer):
    challenge: str
    pubKeyCredParams: list[RegistrationOptionsParameters]
    timeout: int
    attestation: str
    user: RegistrationOptionsUser = absent()
    authenticatorSelection: RegistrationOptionsAuthenticatorSelection
    rp: RegistrationOptionsRp
    excludeCredentials: list[RegistrationOptionsExcludeCredentialsItem] = absent()


class InitiateWebAuthNRegistrationResponse(Answer):
    success: bool
    registrationOptions: RegistrationOptions = absent()


class AttestedWebAuthN(GetWebAuthNResult):
    success: bool


class AttestateWebAuthNRegistrationResponse(Answer):
    success: bool
    response: AttestedWebAuthN


class AuthenticationOptionsAllowCredentialsItem(Answer):
    rawId: str
    type: str


class AuthenticationOptions(Answer):
    challenge: str
    allowCredentials: list[AuthenticationOptionsAllowCredentialsItem]
    rpId: str = absent()
    rawChallenge: str = absent()
    attestation: str = absent()
    extensions: Anything = absent()
    userVerification: str = absent()
    timeout: int = absent()


class AuthenticateWebAuthNResponse(Answer):
    success: bool
    authenticationOptions: AuthenticationOptions


class AssertedWebAuthN(Answer):
    authenticated: bool
    credential: str


class AssertWebAuthNResponse(Answer):
    success: bool
    response: AssertedWebAuthN
    token: str = absent()


OPERATIONS = {
    "POST /users/{user}/2fa/totp/setup": Operation("generateTOTPSeed", GenerateTOTPSeedResponse),
    "POST /users/{user}/2fa/totp/enable": Operation("enableTOTPSeed", SuccessResponse),
    "DELETE /users/{user}/2fa/totp": Operation("disableTOTPAuth", SuccessResponse),
    "POST /users/{user}/2fa/totp/check": Operation("validateTOTPToken", SuccessResponse),
    "DELETE /users/{user}/2fa": Operation("disable2FA", SuccessResponse),
    "PUT /users/{user}/2fa/custom": Operation("enableCustom2FA", SuccessResponse),
    "DELETE /users/{user}/2fa/custom": Operation("disableCustom2FA", SuccessResponse),
    "GET /users/{user}/2fa/webauthn/credentials": Operation("getWebAuthN", GetWebAuthNResponse),
    "DELETE /users/{user}/2fa/webauthn/credentials/{credential}": Operation("deleteWebAuthN", DeleteWebAuthNResponse),
    "POST /users/{user}/2fa/webauthn/registration-challenge": Operation(
        "initiateWebAuthNRegistration", InitiateWebAuthNRegistrationResponse
    ),
    "POST /users/{user}/2fa/webauthn/registration-attestation": Operation(
        "attestateWebAuthNRegistration", AttestateWebAuthNRegistrationResponse
    ),
    "POST /users/{user}/2fa/webauthn/authentication-challenge": Operation(
        "authenticateWebAuthN", AuthenticateWebAuthNResponse
    ),
    "POST /users/{user}/2fa/webauthn/authentication-assertion": Operation("assertWebAuthN", AssertWebAuthNResponse),
}
