"""What the API for accounts takes and gives, as JSON."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(max_length=96)]
Text = Annotated[str, Field(max_length=5000)]
Line = Annotated[str, Field(max_length=300)]
Days = Annotated[int, Field(ge=1, le=3660)]
Role = Literal["reader", "contributor", "maintainer", "admin"]
Scope = Literal["read", "write", "fineGrained"]


class Body(BaseModel):
    """A body without fields that nobody knows."""

    model_config = ConfigDict(extra="forbid")


class Login(Body):
    """A name and its password."""

    name: Line
    password: Line


class Signup(Login):
    """A new account; `code` is an invitation's."""

    email: Line = ""
    full_name: Line = ""
    code: Line = ""


class ProfileChange(Body):
    """What an account says of itself; what is left out stays as it is. `private_default`: whether
    its new repositories are private unless somebody says otherwise."""

    full_name: Line | None = None
    email: Line | None = None
    country: Line | None = None
    languages: list[Line] | None = None
    about: Annotated[str, Field(max_length=20_000)] | None = None
    website: Line | None = None
    private_default: bool | None = None


class PasswordChange(Body):
    """The password there is, and the one there shall be."""

    old: Line
    new: Line


class Farewell(Body):
    """The password, to delete an account with."""

    password: Line


class NewToken(Body):
    """A token to be made; `repos` are what a fineGrained one writes to."""

    label: Line
    scope: Scope = "read"
    repos: Annotated[list[Line], Field(max_length=100)] = []
    days: Days | None = None


class NewKey(Body):
    """The signed challenge; `instead_of` is a key to be revoked at once."""

    proof: dict[str, Any]
    label: Line = ""
    instead_of: Line | None = None


class NewOrganisation(Body):
    """An organisation to be made."""

    name: Name
    full_name: Line = ""


class RoleChange(Body):
    """A role in an organisation."""

    role: Role


class NewInvitation(Body):
    """An invitation to be made; the role counts only in an organisation."""

    role: Role = "reader"
    email: Line = ""
    days: Annotated[int, Field(ge=1, le=90)] = 7


class Code(Body):
    """An invitation's code."""

    code: Line


class Standing(Body):
    """Whether an account is kept out."""

    disabled: bool


class DeviceDecision(Body):
    """Whether the device that shows this code may sign in as the caller."""

    user_code: Line
    allow: bool


class SessionShown(BaseModel):
    """A session just begun: its cookie comes in a header. Send `csrf` as X-CSRF-Token."""

    name: str
    csrf: str
    expires_at: str


class KeyShown(BaseModel):
    """An Ed25519 public key, 64 hexadecimal digits."""

    public_key: str
    label: str
    created_at: str
    revoked_at: str | None


class AgreementShown(BaseModel):
    """A run that names an account as a member, and whether that has signed the recipe."""

    run: str
    member: str
    account: str
    state: str
    recipe_sha256: str
    signed: bool
    public_key: str


class Membership(BaseModel):
    """An organisation that a user is in."""

    name: str
    full_name: str
    role: str


class ProfileShown(BaseModel):
    """What everybody may see of an account."""

    name: str
    kind: str
    full_name: str
    country: str
    languages: list[str]
    about: str
    website: str
    created_at: str
    keys: list[KeyShown]
    organisations: list[Membership] | None = None
    members: int | None = None


class Myself(BaseModel):
    """Who is asking, and with what."""

    name: str
    email: str
    admin: bool
    scope: str
    private_default: bool
    csrf: str | None


class TokenShown(BaseModel):
    """A token, without its secret."""

    id: int
    label: str
    scope: str
    repos: list[str] | None
    created_at: str
    expires_at: str | None
    used_at: str | None


class TokenMade(BaseModel):
    """The secret; it is shown this once."""

    token: str


class Challenge(BaseModel):
    """What to sign, as kind `hub_key`, to prove that one holds a key."""

    hub: str
    account: str
    challenge: str


class KeyAdded(BaseModel):
    """The key that was added."""

    public_key: str


class MemberShown(BaseModel):
    """A member of an organisation."""

    name: str
    full_name: str
    country: str
    role: str
    since: str


class InvitationShown(BaseModel):
    """An invitation that is open; `organisation` is null for one only to the hub."""

    id: int
    organisation: str | None
    role: str
    email: str
    expires_at: str


class InvitationMade(BaseModel):
    """The code; it is shown this once."""

    code: str


class AuditEntry(BaseModel):
    """One entry of the log; `hash` is over it and the one before."""

    number: int
    at: str
    actor: str
    action: str
    target: str
    detail: dict[str, Any]
    hash: str


class AuditCheck(BaseModel):
    """Whether the log hangs together; `broken` are the entries that do not follow."""

    entries: int
    head: str
    broken: list[int]


class Done(BaseModel):
    """It is done."""

    done: Literal[True] = True
