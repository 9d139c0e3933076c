"""Prices, as several entities hold them."""

from __future__ import annotations

from msgspec import UNSET

from streamer.contract.fields import Currency, Part, Perhaps


class TaxValue(Part, frozen=True, kw_only=True):
    """The tax of one rate."""

    code: Perhaps[str] = UNSET
    value: float


class TaxBreakdownItem(Part, frozen=True, kw_only=True):
    """Net and tax of one rate."""

    tax_rate_code: Perhaps[str] = UNSET
    net_value: float
    tax_value: float


class TaxBreakdown(Part, frozen=True, kw_only=True):
    """Net and tax, rate by rate."""

    items: list[TaxBreakdownItem]


class Amount(Part, frozen=True, kw_only=True):
    """A price in one currency, with its taxes."""

    currency: Currency
    net_value: float
    gross_value: float
    tax_values: list[TaxValue]
    breakdown: TaxBreakdown


class ExtendedAmount(Part, frozen=True, kw_only=True):
    """An ``Amount`` with the fields of an older shape beside it."""

    currency: Currency
    net_value: float
    gross_value: float
    tax_values: list[TaxValue]
    breakdown: TaxBreakdown
    value: Perhaps[float] = UNSET
    net: Perhaps[float] = UNSET
    tax: Perhaps[float] = UNSET
    tax_rate: Perhaps[float] = UNSET


class CurrencyValueOld(Part, frozen=True, kw_only=True):
    """A price in the older shape."""

    currency: Currency
    value: Perhaps[float] = UNSET
    net: Perhaps[float] = UNSET
    tax: Perhaps[float] = UNSET
    tax_rate: Perhaps[float] = UNSET
