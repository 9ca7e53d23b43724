"""What is sold: product variants, a few of which everybody wants."""

from typing import Final, NamedTuple

from flash_sale.shop import variant_gid

VARIANTS: Final = 48
ON_HAND: Final = 100_000
# Above 2^53, as a shop's ids can be.
_FIRST_VARIANT_ID: Final = 788_032_119_674_292_922
_FIRST_PRODUCT_ID: Final = 632_910_392_849_100_317


class Variant(NamedTuple):
    """A variant; price in cents."""

    position: int
    id: int
    product_id: int
    title: str
    sku: str
    price: int

    @property
    def gid(self) -> str:
        """Its id as the shop's API writes it."""
        return variant_gid(self.id)


CATALOG: Final = tuple(
    Variant(
        position=index,
        id=_FIRST_VARIANT_ID + index,
        product_id=_FIRST_PRODUCT_ID + index // 3,
        title=f"Sneaker {index // 3 + 1}, size {38 + index % 3 * 2}",
        sku=f"SNEAK-{index // 3 + 1:02}-{38 + index % 3 * 2}",
        price=4_990 + 1_000 * (index // 3),
    )
    for index in range(VARIANTS)
)
# The first is wanted four times as much as the 16th: one order in twelve is about it.
WANTED: Final = tuple(1 / (index + 1) ** 0.5 for index in range(VARIANTS))
