"""What operations of the tag Health answer."""

from api.answers.base import Operation
from api.answers.shared import SuccessResponse

OPERATIONS = {
    "GET /health": Operation("getHealth", SuccessResponse),
}
