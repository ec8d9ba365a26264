"""A model pushed and loaded by transformers, which knows the hub by HF_ENDPOINT alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import torch
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel
config = GPT2Config(n_layer=1, n_head=2, n_embd=16, vocab_size=64, n_positions=32)
model = GPT2LMHeadModel(config)
model.push_to_hub("alice/tiny")
again = AutoModelForCausalLM.from_pretrained("alice/tiny")
pairs = zip(model.state_dict().values(), again.state_dict().values(), strict=True)
assert all(torch.equal(one, two) for one, two in pairs)
"""


@pytest.mark.slow
@pytest.mark.parametrize("xet", ["0", "1"])
def test_a_tiny_gpt2_goes_there_and_back(live: str, world, tmp_path: Path, xet: str) -> None:
    settings = {
        "HF_ENDPOINT": live,
        "HF_TOKEN": world.tokens["alice"],
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_OFFLINE": "0",
        "TRANSFORMERS_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": xet,
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    about = world.ask("GET", "/api/models/alice/tiny").json()
    assert about["safetensors"]["parameters"] == {"F32": 4848}
    assert about["sha"] and about["downloads"] >= 1
