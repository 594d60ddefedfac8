"""What runs inside the sandbox: the answer's code, then one step of its tests after another.

It stands alone: its text is handed to a bare interpreter. It is given, on its standard input, the code and the steps;
it tells, line by line, what each step's expression gave, as plain data. It is never told which value is right, and it
never says that a test has passed: that is found outside (asserts.py). The code has no use of standard input
and output; both lead nowhere.
"""

import marshal
import os
import sys
from _json import encode_basestring_ascii as quoted

DEEPEST = 60
LONGEST_WORDS = 200
MOST_DIGITS = 4000
"""Of a Fraction's and a Decimal's parts: outside, longer ones would take long."""


def main() -> None:
    """Read, run, tell."""
    given, telling = os.dup(0), os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)

    def tell(line: str) -> None:
        left = (line + "\n").encode("ascii", "replace")
        while left:
            left = left[os.write(telling, left) :]

    def read() -> object:
        size = int.from_bytes(os.read(given, 4), "big")
        found = b""
        while len(found) < size:
            found += os.read(given, size - len(found))
        return marshal.loads(found)  # noqa: S302  from outside, where our own code wrote it

    tell("ready")
    module = type(sys)("answer")
    sys.modules["answer"] = module
    for name, source in read():  # type: ignore[attr-defined]
        try:
            exec(compile(source, name, "exec"), module.__dict__)  # noqa: S102  what the sandbox is for
        except BaseException as error:  # whatever it raises is the answer's own affair
            tell("code ! " + words(error))
            os._exit(0)
    tell("code")
    for token, kind, source in read():  # type: ignore[attr-defined]
        try:
            if kind == "eval":
                found = encoded(eval(compile(source, "<test>", "eval"), module.__dict__))  # noqa: S307
            else:
                exec(compile(source, "<test>", "exec"), module.__dict__)  # noqa: S102
                found = "true"
        except BaseException as error:
            tell(token + " ! " + words(error))
        else:
            tell(token + " = " + found)
    os._exit(0)  # threads that the answer has left do not hold it up


def words(error: BaseException) -> str:
    """An error in a line."""
    try:
        said = str(error)
    except BaseException:  # its own text may fail
        said = ""
    return " ".join((type(error).__name__ + ": " + said).split())[:LONGEST_WORDS]


def encoded(value: object, depth: int = 0) -> str:  # noqa: PLR0912  a case for each kind of plain data
    """A value as JSON: plain data by what it holds, whatever its class makes of `==`; another object by its truth."""
    if depth > DEEPEST:
        raise ValueError("a value nested too deep")
    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return quoted(str.__str__(value))
    if isinstance(value, int):
        return '["int","' + int.__format__(value, "x") + '"]'
    if isinstance(value, float):
        return '["float","' + float.__repr__(value) + '"]'
    if isinstance(value, complex):
        return '["complex","' + complex.__repr__(value) + '"]'
    if isinstance(value, bytes | bytearray):
        return '["bytes","' + bytes(value).hex() + '"]'
    for kind in (list, tuple, set, frozenset):
        if isinstance(value, kind):
            return '["' + kind.__name__ + '",' + many(value, depth) + "]"
    if isinstance(value, dict):
        return '["dict",' + many(dict.items(value), depth) + "]"
    if isinstance(value, type({}.keys()) | type({}.items())):
        return '["set",' + many(value, depth) + "]"
    decimal, fractions = sys.modules.get("decimal"), sys.modules.get("fractions")
    if decimal is not None and isinstance(value, decimal.Decimal):
        return '["Decimal",' + quoted(short(decimal.Decimal.__str__(value))) + "]"
    if fractions is not None and isinstance(value, fractions.Fraction):
        both = (fractions.Fraction.numerator.fget(value), fractions.Fraction.denominator.fget(value))
        return '["Fraction",' + quoted("/".join([short(int.__format__(part, "x")) for part in both])) + "]"
    return '["object",' + ("true" if value else "false") + "]"


def short(digits: str) -> str:
    """Digits, where they are not too many."""
    if len(digits) > MOST_DIGITS:
        raise ValueError("a number with too many digits")
    return digits


def many(values: object, depth: int) -> str:
    """Several values as a JSON list."""
    return "[" + ",".join([encoded(value, depth + 1) for value in values]) + "]"  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
