"""Order items: what was sold."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET

from streamer.contract.amounts import Amount
from streamer.contract.fields import (
    AccountingState,
    AccountType,
    Entity,
    FreeText,
    Moment,
    Part,
    Perhaps,
    PersonUuid,
    Uuid,
    known,
)

RevenueType = Annotated[str, known("Service", "Product", "Additional")]
OrderItemType = Annotated[
    str,
    known(
        "CancellationFee", "NightRebate", "ProductOrderRebate", "AdditionalExpenseRebate", "Deposit",
        "ExchangeRateDifference", "CustomItem", "ServiceCharge", "CityTax", "CityTaxDiscount", "SpaceOrder",
        "ProductOrder", "Surcharge", "TaxCorrection", "ResourceUpgradeFee", "InvoiceFee", "MulticurrencyFee",
        "AllowanceDiscount", "AllowanceBreakage", "AllowanceContraBreakage",
    ),
]  # fmt: skip
TaxExemptionReasonType = Annotated[
    str,
    known(
        "Unknown", "IT_N1", "IT_N2_1", "IT_N2_2", "IT_N3_4", "IT_N3_5", "IT_N4", "IT_N5", "PL_ZW", "PL_NP",
        "DE_NATO", "FR_261_7", "FR_262_00_BIS", "FR_293_B",
    ),
]  # fmt: skip
OrderItemDataDiscriminator = Annotated[str, known("Rebate", "Product", "AllowanceDiscount", "AllowanceProfits")]
ProductType = Annotated[str, known("Product", "Allowance")]
AllowanceProfitType = Annotated[
    str,
    known(
        "AllowanceBreakage", "AllowanceContraBreakage", "AllowanceLoss", "AllowanceContraLoss",
    ),
]  # fmt: skip


class OrderItemOptions(Part, frozen=True, kw_only=True):
    """Switches of an order item."""

    canceled_with_reservation: bool


class OrderItemRebateData(Part, frozen=True, kw_only=True):
    """What a rebate is for."""

    product_id: Uuid
    rebated_item_id: Uuid


class OrderItemProductData(Part, frozen=True, kw_only=True):
    """Which product was sold."""

    product_id: Uuid
    age_category_id: Perhaps[Uuid] = UNSET
    product_type: Perhaps[ProductType] = UNSET


class OrderItemAllowanceDiscountData(Part, frozen=True, kw_only=True):
    """What an allowance paid for."""

    discounted_order_item_id: Uuid
    allowance_product_order_item_id: Uuid


class OrderItemAllowanceProfitsData(Part, frozen=True, kw_only=True):
    """What was left of an allowance, or lacking."""

    allowance_product_order_item_id: Uuid
    allowance_profit_type: AllowanceProfitType


class OrderItemData(Part, frozen=True, kw_only=True):
    """A discriminator, and one sibling for each case: all null but one."""

    discriminator: Perhaps[OrderItemDataDiscriminator] = UNSET
    rebate: Perhaps[OrderItemRebateData] = UNSET
    product: Perhaps[OrderItemProductData] = UNSET
    allowance_discount: Perhaps[OrderItemAllowanceDiscountData] = UNSET
    allowance_profits: Perhaps[OrderItemAllowanceProfitsData] = UNSET


class OrderItem(Entity, frozen=True, kw_only=True):
    """One thing sold: a night, a product, a fee, or their correction."""

    enterprise_id: Uuid
    account_id: Perhaps[PersonUuid] = UNSET
    account_type: Perhaps[AccountType] = UNSET
    service_id: Uuid
    service_order_id: PersonUuid
    notes: Perhaps[FreeText] = UNSET
    bill_id: Perhaps[Uuid] = UNSET
    accounting_category_id: Perhaps[Uuid] = UNSET
    billing_name: Perhaps[FreeText] = UNSET
    external_identifier: Perhaps[str] = UNSET
    unit_count: int
    unit_amount: Amount
    amount: Amount
    original_amount: Amount
    revenue_type: RevenueType
    creator_profile_id: PersonUuid
    updater_profile_id: PersonUuid
    created_utc: Moment
    updated_utc: Moment
    consumed_utc: Moment
    canceled_utc: Perhaps[Moment] = UNSET
    closed_utc: Perhaps[Moment] = UNSET
    start_utc: Perhaps[Moment] = UNSET
    claimed_utc: Perhaps[Moment] = UNSET
    accounting_state: AccountingState
    type: OrderItemType
    options: OrderItemOptions
    data: Perhaps[OrderItemData] = UNSET
    tax_exemption_reason: Perhaps[TaxExemptionReasonType] = UNSET
    tax_exemption_legal_reference: Perhaps[str] = UNSET
