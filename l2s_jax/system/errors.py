"""Errors that are written for the person who reads them."""

from typing import Any


class UserError(Exception):
    """Something the user can mend: names the file, row or option, what was expected and what to do.

    The command line prints the message without a traceback and ends with `exit_code`.
    """

    def __init__(self, message: str, *, exit_code: int = 2):
        super().__init__(message)
        self.exit_code = exit_code

    def __reduce__(self) -> Any:
        """Whole on its way to another process, whatever a subclass is made from."""
        return _restored, (type(self), self.args, self.__dict__)


def _restored(kind: type[UserError], arguments: tuple[Any, ...], fields: dict[str, Any]) -> UserError:
    error = kind.__new__(kind, *arguments)
    error.__dict__.update(fields)
    return error


class Unwritable(UserError):
    """An output that cannot be written, for want of space or of permission: what comes next would too."""

    def __init__(self, message: str):
        super().__init__(message, exit_code=1)
