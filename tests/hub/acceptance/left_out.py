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
    "test_hf_api.py::TestHfApiInferenceCatalog": INFERENCE,
}
