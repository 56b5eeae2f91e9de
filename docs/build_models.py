"""Make src/unbroken/models.json.gz from other people's lists of models and prices.

    python docs/build_models.py ../shared/catalog

The lists are laid over each other, the newest last; where they come from and when they
were true is written down here and goes into the file.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from unbroken.models import Catalog, Source, unpacked, write_catalog
from unbroken.price_lists import merged, read_list

OUT = Path(__file__).resolve().parent.parent / "src" / "unbroken" / "models.json.gz"
LISTS = (
    ("models_dev.json.gz", "models.dev (anomalyco/models.dev f3fc69229)", "2026-07-02"),
    ("ruby_llm_models.json.gz", "RubyLLM, models.json (crmne/ruby_llm fb5a49bf)", "2026-08-19"),
    ("litellm_model_prices_and_context_window.json.gz", "LiteLLM 1.109.1, model_prices_and_context_window.json",
     "2026-11-21"),
)  # fmt: skip
"""File, what it is, and when it was true; all are published under the MIT licence."""


def built(folder: Path) -> Catalog:
    """The catalogue that these lists make; CatalogError where one cannot be read."""
    catalog = Catalog(date="")
    for name, words, date in LISTS:
        listed = read_list(unpacked((folder / name).read_bytes(), file=name), file=name, date=date)
        sources = {key: Source(name=words, date=date) for key in listed.sources}
        catalog = merged(catalog, replace(listed, sources=sources))
    return catalog


if __name__ == "__main__":
    OUT.write_bytes(write_catalog(built(Path(sys.argv[1]))))
    print(f"{OUT.name}: {OUT.stat().st_size / 1000:.0f} kB")
