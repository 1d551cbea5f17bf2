"""What a file does not say and only the user knows: asked for in one message, with the options that would answer it."""

from __future__ import annotations

from collections.abc import Callable

from replay.errors import BadInput

MOST_ASKED = 12  #: faults named in one message


class Question(BadInput):
    """Something the user has to say. `options` are those of ``replay import`` that would say it, with a value that may be right; None takes
    one back. `renamed` are further names of columns.

    >>> raise Question("bars.csv: how long its bars are is not said: add --interval", {"interval": "5m"})
    Traceback (most recent call last):
        ...
    replay.data.questions.Question: bars.csv: how long its bars are is not said: add --interval
    """

    def __init__(self, text: str, options: dict[str, str | None] | None = None, renamed: dict[str, str] | None = None):
        super().__init__(text)
        self.options = options or {}
        self.renamed = renamed or {}


def ask_together(first: Question, attempt: Callable[[dict[str, str | None], dict[str, str]], None]) -> Question:
    """`first` and whatever `attempt` would ask next, once it has an answer, as one question.

    `attempt` gets the options and names gathered so far and raises the next `BadInput`. One that no option answers ends the list, and there is
    no answer to all of them.
    """
    texts, options, renamed = [str(first)], dict(first.options), dict(first.renamed)
    last: BadInput = first
    named = texts[0].partition(": ")[0]  # the file that the texts are about
    while isinstance(last, Question) and (last.options or last.renamed) and len(texts) < MOST_ASKED:
        try:
            attempt(options, renamed)
            break
        except BadInput as e:
            if str(e) == str(last):
                break
            last = e
            path, sep, rest = str(e).partition(": ")
            again = sep and (path == named or path.startswith(f"{named} row "))
            texts.append(f"{path[len(named) :]}: {rest}".lstrip(": ") if again else str(e))
            named = named if again or not sep else path
            if isinstance(e, Question):
                options |= e.options
                renamed |= e.renamed
    if not (isinstance(last, Question) and (last.options or last.renamed)):
        options, renamed = {}, {}
    return Question("; ".join(texts), options, renamed)
