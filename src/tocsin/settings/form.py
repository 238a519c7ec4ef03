"""Form: what all forms of the configuration are made of.

A form takes what the YAML says and nothing near it: a number is no text, a word is no number. Lengths of time become
integer microseconds, references to secrets become `Secret`.
"""

from typing import Annotated

import msgspec
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, InstanceOf

from tocsin.settings import takes
from tocsin.settings.model import Secret


class Form(BaseModel):
    """A mapping with exactly these keys."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


class Says(msgspec.Struct, frozen=True):
    """How the reference calls a kind of value."""

    word: str


Text = Annotated[str, Field(min_length=1, max_length=2000), Says("text")]
Name = Annotated[str, AfterValidator(takes.name), Says("name")]
Duration = Annotated[int, BeforeValidator(takes.duration), Says("duration")]
Span = Annotated[int, BeforeValidator(takes.span), Says("duration, more than 0")]
Pulse = Annotated[int, BeforeValidator(takes.pulse), Says("duration, 1s or more")]
Reference = Annotated[InstanceOf[Secret], BeforeValidator(takes.reference), Says("secret")]
LedgerKey = Annotated[Reference, AfterValidator(takes.ledger_key)]
EnvelopeSecret = Annotated[Reference, AfterValidator(takes.envelope_secret)]
ReferenceOrUrl = Annotated[
    InstanceOf[Secret], BeforeValidator(takes.reference_or_url), Says("URL, or secret")
]
Cidr = Annotated[str, AfterValidator(takes.cidr), Says("network")]
MatcherText = Annotated[str, Field(max_length=2000), AfterValidator(takes.matcher), Says("matcher")]
PublicUrl = Annotated[str, AfterValidator(takes.public_url), Says("URL")]
KeysUrl = Annotated[str, AfterValidator(takes.keys_url), Says("URL")]
FilePath = Annotated[str, AfterValidator(takes.file_path), Says("path")]
FolderPath = Annotated[str, AfterValidator(takes.folder_path), Says("path of a folder")]
RoleName = Annotated[str, AfterValidator(takes.role), Says("role")]
Algorithm = Annotated[str, AfterValidator(takes.algorithm), Says("algorithm")]
Tls = Annotated[str, AfterValidator(takes.tls), Says("`starttls`, `implicit` or `none`")]
