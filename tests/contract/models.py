"""Answers against their models in `api/answers`, which are what our OpenAPI says of them."""

from pydantic import ValidationError

from api.openapi.operations import OPERATIONS


def check_model(operation: str, answer: object) -> None:
    """Raises: AssertionError when an answer of success is not as its model says."""
    model = OPERATIONS[operation].answer
    if model is None:
        return
    try:
        model.model_validate(answer)
    except ValidationError as error:
        raise AssertionError(
            f"{operation} does not answer as {model.__module__}.{model.__name__} says: {error}"
        ) from None
