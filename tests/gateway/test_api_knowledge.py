"""The knowledge base for programs: documents in, passages and answers out, strangers kept away."""

import base64
import json
import time
from typing import Any

import pytest

pytestmark = [pytest.mark.feature("RAG-5"), pytest.mark.feature("GATE-2")]
