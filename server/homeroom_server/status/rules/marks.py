"""Marks and their formats (compare rules 9016 to 9018)."""

_LETTERS = {"A", "B", "C", "D", "E", "F"}


def mark_fits(value: object, mark_format: object) -> bool:
    """Whether a mark is one of its format; formats that are not known here fit anything."""
    if not isinstance(value, str):
        return True
    match mark_format:
        case "Percentage":
            return value.isascii() and value.isdigit() and int(value) <= 100
        case "Letter":
            return value.rstrip("+-") in _LETTERS
        case "PassFail":
            return value in ("Pass", "Fail")
        case _:
            return True
