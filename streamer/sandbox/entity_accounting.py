"""Made-up entities of accounting: order items, payments, bills and ledger entries."""

from typing import Any

from streamer.sandbox.entity_values import (
    DATE_SLOT,
    FIRST_NAMES,
    ID_SLOT,
    LAST_NAMES,
    NUMBER_SLOT,
    STAMP_SLOT,
    TAX_RATES,
    Draw,
)

ACCOUNTING_STATES = ("Open", "Closed", "Closed", "Closed", "Inactive", "Canceled")
ITEM_TYPES = (
    "CancellationFee", "NightRebate", "ProductOrderRebate", "AdditionalExpenseRebate", "Deposit",
    "ExchangeRateDifference", "CustomItem", "ServiceCharge", "CityTax", "CityTaxDiscount", "SpaceOrder",
    "ProductOrder", "Surcharge", "TaxCorrection", "ResourceUpgradeFee", "InvoiceFee", "MulticurrencyFee",
    "AllowanceDiscount", "AllowanceBreakage", "AllowanceContraBreakage",
)  # fmt: skip
PAYMENT_ORIGINS = (
    "Other", "System", "Operations", "AutomaticPayment", "PaymentRequest", "BookingEngine", "Api",
    "Terminal", "ChannelManager", "OnlineCheckout", "BillBalancing", "OnlineCheckin", "PointOfSales",
    "PaymentToInvoiceLinking",
)  # fmt: skip
PAYMENT_TYPES = {
    "CreditCard": "CreditCardPayment",
    "Invoice": "InvoicePayment",
    "External": "ExternalPayment",
    "Ghost": "GhostPayment",
    "Alternative": "AlternativePayment",
}
ACCOUNT_TYPES = ("Customer", "Customer", "Customer", "Company")


def order_item(draw: Draw) -> dict[str, Any]:
    amount, staff = draw.amount(), draw.one(draw.staff)
    closed = draw.maybe_utc(0.8)
    return {
        "Id": ID_SLOT,
        "EnterpriseId": draw.one(draw.enterprises),
        "AccountId": draw.maybe_uuid(0.95),
        "AccountType": draw.maybe(draw.one(ACCOUNT_TYPES), 0.95),
        "ServiceId": draw.uuid(),
        "ServiceOrderId": draw.uuid(),
        "Notes": draw.notes(0.1),
        "BillId": draw.maybe_uuid(0.8),
        "AccountingCategoryId": draw.maybe_uuid(0.9),
        "BillingName": draw.maybe(draw.one((f"Night {draw.date(2023, 2)}", "Frühstück", "Minibar 🍫", "City tax"))),
        "ExternalIdentifier": draw.maybe(f"pos-{draw.digits(6)}", 0.1),
        "UnitCount": draw.number(1, 4),
        "UnitAmount": amount,
        "Amount": amount,
        "OriginalAmount": amount,
        "RevenueType": draw.one(("Service", "Product", "Additional")),
        "CreatorProfileId": staff,
        "UpdaterProfileId": draw.one(draw.staff),
        "CreatedUtc": draw.utc(),
        "UpdatedUtc": STAMP_SLOT,
        "ConsumedUtc": draw.utc(),
        "CanceledUtc": draw.maybe_utc(0.05),
        "ClosedUtc": closed,
        "StartUtc": draw.maybe_utc(0.7),
        "ClaimedUtc": draw.maybe_utc(0.1),
        "AccountingState": "Closed" if closed else draw.one(ACCOUNTING_STATES),
        "Type": draw.one(ITEM_TYPES),
        "Options": {"CanceledWithReservation": draw.chance(0.05)},
        "Data": draw.maybe(_item_data(draw), 0.7),
        "TaxExemptionReason": draw.maybe(draw.one(("Unknown", "IT_N2_1", "DE_NATO", "FR_293_B")), 0.05),
        "TaxExemptionLegalReference": draw.maybe("§ 4 Nr. 12 UStG", 0.05),
    }


def _item_data(draw: Draw) -> dict[str, Any]:
    cases: dict[str, dict[str, Any]] = {
        "Rebate": {"ProductId": draw.uuid(), "RebatedItemId": draw.uuid()},
        "Product": {
            "ProductId": draw.uuid(),
            "AgeCategoryId": draw.maybe_uuid(),
            "ProductType": draw.maybe(draw.one(("Product", "Allowance"))),
        },
        "AllowanceDiscount": {
            "DiscountedOrderItemId": draw.uuid(),
            "AllowanceProductOrderItemId": draw.uuid(),
        },
        "AllowanceProfits": {
            "AllowanceProductOrderItemId": draw.uuid(),
            "AllowanceProfitType": draw.one(("AllowanceBreakage", "AllowanceLoss", "AllowanceContraLoss")),
        },
    }
    return _one_case(draw, cases)


def _one_case(draw: Draw, cases: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """A discriminator with a sibling for each case, all of them null but one."""
    chosen = draw.one(tuple(cases))
    return {"Discriminator": chosen} | {case: value if case == chosen else None for case, value in cases.items()}


def payment(draw: Draw) -> dict[str, Any]:
    gross, settlement = -draw.money(), draw.maybe(f"setl_{draw.digits(8)}", 0.6)
    data = _payment_data(draw, -gross, settlement)
    return {
        "Id": ID_SLOT,
        "EnterpriseId": draw.one(draw.enterprises),
        "AccountId": draw.uuid(),
        "AccountType": draw.one(ACCOUNT_TYPES),
        "PaymentRequestId": draw.maybe_uuid(0.1),
        "BillId": draw.maybe_uuid(0.8),
        "ReservationId": draw.maybe_uuid(0.6),
        "AccountingCategoryId": draw.maybe_uuid(0.3),
        "Amount": draw.amount(gross=gross),
        "OriginalAmount": draw.amount(gross=gross),
        "Notes": draw.notes(0.1),
        "SettlementId": settlement,
        "ConsumedUtc": draw.maybe_utc(0.9),
        "ClosedUtc": draw.maybe_utc(0.8),
        "ChargedUtc": draw.maybe_utc(0.9),
        "CreatedUtc": draw.utc(),
        "UpdatedUtc": STAMP_SLOT,
        "SettlementUtc": draw.maybe_utc(0.6),
        "AccountingState": draw.one(ACCOUNTING_STATES),
        "State": draw.one(("Charged", "Charged", "Charged", "Canceled", "Pending", "Failed", "Verifying")),
        "Identifier": draw.maybe(f"ch_{draw.uuid()}", 0.7),
        "Type": PAYMENT_TYPES[data["Discriminator"]],
        "Kind": draw.maybe(draw.one(("Payment", "Payment", "Chargeback", "ChargebackReversal", "Refund")), 0.9),
        "Data": data,
        "PaymentOrigin": draw.maybe(draw.one(PAYMENT_ORIGINS), 0.9),
    }


def _payment_data(draw: Draw, charged: float, settlement: str | None) -> dict[str, Any]:
    transaction = {
        "PaymentId": ID_SLOT,
        "SettlementId": settlement,
        "SettledUtc": draw.maybe_utc(),
        "Fee": _extended_amount(draw, 2.34),
        "AdjustedFee": draw.maybe(_extended_amount(draw, 2.31)),
        "ChargedAmount": _extended_amount(draw, charged),
        "SettledAmount": draw.maybe(_extended_amount(draw, round(charged - 2.31, 2))),
    }
    cases: dict[str, dict[str, Any]] = {
        "CreditCard": {"CreditCardId": draw.maybe_uuid(0.9), "Transaction": draw.maybe(transaction, 0.7)},
        "Invoice": {
            "InvoiceId": draw.maybe_uuid(),
            "Type": draw.one(("Receivable", "Balancing", "Overpayment")),
        },
        "External": {
            "Type": draw.one(("Cash", "WireTransfer", "Voucher", "Twint", "LoyaltyPoints", "Unspecified")),
            "ExternalIdentifier": draw.maybe(f"№ {draw.digits(6)}"),
        },
        "Ghost": {"OriginalPaymentId": draw.uuid()},
        "Alternative": {"Type": draw.one(("Ideal", "ApplePay", "GooglePay", "SepaDirectDebit", "PayPal"))},
    }
    return _one_case(draw, cases)


def _extended_amount(draw: Draw, gross: float) -> dict[str, Any]:
    amount = draw.amount(currency="EUR", gross=gross)
    tax = round(gross - amount["NetValue"], 2)
    return amount | {"Value": gross, "Net": amount["NetValue"], "Tax": tax, "TaxRate": draw.maybe(0.21)}


def bill(draw: Draw) -> dict[str, Any]:
    closed = draw.maybe_utc(0.8)
    owner = draw.one((_bill_customer, _bill_company))(draw)
    kind = "BillCustomerData" if "LastName" in owner else "BillCompanyData"
    others = [_bill_company(draw) for _ in range(draw.number(0, 2))]
    return {
        "Id": ID_SLOT,
        "Name": draw.maybe(draw.one(("Mini-bar & extras", "Rechnung „Firma“", "Účet č. 2", "🧾")), 0.2),
        "EnterpriseId": draw.one(draw.enterprises),
        "AccountId": owner["Id"],
        "AccountType": "Customer" if kind == "BillCustomerData" else "Company",
        "CustomerId": None,
        "CompanyId": None,
        "AssociatedAccountIds": [other["Id"] for other in others],
        "CounterId": draw.maybe_uuid(),
        "State": "Closed" if closed else "Open",
        "Type": draw.one(("Receipt", "Invoice")),
        "Number": f"2026-{NUMBER_SLOT}" if closed else None,
        "VariableSymbol": draw.maybe(draw.digits(8), 0.2),
        "CreatedUtc": draw.utc(),
        "IssuedUtc": closed,
        "TaxedUtc": closed,
        "PaidUtc": draw.maybe(closed, 0.8),
        "DueUtc": draw.maybe_utc(0.3),
        "LastReminderDateUtc": draw.maybe_utc(0.05),
        "UpdatedUtc": STAMP_SLOT,
        "PurchaseOrderNumber": draw.maybe(f"PO/{draw.digits(5)}", 0.1),
        "Notes": draw.notes(0.2),
        "Options": {
            "DisplayCustomer": draw.chance(0.9),
            "DisplayTaxation": draw.chance(0.9),
            "TrackReceivable": draw.chance(0.2),
            "DisplayCid": draw.chance(0.1),
            "Rebated": draw.chance(0.05),
        },
        "Revenue": [],
        "Payments": [],
        "OrderItems": [],
        "PaymentItems": [],
        "AssigneeData": None,
        "OwnerData": {"Discriminator": kind, "Value": owner} if closed else None,
        "CompanyDetails": None,
        "AssociatedAccountData": [
            {"Discriminator": "BillCompanyData", "BillCustomerData": None, "BillCompanyData": other} for other in others
        ],
        "EnterpriseData": {
            "AdditionalTaxIdentifier": None,
            "CompanyName": "Harbour Light Hotels GmbH",
            "BankAccount": draw.digits(10),
            "BankName": "Sample Bank",
            "Iban": f"DE{draw.digits(10)}{draw.digits(10)}",
            "Bic": "SAMPDEXX",
        }
        if closed
        else None,
        "CorrectionState": draw.one(("Bill", "Bill", "Bill", "CorrectiveBill")),
        "CorrectionType": draw.maybe(draw.one(("Cancellation", "Edit", "CreditNote", "Reinstatement")), 0.2),
        "CorrectedBillId": draw.maybe_uuid(0.2),
    }


def _bill_customer(draw: Draw) -> dict[str, Any]:
    return {
        "Id": draw.uuid(),
        "Address": draw.maybe(draw.address(subdivision="SubdivisionCode"), 0.8),
        "LegalIdentifiers": draw.maybe({"TaxIdentifier": draw.digits(9)}, 0.2) or {},
        "BillingCode": draw.maybe(draw.digits(4), 0.1),
        "LastName": draw.one(LAST_NAMES),
        "FirstName": draw.maybe(draw.one(FIRST_NAMES), 0.95),
        "SecondLastName": None,
        "TitlePrefix": draw.maybe(draw.one(("Mister", "Miss", "Misses"))),
        "TaxIdentifier": draw.maybe(draw.digits(9), 0.1),
    }


def _bill_company(draw: Draw) -> dict[str, Any]:
    return {
        "Id": draw.uuid(),
        "Address": draw.maybe(draw.address(subdivision="SubdivisionCode"), 0.8),
        "LegalIdentifiers": draw.maybe({"CompanyIdentifier": draw.digits(8)}, 0.5),
        "BillingCode": None,
        "Name": draw.company(),
        "FiscalIdentifier": draw.maybe(draw.digits(11), 0.2),
        "AdditionalTaxIdentifier": None,
        "DUNS": draw.maybe(draw.digits(9), 0.3),
        "Telephone": draw.maybe(f"+4930{draw.digits(8)}"),
        "TaxIdentifier": draw.maybe(f"DE{draw.digits(9)}", 0.7),
        "InvoicingEmail": draw.maybe(f"ap@company-{draw.digits(5)}.example"),
        "Department": None,
    }


def ledger_entry(draw: Draw) -> dict[str, Any]:
    return {
        "Id": ID_SLOT,
        "EnterpriseId": draw.one(draw.enterprises),
        "TransactionId": draw.maybe_uuid(0.9),
        "AccountId": draw.uuid(),
        "BillId": draw.maybe_uuid(0.8),
        "AccountingCategoryId": draw.maybe_uuid(0.9),
        "AccountingItemId": draw.uuid(),
        "AccountingItemType": draw.one(("OrderItem", "OutletItem", "Invoice", "Payment", "DepositItem")),
        "LedgerType": draw.one(("Revenue", "Tax", "Payment", "Deposit", "Guest", "City", "NonRevenue")),
        "LedgerEntryType": draw.one(("Debit", "Credit")),
        "PostingDate": DATE_SLOT,
        "Value": draw.money(),
        "NetBaseValue": draw.maybe(draw.money()),
        "TaxRateCode": draw.maybe(draw.one(TAX_RATES)[0]),
        "CreatedUtc": STAMP_SLOT,
    }
