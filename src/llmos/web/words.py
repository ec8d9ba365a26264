"""Numbers, sizes and times as people write them."""

from __future__ import annotations

from datetime import UTC, datetime

from markupsafe import Markup

from llmos.hub.database.connection import now
from llmos.web.i18n import Texts

STEPS = ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "k"))
UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
AGES = (
    (365 * 86400, "years"), (30 * 86400, "months"), (86400, "days"), (3600, "hours"),
    (60, "minutes"),
)  # fmt: skip


def short(number: float | None) -> str:
    """1234567 as 1.2M."""
    for step, letter in STEPS:
        if number is not None and abs(number) >= step:
            return f"{number / step:.3g}{letter}" if number < 1000 * step else f"{number:.1e}"
    return "" if number is None else f"{number:.4g}"


def size(count: int | None) -> str:
    """Bytes with a decimal unit: 1234567 as 1.23 MB."""
    if count is None:
        return ""
    amount, unit = float(count), 0
    while amount >= 999.5 and unit < len(UNITS) - 1:
        amount, unit = amount / 1000, unit + 1
    return f"{amount:.3g} {UNITS[unit]}"


def ago(t: Texts, at: int | None) -> Markup:
    """A time (milliseconds since 1970) as its distance from now, with the time itself on it."""
    if at is None:
        return Markup("")
    moment = datetime.fromtimestamp(at / 1000, UTC)
    seconds = (now() - at) // 1000
    text = t("ago.now")
    if seconds < -60:
        text = Markup(moment.strftime("%Y-%m-%d"))
    for step, unit in AGES:
        if seconds >= step:
            text = t.n(f"ago.{unit}", seconds // step)
            break
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        moment.strftime("%Y-%m-%dT%H:%M:%SZ"), moment.strftime("%Y-%m-%d %H:%M UTC"), text
    )


def day(at: int | None) -> str:
    """The day of a time (milliseconds since 1970), UTC."""
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%d") if at is not None else ""
