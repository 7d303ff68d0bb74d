"""Asset checks that name their entry in the runbook."""

import inspect
from collections.abc import Callable
from typing import Any

import dagster as dg

from eventstore.kernel.verdicts import entry


def asset_check(
    asset: Any,
    *,
    name: str | None = None,
    description: str | None = None,
    runbook: str | None = None,
    pool: str | None = None,
) -> Callable[[Callable[..., Any]], dg.AssetChecksDefinition]:
    """As Dagster's, with a description that ends with its entry in the runbook, that of its name."""

    def make(function: Callable[..., Any]) -> dg.AssetChecksDefinition:
        where = entry(runbook or name or function.__name__)
        said = description or inspect.getdoc(function) or ""
        return dg.asset_check(
            asset=asset,
            name=name,
            description=f"{said}\n\nWhat to do: {where}",
            metadata={"runbook": where},
            pool=pool,
        )(function)

    return make
