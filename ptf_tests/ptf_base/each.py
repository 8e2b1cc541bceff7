# SPDX-License-Identifier: Apache-2.0
"""One case for each combination of parameters, as classes: plain ptf knows nothing else."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

Case = TypeVar("Case", bound=type)


def each(**parameters: Sequence[Any]) -> Callable[[Case], Case]:
    """Make a subclass for each combination, with the parameters as attributes.

    `@each(family=(4, 6))` on `Miss` puts `Miss_4` and `Miss_6` into the module and
    leaves `Miss` without a runTest, so that neither runner takes it for a case.
    """
    module = sys._getframe(1).f_globals

    def decorate(case: Case) -> Case:
        run = case.__dict__["runTest"]
        for values in itertools.product(*parameters.values()):
            name = "_".join([case.__name__, *(str(v).replace("-", "_") for v in values)])
            attributes = dict(zip(parameters, values, strict=True))
            attributes |= {"runTest": run, "__module__": case.__module__, "__doc__": case.__doc__}
            module[name] = type(name, (case,), attributes)
        del case.runTest
        return case

    return decorate
