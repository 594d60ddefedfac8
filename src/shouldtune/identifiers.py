"""Personal data that can be told by its form: rules, and checksums where there are some. Nothing is looked up anywhere.

Rules find e-mail addresses, numbers, dates, and names that a title or a form stands before; a name by itself has no
form. So this counts what is there, and is the base of the rung without a model; it promises no text to be clean.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Identifier:
    """Something found in a text."""

    start: int
    end: int
    """Exclusive, in characters."""
    kind: str
    """The name of the rule."""


@dataclass(frozen=True)
class Rule:
    """One form. The pattern's group `it`, or else its whole match, is the identifier."""

    kind: str
    pattern: re.Pattern[str]
    passes: Callable[[str], bool] = lambda text: True
    """Whether what has the form also keeps its checksum, or its range."""
    personal: bool = True
    """Whether it points to a person by itself: a date or a hospital does not."""


def luhn(text: str) -> bool:
    """Whether the digits of a payment card's number keep their check digit (ISO/IEC 7812-1)."""
    digits = [int(character) for character in text if character.isdigit()]
    doubled = [digit if at % 2 == 0 else sum(divmod(2 * digit, 10)) for at, digit in enumerate(reversed(digits))]
    return 13 <= len(digits) <= 19 and len(set(digits)) > 1 and sum(doubled) % 10 == 0


def iban(text: str) -> bool:
    """Whether an account number keeps its two check digits: 1 modulo 97 when they stand last (ISO 13616)."""
    plain = "".join(text.split()).upper()
    moved = plain[4:] + plain[:4]
    return 15 <= len(plain) <= 34 and int("".join(str(int(character, 36)) for character in moved)) % 97 == 1


def social_security(text: str) -> bool:
    """Whether nine digits can be a number of United States social security: no part is nought, no area 666 or 9xx."""
    area, group, serial = re.split(r"[- ]", text)
    return area not in ("000", "666") and not area.startswith("9") and group != "00" and serial != "0000"


def ip_address(text: str) -> bool:
    """Whether all four numbers of an address are bytes."""
    return all(int(part) <= 255 for part in text.split("."))


def phone(text: str) -> bool:
    """Whether there are as many digits as a telephone number has (ITU-T E.164: at most 15), and they are no date."""
    return 8 <= sum(character.isdigit() for character in text) <= 15 and not _NUMERIC_DATE.fullmatch(text)


_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?|enero|febrero|marzo|abril|mayo|junio|julio|agosto|septiembre|octubre|noviembre"
    r"|diciembre)\.?"
)
_DAY = r"(?:0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?"
_YEAR = r"(?:19|20)\d\d"
_NUMERIC_DATE = re.compile(rf"\d\d?[/.-]\d\d?[/.-](?:{_YEAR}|\d\d)|{_YEAR}[/.-]\d\d?[/.-]\d\d?")
_CAPITAL = r"[^\W\d_a-zß-öø-ÿ][^\W\d_]*(?:['’-][^\W\d_]+){0,3}\.?"
_SURNAMES = rf"{_CAPITAL}(?:[ ](?:(?:de|del|la|van|von|der|y|Mª)[ ])*{_CAPITAL}){{0,3}}"
_CODE = r"\#?[A-Z]{0,4}[- ]?\d(?:[- ]?[A-Z\d]){3,}"
_PLACE = r"(?:Hospital|Clinics?|Medical Center|Med Ctr|Health(?:care)?|Cent(?:er|re)|Institute|University|Infirmary)"


def _after(words: str, it: str) -> str:
    """`it` with one of `words` before it: `MRN: ...`, `record number is ...`."""
    between = r"(?i:[ ]*(?:number|num|no|nr|nº|n°|id|code|\#|is|was|:|\.|-|\))){0,4}[ ]*"
    return rf"(?<!\w)(?i:{words}){between}(?P<it>{it})(?!\w)"


_PHONE = r"\+?\(?\d(?:[ ().-]{0,2}\d){6,13}"
_INSURANCE = r"insurance|policy|plan|beneficiary|member|hpbn?|hpn|health plan|nass|afiliaci[óo]n|asegurado"
_DATES = (
    rf"{_MONTH}[ ]{_DAY}(?:,?[ ]{_YEAR})?",
    rf"{_DAY}[ ](?:of[ ]|de[ ])?{_MONTH}(?:,?[ ](?:del?[ ])?{_YEAR})?",
    rf"{_MONTH},?[ ](?:del?[ ])?{_YEAR}",
)
_ENGLISH_STREET = rf"\d{{1,5}}[ ](?:{_CAPITAL}[ ]){{1,3}}(?:Street|St|Avenue|Ave|Road|Rd|Lane|Drive|Boulevard|Blvd)\.?"
_SPANISH_STREET = (
    r"(?:Calle|C/|Avda?\.?|Avenida|Paseo|P[ºo]\.?|Plaza|Ronda|Ctra\.?)[ ]?(?:[^\W\d_]+[ ]?){1,6},?[ ]?(?:\d[\d-]*|s/n)?"
)
_TITLE = r"(?:(?:[Dd]ra?|D|Dña|[Mm]rs?|[Mm]s|[Pp]rof)\.ª?[ ]?|(?:[Dd]ra?|Mrs?|Ms|Miss|Prof|Professor|Don|Doña)[ ])"
_FIELDS = r"nombre|apellidos|name|m[ée]dico|remitido por|responsable(?: cl[íi]nico)?"
_AFTER_PLACE = rf"(?:[ ](?:of[ ])?{_CAPITAL}){{0,2}}"
_I = re.IGNORECASE


def _of(kind: str, pattern: str, flags: int = 0) -> Rule:
    return Rule(kind, re.compile(pattern, flags))


def _checked(kind: str, pattern: str, passes: Callable[[str], bool]) -> Rule:
    return Rule(kind, re.compile(pattern), passes)


def _shared(kind: str, pattern: str, flags: int = 0) -> Rule:
    """What many people have in common."""
    return Rule(kind, re.compile(pattern, flags), personal=False)


RULES: tuple[Rule, ...] = (
    _of("e-mail address", r"(?<![\w.+-])[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,6}[^\W\d_]{2,}"),
    _shared("web address", r"(?:https?://|www\.)[^\s<>\"]*[^\s<>\".,;:!?)\]]", _I),
    _checked("IBAN", r"(?<!\w)[A-Z]{2}\d\d(?:[ ]?[A-Z\d]){11,30}(?!\w)", iban),
    _checked("payment card", r"(?<![\w-])\d(?:[ -]?\d){12,18}(?![\w-])", luhn),
    _checked("IP address", r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?!\.?\w)", ip_address),
    _checked("social security number", r"(?<![\w-])\d{3}([- ])\d\d\1\d{4}(?![\w-])", social_security),
    _of("social security number by its words", _after("ssn|social security", r"\d{3}[- ]?\d\d[- ]?\d{4}")),
    _of("medical record number", _after(r"mrn?|medical record|record|chart|nhc|historia(?: clínica)?|episodio", _CODE)),
    _of("insurance number", _after(_INSURANCE, _CODE)),
    _of("account number", _after(r"account|acct|cuenta", _CODE)),
    _of("licence number", _after(r"licen[cs]e|certificate|colegiado|col", rf"\d\d[- ]\d\d[- ]\d{{4,6}}|{_CODE}")),
    _of("fax number", _after("fax", _PHONE)),
    _of("phone number by its words", _after(r"phone|tel[eé]fono|tel|tfno|call|cell|mobile|m[óo]vil", _PHONE)),
    _checked(
        "phone number",
        r"(?<![\w-])(?:\+\d{1,3}[ .-]?)?(?:\(\d{2,4}\)[ ]?|\d{2,4}[ .-])\d{2,4}(?:[ .-]\d{2,4}){1,3}(?![\w-])",
        phone,
    ),
    _of("other identifier", _after(r"id|identifier|reference|ref|case|patient id", _CODE)),
    _shared("date", rf"(?<!\w)(?:{'|'.join(_DATES)})(?!\w)", _I),
    _shared("date in numbers", rf"(?<![\w/.-])(?:{_NUMERIC_DATE.pattern})(?![\w/-])"),
    _shared("year", rf"(?<![\w.,/-]){_YEAR}(?![\w/-]|[.,]\d)"),
    _shared("age", r"(?<!\w)\d{1,3}(?:[ ](?:años|meses|days|weeks|months|years)|[- ]years?[- ]old)(?!\w)"),
    _shared("postcode", r"(?<![\w-])\d{5}(?![\w-])"),
    _of("name by its title", rf"(?<!\w){_TITLE}(?P<it>{_SURNAMES})"),
    _of("name by its initial", r"(?<!\w)[^\W\d_a-zß-öø-ÿ][^\W\d_A-ZÀ-Ý]+[ ][A-Z]\."),
    _of("name by its field", rf"(?i:{_FIELDS})[ ]?:[ ]*(?:Dra?\.[ ]*)?(?P<it>{_SURNAMES})"),
    _shared(
        "hospital",
        rf"(?<!\w)(?:St\.[ ])?{_CAPITAL}(?:[ ](?:of[ ]|the[ ])?{_CAPITAL}){{0,4}}[ ]{_PLACE}{_AFTER_PLACE}(?!\w)",
    ),
    _shared(
        "hospital in Spanish",
        r"(?<!\w)(?:Hospital|Complejo Hospitalario|Cl[íi]nica|Centro de Salud)(?:[ ](?:de|del|la|las|los|el)){0,2}"
        rf"(?:[ ](?:(?:de|del|la|y)[ ]){{0,2}}{_CAPITAL}){{1,5}}",
    ),
    _of("street", rf"(?<!\w)(?:{_ENGLISH_STREET}|{_SPANISH_STREET})"),
)
"""In order of trust: where two find the same stretch, the longer one is taken, and of equals the first."""


def identifiers(text: str, kinds: Collection[str] | None = None) -> tuple[Identifier, ...]:
    """What the rules (those of `kinds`; None: all) find in a text, in order, no two of them overlapping."""
    found = []
    for rule in RULES:
        if kinds is not None and rule.kind not in kinds:
            continue
        group: str | int = "it" if "it" in rule.pattern.groupindex else 0
        for match in rule.pattern.finditer(text):
            if rule.passes(match.group(group)):
                found.append(Identifier(match.start(group), match.end(group), rule.kind))
    return apart(found)


def apart(found: Iterable[Identifier]) -> tuple[Identifier, ...]:
    """Those that are left when the longest is taken first, and of equals the first; in the order of the text."""
    kept: list[Identifier] = []
    for each in sorted(found, key=lambda identifier: identifier.start - identifier.end):
        if all(each.end <= other.start or other.end <= each.start for other in kept):
            kept.append(each)
    return tuple(sorted(kept, key=lambda identifier: identifier.start))
