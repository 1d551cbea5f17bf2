"""Errors as Alpaca's trading API says them: an HTTP status, a code, a sentence, and figures beside them."""

from __future__ import annotations

BAD_REQUEST = 40010000  # with 400
BAD_FIELD, UNPROCESSABLE = 40010001, 42210000  # with 422
FORBIDDEN, NOT_FOUND, TOO_MANY = 40310000, 40410000, 42910000
NOT_SERVED = 50110000  # with 501: Alpaca has it, a session does not


class ApiError(Exception):
    """What a request is answered with instead of its result.

    >>> ApiError.forbidden("insufficient buying power", buying_power="10").body()
    {'buying_power': '10', 'code': 40310000, 'message': 'insufficient buying power'}
    """

    def __init__(self, status: int, code: int, message: str, **figures: object):
        super().__init__(message)
        self.status, self.code, self.message, self.figures = status, code, message, figures

    def body(self) -> dict:
        return dict(sorted({"code": self.code, "message": self.message, **self.figures}.items()))

    @staticmethod
    def forbidden(message: str, **figures: object) -> ApiError:
        """The account may not: buying power, shares, wash trades."""
        return ApiError(403, FORBIDDEN, message, **figures)

    @staticmethod
    def missing(message: str) -> ApiError:
        return ApiError(404, NOT_FOUND, message)

    @staticmethod
    def field(message: str) -> ApiError:
        """A field is missing, malformed or not unique."""
        return ApiError(422, BAD_FIELD, message)

    @staticmethod
    def refused(message: str, **figures: object) -> ApiError:
        """Well-formed, and not possible."""
        return ApiError(422, UNPROCESSABLE, message, **figures)
