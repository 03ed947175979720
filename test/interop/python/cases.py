"""Says what holds in the Test Anything Protocol."""

import traceback

_cases = []


def case(title):
    """Notes a function as a case; it fails by what it raises."""

    def note(function):
        _cases.append((title, function))
        return function

    return note


def play():
    """Plays all cases in their order. Returns the exit code."""
    failed = False
    for title, function in _cases:
        try:
            function()
            print(f"ok - {title}", flush=True)
        except Exception as error:  # every error is a case that failed
            failed = True
            place = traceback.extract_tb(error.__traceback__)[-1]
            why = f"{type(error).__name__}: {error} ({place.name}:{place.lineno} {place.line})"
            print(f"not ok - {title} # {why}".replace("\n", " "), flush=True)
    return 1 if failed else 0
