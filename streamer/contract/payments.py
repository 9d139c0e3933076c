"""Payments."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET

from streamer.contract.amounts import Amount, ExtendedAmount
from streamer.contract.fields import (
    LINK,
    AccountingState,
    AccountType,
    Entity,
    FreeText,
    LinkToPerson,
    Moment,
    Part,
    Perhaps,
    PersonUuid,
    Uuid,
    known,
)

PaymentState = Annotated[str, known("Charged", "Canceled", "Pending", "Failed", "Verifying")]
PaymentDiscriminator = Annotated[
    str,
    known(
        "Payment", "CreditCardPayment", "AlternativePayment", "CashPayment", "InvoicePayment",
        "ExternalPayment", "GhostPayment", "TaxDeductedPayment",
    ),
]  # fmt: skip
PaymentKind = Annotated[str, known("Payment", "Chargeback", "ChargebackReversal", "Refund")]
PaymentOrigin = Annotated[
    str,
    known(
        "Other", "System", "Operations", "AutomaticPayment", "PaymentRequest", "BookingEngine", "Api",
        "Terminal", "ChannelManager", "OnlineCheckout", "BillBalancing", "OnlineCheckin", "PointOfSales",
        "PaymentToInvoiceLinking",
    ),
]  # fmt: skip
PaymentDataDiscriminator = Annotated[str, known("CreditCard", "Invoice", "External", "Ghost", "Alternative")]
InvoicePaymentType = Annotated[
    str,
    known(
        "Receivable", "Balancing", "UnderpaymentBalancingReceivable", "OverpaymentBalancingReceivable",
        "Overpayment",
    ),
]  # fmt: skip
ExternalPaymentType = Annotated[
    str,
    known(
        "Unspecified", "BadDebts", "Bacs", "WireTransfer", "Invoice", "ExchangeRateDifference", "Complimentary",
        "Reseller", "ExchangeRoundingDifference", "Barter", "Commission", "BankCharges", "CrossSettlement",
        "Cash", "CreditCard", "Prepayment", "Cheque", "Bancontact", "IDeal", "PayPal", "GiftCard",
        "LoyaltyPoints", "ChequeVacances", "OnlinePayment", "CardCheck", "PaymentHubRedirection", "Voucher",
        "MasterCard", "Visa", "Amex", "Discover", "DinersClub", "Jcb", "UnionPay", "Twint", "Reka",
        "LoyaltyCard", "PosDiningAndSpaReward", "DirectDebit", "DepositCheck", "DepositCash",
        "DepositCreditCard", "DepositWireTransfer",
    ),
]  # fmt: skip
AlternativePaymentMethodType = Annotated[
    str,
    known(
        "Ideal", "ApplePay", "GooglePay", "SepaDirectDebit", "PayPal", "WireTransfer",
    ),
]  # fmt: skip


class CreditCardTransaction(Part, frozen=True, kw_only=True):
    """What the card processor says."""

    payment_id: Uuid
    settlement_id: Perhaps[str] = UNSET
    settled_utc: Perhaps[Moment] = UNSET
    fee: Perhaps[ExtendedAmount] = UNSET
    adjusted_fee: Perhaps[ExtendedAmount] = UNSET
    charged_amount: ExtendedAmount
    settled_amount: Perhaps[ExtendedAmount] = UNSET


class PaymentCreditCardData(Part, frozen=True, kw_only=True):
    """A payment by card."""

    credit_card_id: Perhaps[Uuid] = UNSET
    transaction: Perhaps[CreditCardTransaction] = UNSET


class PaymentInvoiceData(Part, frozen=True, kw_only=True):
    """A payment by invoice."""

    invoice_id: Perhaps[Uuid] = UNSET
    type: InvoicePaymentType


class PaymentExternalData(Part, frozen=True, kw_only=True):
    """A payment outside of Mews."""

    type: ExternalPaymentType
    external_identifier: Perhaps[str] = UNSET


class PaymentGhostData(Part, frozen=True, kw_only=True):
    """A payment that stands for another."""

    original_payment_id: Uuid


class PaymentAlternativeData(Part, frozen=True, kw_only=True):
    """A payment by one of the newer methods."""

    type: AlternativePaymentMethodType


class PaymentData(Part, frozen=True, kw_only=True):
    """A discriminator, and one sibling for each case: all null but one."""

    discriminator: PaymentDataDiscriminator
    credit_card: Perhaps[PaymentCreditCardData] = UNSET
    invoice: Perhaps[PaymentInvoiceData] = UNSET
    external: Perhaps[PaymentExternalData] = UNSET
    ghost: Perhaps[PaymentGhostData] = UNSET
    alternative: Perhaps[PaymentAlternativeData] = UNSET


class Payment(Entity, frozen=True, kw_only=True):
    """Money that came or went, by card, cash, invoice or otherwise."""

    enterprise_id: Uuid
    account_id: PersonUuid
    account_type: AccountType
    payment_request_id: Perhaps[Uuid] = UNSET
    bill_id: Perhaps[Uuid] = UNSET
    reservation_id: Perhaps[PersonUuid] = UNSET
    accounting_category_id: Perhaps[Uuid] = UNSET
    amount: Amount
    original_amount: Amount
    notes: Perhaps[FreeText] = UNSET
    settlement_id: Perhaps[str] = UNSET
    consumed_utc: Perhaps[Moment] = UNSET
    closed_utc: Perhaps[Moment] = UNSET
    charged_utc: Perhaps[Moment] = UNSET
    created_utc: Moment
    updated_utc: Moment
    settlement_utc: Moment | None
    accounting_state: AccountingState
    state: PaymentState
    identifier: Perhaps[LinkToPerson] = UNSET
    type: PaymentDiscriminator
    kind: Perhaps[PaymentKind] = UNSET
    data: Annotated[Perhaps[PaymentData], LINK] = UNSET
    payment_origin: Perhaps[PaymentOrigin] = UNSET
