"""What-if: what would have been different under another policy. The answer comes line by line, with its progress."""

from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import Response

from tocsin.core.model.errors import Invalid
from tocsin.web.forms import Document, instant
from tocsin.web.guard import Auditor, TheNode
from tocsin.web.incident_forms import Form
from tocsin.web.moments import Moment
from tocsin.web.simulated import answers, simulated

router = APIRouter()


class WhatIfForm(Form):
    """Another policy, and the period in which to try it: what came at `since` or later, and before `until`.

    policy: the text of a `tocsin.yaml`. Without `channels` in it, those of the record are told.
    zone: where the night is, by its IANA name.
    """

    policy: Annotated[Document, Field(examples=["routes: {name: default, group_wait: 5m}\n"])]
    since: Annotated[Moment | None, Field(description="From the first entry, if it is left out.")] = None
    until: Annotated[Moment | None, Field(description="To the last entry, if it is left out.")] = None
    zone: Annotated[str, Field(pattern=r"^[A-Za-z0-9_+/-]{1,64}$", examples=["Europe/Berlin"])] = "UTC"


@router.post(
    "/api/v1/whatif",
    response_class=Response,
    responses=answers("{doing, entries, of}"),
)
async def what_if(form: WhatIfForm, request: Request, node: TheNode, auditor: Auditor) -> Response:
    """Decide what was recorded again under another policy, and show what would have been different."""
    if form.since is not None and form.until is not None and form.until <= form.since:
        raise Invalid("The period ends before it begins. Swap the two.", field="until")
    options = [f"--zone={form.zone}"]
    for name, moment in (("since", form.since), ("until", form.until)):
        if moment is not None:
            options.append(f"--{name}={instant(moment)}")
    return await simulated(node.simulations, form.policy, options, request)
