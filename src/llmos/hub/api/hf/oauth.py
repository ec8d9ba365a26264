"""/oauth/device and /oauth/token: how `hf auth login` signs in (RFC 8628).

The code is allowed on the page /device, or with POST /api/hub/device.
"""

from __future__ import annotations

from typing import cast

from starlette.responses import Response

from llmos.hub.accounts import devices
from llmos.hub.api import account_forms as forms
from llmos.hub.api.accounts import documented, said
from llmos.hub.api.asking import Ask, answer
from llmos.hub.api.routing import Need, Route

DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
NOT_KEPT = {"Cache-Control": "no-store"}


def begin(ask: Ask) -> Response:
    """Begin to sign a device in: codes for it and for its user."""
    made = devices.begin(ask.hub)
    page = f"{ask.base}/device"
    return answer(
        {
            "device_code": made.code,
            "user_code": made.user_code,
            "verification_uri": page,
            "verification_uri_complete": f"{page}?user_code={made.user_code}",
            "expires_in": devices.LIFETIME,
            "interval": devices.INTERVAL,
        },
        headers=NOT_KEPT,
    )


def token(ask: Ask) -> Response:
    """The token for a device code, once its user has allowed it. The code itself is the right."""
    form = ask.form()
    grant = next(iter(form.get("grant_type", [])), "")
    if grant == "refresh_token":
        raise devices.oauth_error("invalid_grant", "Tokens are not renewed here: sign in again")
    if grant != DEVICE_CODE:
        raise devices.oauth_error("unsupported_grant_type")
    given = devices.collect(ask.hub, next(iter(form.get("device_code", [])), ""))
    made = {"access_token": given.token, "token_type": "bearer", "expires_in": given.seconds}
    return answer(made, headers=NOT_KEPT)


def decide(ask: Ask) -> Response:
    """Allow or deny the sign-in of a device, by the code that it shows."""
    data = cast(forms.DeviceDecision, ask.data)
    with ask.hub.database.write() as connection:
        devices.decide(connection, ask.need_account(), ask.caller.name, data.user_code, data.allow)
    return said()


ROUTES = [
    Route("POST", "/oauth/device", Need.PUBLIC, begin),
    Route("POST", "/oauth/token", Need.PUBLIC, token),
    documented("POST", "device", Need.SESSION, decide, forms.DeviceDecision),
]
