"""Where files are divided: the same records with the same ids, whatever the size of the parts."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmos.data.reading import splitting, texts
from llmos.data.reading.splitting import looks_like_text, pieces, split_at_lines
