"""What operations of the tag Submission answer."""

from api.answers.base import Answer, Operation


class MessageWithQueueId(Answer):
    mailbox: str
    id: int
    queueId: str


class SubmitMessageResponse(Answer):
    success: bool
    message: MessageWithQueueId


OPERATIONS = {
    "POST /users/{user}/submit": Operation("submitMessage", SubmitMessageResponse),
}
