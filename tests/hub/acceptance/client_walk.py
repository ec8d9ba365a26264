"""A user's day with a hub, by whatever huggingface_hub is installed: python client_walk.py FOLDER,
with HF_ENDPOINT and HF_TOKEN set and nothing else."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import huggingface_hub
from huggingface_hub import CommitOperationAdd, HfApi, HfFileSystem, snapshot_download
from huggingface_hub.utils import GatedRepoError, RepositoryNotFoundError

LARGE = hashlib.sha256(b"seed").digest() * 400_000  # 12.8 MB, over what travels as a small file


def _digest(path: str | Path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def walk(folder: Path) -> None:
    """Create, upload, download, list, propose, merge, move, delete."""
    api = HfApi()
    me = api.whoami()["name"]
    name = f"{me}/walk"
    api.create_repo(name, private=True)
    api.create_repo(name, exist_ok=True)
    api.upload_file(path_or_fileobj=b"# Walk\n", path_in_repo="README.md", repo_id=name)
    source = folder / "source"
    (source / "deep" / "er").mkdir(parents=True)
    (source / "large.bin").write_bytes(LARGE)
    (source / "deep" / "er" / "large.bin").write_bytes(LARGE[::-1])
    (source / "deep" / "\u00fcber file.txt").write_text("\u00fc", encoding="utf-8")
    (source / "empty.bin").write_bytes(b"")
    api.upload_folder(folder_path=source, repo_id=name, commit_message="all")
    files = sorted(api.list_repo_files(name))
    assert files == [
        ".gitattributes",
        "README.md",
        "deep/er/large.bin",
        "deep/\u00fcber file.txt",
        "empty.bin",
        "large.bin",
    ], files
    got = snapshot_download(name, cache_dir=folder / "cache", token=True)
    for file in files[2:]:
        assert _digest(Path(got) / file) == _digest(source / file), file
    one = api.hf_hub_download(name, "large.bin", local_dir=folder / "one")
    assert _digest(one) == hashlib.sha256(LARGE).hexdigest()
    fs = HfFileSystem()
    assert fs.read_bytes(f"{name}/large.bin")[-32:] == LARGE[-32:]
    with fs.open(f"{name}/large.bin") as file:
        file.seek(32 * 7)
        assert file.read(32) == LARGE[:32]
    assert len(api.list_repo_commits(name)) == 3

    api.create_branch(name, branch="side")
    api.create_tag(name, tag="v1")
    change = [CommitOperationAdd("proposal.txt", b"mine")]
    made = api.create_commit(name, change, commit_message="Propose", create_pr=True)
    assert made.pr_num == 1
    api.comment_discussion(name, made.pr_num, "please")
    details = api.get_discussion_details(name, made.pr_num)
    assert details.status == "open" and "+mine" in details.diff
    api.merge_pull_request(name, made.pr_num)
    assert api.get_discussion_details(name, made.pr_num).status == "merged"
    assert "proposal.txt" in api.list_repo_files(name)
    assert "proposal.txt" not in api.list_repo_files(name, revision="v1")
    assert {ref.name for ref in api.list_repo_refs(name).branches} == {"main", "side"}
    large = folder / "by large folder"
    (large / "b").mkdir(parents=True)
    for number in range(3):
        (large / "b" / f"{number}.bin").write_bytes(LARGE[: 1000 + number])
    data = f"{me}/walk-data"
    if hasattr(api, "upload_large_folder"):  # since 2.0 upload_folder does what it did
        api.upload_large_folder(data, folder_path=large, repo_type="dataset", num_workers=2)
    else:
        api.create_repo(data, repo_type="dataset")
        api.upload_folder(folder_path=large, repo_id=data, repo_type="dataset")
    assert len(api.list_repo_files(data, repo_type="dataset")) == 4
    try:
        HfApi(token=False).model_info(name)
        raise AssertionError("a private repository was shown")
    except RepositoryNotFoundError as error:
        assert not isinstance(error, GatedRepoError)

    api.move_repo(name, f"{me}/walked")
    assert api.model_info(name).id == f"{me}/walked"
    hf = [str(Path(sys.executable).with_name("hf")), "download", f"{me}/walked", "README.md"]
    answer = subprocess.run([*hf, "--local-dir", str(folder / "cli")], check=False)
    assert answer.returncode == 0 and (folder / "cli" / "README.md").read_text() == "# Walk\n"
    api.delete_repo(f"{me}/walked")
    api.delete_repo(data, repo_type="dataset")
    assert not api.repo_exists(name)


if __name__ == "__main__":
    assert os.environ["HF_ENDPOINT"].startswith("http://")
    walk(Path(sys.argv[1]))
    print("walked with huggingface_hub", huggingface_hub.__version__)
