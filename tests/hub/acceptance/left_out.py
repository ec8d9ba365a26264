"""Tests of huggingface_hub's that are not run against a hub of ours, each with the reason."""

from __future__ import annotations

PRODUCTION = "looks at repositories that are only on huggingface.co"
INFERENCE = "inference services"
JOBS = "jobs: running code for users"
BUCKETS = "buckets: storage without versions"
SPACES = "running Spaces"
OAUTH = "signing in by OAuth in a browser"
MISSING = "needs files that the source archive leaves out"
OTHER = "reaches other sites"

MARKS = {
    "production": PRODUCTION,
    "inference": INFERENCE,
    "vcr": MISSING,
    "git_lfs": "needs git-lfs",
}
FILES = {
    "test_inference_async_client.py": INFERENCE,
    "test_inference_client.py": INFERENCE,
    "test_inference_endpoints.py": INFERENCE,
    "test_inference_providers.py": INFERENCE,
    "test_inference_text_generation.py": INFERENCE,
    "test_inference_types.py": INFERENCE,
    "test_jobs_api.py": JOBS,
    "test_sandbox.py": JOBS,
    "test_bucket_live_follow.py": BUCKETS,
    "test_buckets.py": BUCKETS,
    "test_buckets_cli.py": BUCKETS,
    "test_buckets_hf_file_system.py": BUCKETS,
    "test_oauth.py": OAUTH,
    "test_webhooks_server.py": "a web server of the client's own, with gradio",
    "test_windows.py": "Windows",
    "test_kernels.py": "kernels",
    "test_generate_cli_reference.py": MISSING,
}
# By the beginning of their names.
TESTS = {
    "test_auth.py::TestGetTokenAutoRefresh": OAUTH,
    "test_cli.py::TestInferenceEndpointsCommands::test_list_catalog": INFERENCE,
    "test_copy_files.py::test_cp_": BUCKETS,
    "test_file_download.py::TestHfHubDownloadRelativePaths": "commits a path with backslashes",
    "test_hf_api.py::TestHfApiInferenceCatalog": INFERENCE,
    "test_repocard.py::TestDatasetCard::test_dataset_card_from_custom_template": MISSING,
    "test_repocard.py::TestDatasetCard::test_load_datasetcard_from_file": MISSING,
    "test_repocard.py::TestModelCard::test_load_model_card_from_file": MISSING,
    "test_repocard.py::TestModelCard::test_model_card_from_custom_template": MISSING,
    "test_repocard.py::TestModelCard::test_model_card_from_template_eval_results": MISSING,
    "test_repocard.py::TestModelCard::test_model_card_with_": MISSING,
    "test_repocard.py::TestRepoCard::test_change_repocard_data": MISSING,
    "test_repocard.py::TestRepoCard::test_load_repocard_from_file": MISSING,
    "test_repocard.py::TestRepoCard::test_preserve_": MISSING,
    "test_repocard.py::TestRepoCard::test_repo_card_data_must_be_dict": MISSING,
    "test_repocard.py::TestRepoCard::test_repo_card_from_custom_template_path": MISSING,
    "test_repocard.py::TestRepoCard::test_repo_card_without_metadata": MISSING,
    "test_repocard.py::TestRepoCard::test_updating_text_updates_content": MISSING,
    "test_repocard.py::TestRepoCard::test_validate_repocard": MISSING,
    "test_utils_cache.py::TestTryDeletePath::test_delete_path_on_local_folder": "not as root",
    "test_utils_http.py::test_async_client_get_request": OTHER,
    "test_utils_http.py::test_client_get_request": OTHER,
    "test_utils_http.py::test_fix_hf_endpoint_in_url": "takes HF_ENDPOINT to be unset",
    "test_utils_pagination.py::TestPagination::test_paginate_hf_api": PRODUCTION,
    "test_xet_upload.py::TestBucketXetUploadSkipSha256": BUCKETS,
}
