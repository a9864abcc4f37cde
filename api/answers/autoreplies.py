"""What operations of the tag Autoreplies answer."""

from api.answers.base import Answer, Date, Operation, absent
from api.answers.shared import SuccessResponse


class UpdateAutoreplyResponse(Answer):
    success: bool
    id: str


class GetAutoreplyResponse(Answer):
    success: bool
    status: bool = absent()
    name: str = absent()
    subject: str = absent()
    text: str = absent()
    html: str = absent()
    start: Date | bool = absent()
    end: Date | bool = absent()
    created: Date = absent()


OPERATIONS = {
    "PUT /users/{user}/autoreply": Operation("updateAutoreply", UpdateAutoreplyResponse),
    "GET /users/{user}/autoreply": Operation("getAutoreply", GetAutoreplyResponse),
    "DELETE /users/{user}/autoreply": Operation("deleteAutoreply", SuccessResponse),
}
