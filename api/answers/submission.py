"""What operations of the tag Submission answer."""

from api.answers.base import Answer, Operation, absent


class MessageWithQueueId(Answer):
    mailbox: str
    id: int | bool
    queueId: str | bool


class SubmitMessageResponse(Answer):
    success: bool
    message: MessageWithQueueId
    overQuota: bool = absent()


OPERATIONS = {
    "POST /users/{user}/submit": Operation("submitMessage", SubmitMessageResponse),
}
