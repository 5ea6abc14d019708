"""How a call of the API ended, as it stands on the wire."""

from pydantic import BaseModel


class Converged(BaseModel):
    """A convergence was done; `problems` is what the host refused, empty if all is applied."""

    problems: tuple[str, ...]


class Failure(BaseModel):
    """A call raised: the class and the message of a `WgbindError`."""

    error: str
    message: str
