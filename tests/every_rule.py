"""All rules by name, for tables to which a new rule is added here."""

from typing import Any

import eqx_etrace as etr


def every_rule(key: Any) -> dict[str, etr.AbstractRule]:
    """Each with numbers of its own; random ones with this key."""
    return {
        "DRTRL": etr.DRTRL(),
        "RTRL": etr.RTRL(),
        "SnAp(1)": etr.SnAp(1),
        "SnAp(2)": etr.SnAp(2),
        "OSTL": etr.OSTL(),
        "PPProp": etr.PPProp(0.9),
        "EProp": etr.EProp(),
        "RFLO": etr.RFLO(0.8),
        "OTTT": etr.OTTT(0.8),
        "OTPE": etr.OTPE(0.8),
        "NoTrace": etr.NoTrace(),
        "UORO": etr.UORO(key),
        "KFRTRL": etr.KFRTRL(key),
        "OK": etr.OK(2, key),
    }
