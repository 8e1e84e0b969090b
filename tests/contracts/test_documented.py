"""Every registered part stands in its page of the reference."""

from __future__ import annotations

from pathlib import Path

import pytest

from veravox.augment import AUGMENTATIONS, SYNTHESES
from veravox.corpora import CORPORA
from veravox.models import EXPERTS, FRONT_ENDS, GATES, ROUTERS

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {
    "models.md": (FRONT_ENDS, EXPERTS, GATES, ROUTERS),
    "augmentation.md": (AUGMENTATIONS, SYNTHESES),
    "corpora.md": (CORPORA,),
}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_names_every_part_of_its_kind(page):
    text = (DOCS / page).read_text(encoding="utf-8")
    absent = [f"{each.kind} {name}" for each in PAGES[page] for name in each.names() if f"`{name}`" not in text]
    assert absent == [], f"add a row for each to docs/{page}"
