"""What the hub answers when it cannot do what was asked: a status, a line, a code.

The codes are those that huggingface_hub reads from `X-Error-Code`.
"""

from __future__ import annotations

from collections.abc import Mapping

from llmos.errors import LLMOSError


class HubError(LLMOSError):
    """An answer that is an error.

    `status` is the HTTP status, `code` the value of `X-Error-Code` (None: none), `headers` and
    `extra` what goes with it (extra: into the JSON body). With `values`, `message` is a template
    into which they are filled; pages look its text up in their own language by the template.
    """

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, object] | None = None,
        values: Mapping[str, object] | None = None,
    ) -> None:
        self.template = message
        self.values = dict(values or {})
        self.message = message.format(**self.values) if values else message
        super().__init__(self.message)
        self.status = status
        self.code = code
        self.headers = dict(headers or {})
        self.extra = dict(extra or {})


def unauthorized(message: str = "Sign in, or send a token: Authorization: Bearer ...") -> HubError:
    """401: nobody is known to be asking."""
    return HubError(401, message)


def forbidden(message: str, **values: object) -> HubError:
    """403: the caller is known and may not."""
    return HubError(403, message, values=values)


def repo_not_found(signed_in: bool) -> HubError:
    """The same for a repository that is missing and one that the caller may not see."""
    return HubError(404 if signed_in else 401, "Repository not found", "RepoNotFound")


def revision_not_found(revision: str) -> HubError:
    """404: no branch, tag, pull request or commit of that name."""
    return HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")


def entry_not_found(path: str, commit: str | None = None) -> HubError:
    """404: the revision has no such file or folder."""
    headers = {"X-Repo-Commit": commit} if commit else None
    about = {"path": path}
    return HubError(404, "Entry not found: {path}", "EntryNotFound", headers=headers, values=about)


def bad_request(message: str, **values: object) -> HubError:
    """400: the request does not make sense."""
    return HubError(400, message, values=values)


def unprocessable(message: str, **values: object) -> HubError:
    """422: well formed, but with a value that is refused, such as a path with `..`."""
    return HubError(422, message, values=values)


def conflict(message: str, **extra: object) -> HubError:
    """409: it is there already."""
    return HubError(409, message, extra=extra)
