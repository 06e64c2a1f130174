"""`python -m ai_codegen_assistant`."""

from __future__ import annotations

import sys

from ai_codegen_assistant import main

sys.exit(main())
