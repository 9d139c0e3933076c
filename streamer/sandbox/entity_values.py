"""Small made-up values that entities are built of: names, texts, times, amounts.

Everything comes from one seeded `random.Random`, so the same seed always tells the same story. The texts
are chosen to be as awkward as real ones: accents, emoji, escaped newlines, quotes, and the line separators
U+2028 and U+0085 that careless readers take for the end of a line.
"""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

T = TypeVar("T")

# Stand-ins of a fixed width, replaced line by line when a page of templates is filled.
ID_SLOT = "iiiiiiii-iiii-4iii-8iii-iiiiiiiiiiii"
STAMP_SLOT = "tttt-tt-ttTtt:tt:ttZ"
DATE_SLOT = "dddd-dd-dd"
NUMBER_SLOT = "7777777777"

FIRST_NAMES = (
    "Šárka", "Jürgen", "Zoë", "Łukasz", "Siân", "François", "Ingrid", "Ólafur", "Mehmet", "Nguyễn",
    "Αλέξανδρος", "Олена", "美咲", "지훈", "ليلى", "Ana", "John", "Mary-Jane", "D'Angelo", "Iñaki",
)  # fmt: skip
LAST_NAMES = (
    "Müller-O’Connor", "Nováková", "Åkesson", "García y Vega", "Brânză", "Straße", "Dvořák", "Öztürk",
    "O'Neill", "van der Meer", "Papadopoulou", "Шевченко", "佐藤", "김", "حداد", "Smith", "Ng", "Żółć",
    "Þórsdóttir", "Silva",
)  # fmt: skip
CITIES = (
    "Brno",
    "København",
    "Zürich",
    "São Paulo",
    "Łódź",
    "Reykjavík",
    "Kraków",
    "Málaga",
    "東京",
    "Malmö",
)
STREETS = ("Příkladná", "Rue de l’Été", "Hauptstraße", "Calle Niño", "Storgatan", "Long Row", "Ulica Żurawia")
COMPANIES = (
    "Northwind Travel",
    "Café & Söhne",
    "Blå Båt",
    "Ωmega Tours",
    "Gæsir",
    '"Quoted" Events',
    "旅行社",
    "A",
)
LEGAL_FORMS = ("GmbH", "s.r.o.", "A/S", "SpA", "Ltd", "SARL", "Oy")
OCCUPATIONS = ("Architect", "Lékařka", "Élève", "Pilot", "Schreiner/in", "Retired")
COUNTRIES = ("CZ", "DE", "FR", "GB", "IS", "JP", "NL", "PL", "SE", "US")
LANGUAGES = ("cs-CZ", "de-DE", "fr-FR", "en-GB", "is-IS", "ja-JP", "nl-NL", "pl-PL", "sv-SE", "en-US")
CURRENCIES = ("EUR", "EUR", "EUR", "CZK", "GBP", "SEK", "JPY")
TAX_RATES = (("DE-2020-1-L", 7), ("CZ-2024-S", 21), ("FR-2014-R", 10), ("SE-G", 12), ("UK-2022-20", 20))
NOTES = (
    'Late arrival.\nPrefers "quiet" floor – see last stay 🛏️',
    "Allergic to nuts\tand shellfish",
    "Two lines\r\nas typed on another system",
    "A pasted paragraph\u2028with a line separator and a\u2029paragraph separator",
    "Next line mark \u0085 from a mainframe; backslash C:\\guests\\vip",
    "🎂 birthday on arrival 👩‍👩‍👧‍👦, 3× 🥂",
    "Ask for João — “never” the 4ᵗʰ floor… €50 limit",
    "Non-breaking\u00a0space, zero\u200bwidth, and combining e\u0301",
    '<b>not html</b> & {"not": "json"}, [either]',
    "",
    "long stay; " * 40,
)


class Draw:
    """Draws values by chance, repeatably."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)
        self.enterprises = [self.uuid() for _ in range(3)]
        self.chain = self.uuid()
        self.staff = [self.uuid() for _ in range(12)]

    def one(self, values: Sequence[T]) -> T:
        return self._random.choice(values)

    def some(self, values: Sequence[T], most: int = 3) -> list[T]:
        return self._random.sample(values, self._random.randint(0, min(most, len(values))))

    def maybe(self, value: T, chance: float = 0.5) -> T | None:
        return value if self._random.random() < chance else None

    def chance(self, chance: float) -> bool:
        return self._random.random() < chance

    def number(self, low: int, high: int) -> int:
        return self._random.randint(low, high)

    def digits(self, count: int) -> str:
        return str(self._random.randint(10 ** (count - 1), 10**count - 1))

    def uuid(self) -> str:
        text = f"{self._random.getrandbits(128):032x}"
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"

    def maybe_uuid(self, chance: float = 0.5) -> str | None:
        return self.maybe(self.uuid(), chance)

    def time(self, first_year: int = 2023, years: int = 2) -> datetime:
        return datetime(first_year, 1, 1, tzinfo=UTC) + timedelta(seconds=self._random.randrange(years * 31_536_000))

    def utc(self) -> str:
        return as_utc(self.time())

    def maybe_utc(self, chance: float = 0.5) -> str | None:
        return self.maybe(self.utc(), chance)

    def date(self, first_year: int = 1940, years: int = 65) -> str:
        return self.time(first_year, years).date().isoformat()

    def notes(self, chance: float = 0.4) -> str | None:
        return self.maybe(self.one(NOTES), chance)

    def person(self) -> str:
        return f"{self.one(FIRST_NAMES)} {self.one(LAST_NAMES)}"

    def company(self) -> str:
        return f"{self.one(COMPANIES)} {self.one(LEGAL_FORMS)}"

    def money(self, low: float = 1, high: float = 900) -> float:
        return round(self._random.uniform(low, high), 2)

    def amount(self, *, currency: str | None = None, gross: float | None = None) -> dict[str, Any]:
        """An amount with its taxes, nested as the API nests it."""
        gross = self.money() if gross is None else gross
        rates = [(code, rate) for code, rate in self.some(TAX_RATES, 2)]
        parts, net, left = [], 0.0, gross
        for position, (code, rate) in enumerate(rates):
            share = left if position == len(rates) - 1 else round(left / 2, 2)
            left = round(left - share, 2)
            share_net = round(share / (1 + rate / 100), 2)
            net = round(net + share_net, 2)
            parts.append({"TaxRateCode": code, "NetValue": share_net, "TaxValue": round(share - share_net, 2)})
        if not rates:
            net = gross
            parts.append({"TaxRateCode": None, "NetValue": gross, "TaxValue": 0})
        return {
            "Currency": currency or self.one(CURRENCIES),
            "NetValue": net,
            "GrossValue": gross,
            "TaxValues": [{"Code": part["TaxRateCode"], "Value": part["TaxValue"]} for part in parts if rates],
            "Breakdown": {"Items": parts},
        }

    def address(self, *, subdivision: str, with_id: str | None = None) -> dict[str, Any]:
        """A postal address in one of its two shapes: with an id it has coordinates, too."""
        country = self.one(COUNTRIES)
        parts: dict[str, Any] = {
            "Line1": f"{self.one(STREETS)} {self.number(1, 250)}",
            "Line2": self.maybe("c/o " + self.person(), 0.1),
            "City": self.one(CITIES),
            "PostalCode": f"{self.digits(3)} {self.digits(2)}",
        }
        if with_id is None:
            return parts | {subdivision: self.maybe(f"{country}-{self.digits(2)}"), "CountryCode": country}
        where = self.chance(0.2)
        return {"Id": with_id} | parts | {
            "CountryCode": country,
            subdivision: self.maybe(f"{country}-{self.digits(2)}"),
            "Latitude": round(self._random.uniform(-60, 70), 6) if where else None,
            "Longitude": round(self._random.uniform(-180, 180), 6) if where else None,
        }  # fmt: skip


def as_utc(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")
