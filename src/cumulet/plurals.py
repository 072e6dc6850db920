"""Numbers of things, as sentences have them."""


def plural(number: int, one: str, many: str = "") -> str:
    """Write a number of things: `1 host`, `1,000 hosts`; `many` is for those that take more than an s."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
