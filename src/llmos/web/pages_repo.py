"""A repository's first page: card, facts, access, lineage; an account's page shares its address
with short names such as gpt2."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Row
from starlette.responses import RedirectResponse, Response

from llmos.hub.accounts.rights import Right, account_row
from llmos.hub.api.asking import Ask
from llmos.hub.api.routing import Need, Route
from llmos.hub.errors import HubError
from llmos.hub.repos.finding import find_repo
from llmos.hub.runs.board import leaderboard
from llmos.hub.runs.licences import licence_report
from llmos.web import collecting, repo_views
from llmos.web.pages_leaderboard import prepared
from llmos.web.pages_member import member_page
from llmos.web.pages_run import run_page
from llmos.web.rendering import page, repo_path

MOST_COLLECTIONS = 6  # that are named on the page of what is in them
AUTO = {
    "text-generation": "AutoModelForCausalLM",
    "text2text-generation": "AutoModelForSeq2SeqLM",
    "translation": "AutoModelForSeq2SeqLM",
    "summarization": "AutoModelForSeq2SeqLM",
    "fill-mask": "AutoModelForMaskedLM",
    "text-classification": "AutoModelForSequenceClassification",
    "question-answering": "AutoModelForQuestionAnswering",
}


def repository(ask: Ask) -> Response:
    """The card with what is known beside it; of a run, how far it is."""
    if ask.repo.kind == "run":
        return run_page(ask)
    with ask.hub.database.read() as connection:
        shown = repo_views.shell(ask, connection, "card")
        root = repo_views.head_tree(connection, ask.repo)
        shown |= {
            "facts": repo_views.facts_of(ask.repo),
            "access": repo_views.access_of(connection, ask.caller, ask.repo),
            "collections": collecting.holding(connection, ask.caller, ask.repo, MOST_COLLECTIONS),
            "lineage": repo_views.related(connection, ask.caller, ask.repo),
        }
        is_model = ask.repo.kind == "model"
        report = licence_report(connection, ask.repo, ask.caller) if is_model else None
        boards = (
            leaderboard(ask.hub.boards, connection, ask.caller, repo_id=ask.repo.id)
            if is_model
            else []
        )
    shown |= repo_views.card_of(ask, root)
    usage = _usage(ask) if ask.right >= Right.CONTENT else ""
    return page(ask, "repo.html", usage=usage, report=report, boards=prepared(boards[:8]), **shown)


def _usage(ask: Ask) -> str:
    """How to get at it from Python."""
    repo = ask.repo
    start = f'import os\nos.environ["HF_ENDPOINT"] = "{ask.base}"\n\n'
    if repo.kind == "dataset":
        return (
            f'{start}from datasets import load_dataset\n\ndata = load_dataset("{repo.full_name}")'
        )
    if repo.kind == "model" and repo.facts.get("library_name") == "transformers":
        made = AUTO.get(str(repo.facts.get("pipeline_tag")), "AutoModel")
        return (
            f"{start}from transformers import AutoTokenizer, {made}\n\n"
            f'name = "{repo.full_name}"\n'
            f"tokenizer = AutoTokenizer.from_pretrained(name)\n"
            f"model = {made}.from_pretrained(name)"
        )
    kind = "" if repo.kind == "model" else f', repo_type="{repo.kind}"'
    return (
        f"{start}from huggingface_hub import snapshot_download\n\n"
        f'folder = snapshot_download("{repo.full_name}"{kind})'
    )


def account_or_model(ask: Ask) -> Response:
    """/NAME: an account, else the model of that short name. Who may see it is decided here: an
    account is for everybody, a model for those who hold READ."""
    name = ask.value("account")
    with ask.hub.database.read() as connection:
        account: Row[object] | None = account_row(connection, name)
    if account is not None and account.disabled_at is None:
        if account.name != name:
            return RedirectResponse(f"/{account.name}", 307)
        return member_page(ask, account)
    try:
        row, right = find_repo(ask.hub, ask.caller, "model", name)
    except HubError:
        raise HubError(404, f"There is no member and no model called {name[:100]} here") from None
    if row.full_name != name:
        return RedirectResponse(repo_path("model", row.full_name), 307)
    return repository(replace(ask, repo_row=row, right=right))


ROUTES = [
    Route("GET", "/{account}", Need.INSIDE, account_or_model, page=True),
    Route("GET", "/{prefix}/{repo}", Right.READ, repository, page=True),
]
