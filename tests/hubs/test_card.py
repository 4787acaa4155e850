"""The model card: its header as huggingface_hub reads it, its text, and that no user's text becomes markup."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from PIL import Image
from safetensors.numpy import save_file

from limner.catalog import bases, find_base
from limner.catalog.hosted import find_hosted
from limner.errors import InputRefused
from limner.hubs.card import CardSample, card_header, model_card
from limner.types import Consent, SubjectKind

from .conftest import card_facts

CONSENT = Consent("I agree to this being published.", "Jane Doe", datetime(2026, 11, 20, tzinfo=UTC))


@pytest.mark.parametrize("base", bases().values(), ids=lambda base: base.id)
def test_huggingface_hub_reads_the_header(base: object) -> None:
    from huggingface_hub import ModelCard

    text = model_card(card_facts(base=base))
    data = ModelCard(text, ignore_metadata_errors=False).data.to_dict()
    assert data["library_name"] == "diffusers"
    assert data["pipeline_tag"] == "text-to-image"
    assert data["instance_prompt"] == "jane_doe"
    assert data["base_model_relation"] == "adapter"
    assert {"text-to-image", "lora", "diffusers", "flux", "template:diffusion-lora"} <= set(data["tags"])
    assert data["widget"] == [{"text": "jane_doe in the rain", "output": {"url": "images/a.png"}}]
    packaged = base.repo.startswith("package:")  # type: ignore[attr-defined]
    assert data["base_model"] == (base.id if packaged else base.repo)  # type: ignore[attr-defined]
    if base.commercial_use:  # type: ignore[attr-defined]
        assert data["license"] == "apache-2.0"
        assert "license_name" not in data
    else:
        assert data["license"] == "other"
        assert re.fullmatch(r"[a-z0-9.-]+", data["license_name"])
        assert data["license_link"].startswith("https://huggingface.co/")
        assert "Non-commercial" in text
    assert card_header(text) == data


def test_flux1_dev_has_the_licence_fields_that_the_hub_wants() -> None:
    header = card_header(model_card(card_facts(base=find_base("flux1-dev"))))
    assert header["license_name"] == "flux-1-dev-non-commercial-license"
    assert header["license_link"] == "https://huggingface.co/black-forest-labs/FLUX.1-dev/blob/main/LICENSE.md"


@pytest.mark.parametrize("base", ["limner-tiny", "flux1-dev", "flux2-klein-4b"])
def test_the_example_is_python_with_a_pinned_revision(base: str) -> None:
    text = model_card(card_facts(base=find_base(base), trigger="jane\"'\\ ```doe", repo="ann/jane"))
    (code,) = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    (load,) = [call for call in calls if getattr(call.func, "attr", "") == "load_lora_weights"]
    assert ast.literal_eval(load.args[0]) == "ann/jane"
    given = {keyword.arg: ast.literal_eval(keyword.value) for keyword in load.keywords}
    assert given == {"weight_name": "pytorch_lora_weights.safetensors", "revision": "v1"}


def test_together_is_told_of_only_where_it_serves_the_base() -> None:
    text = model_card(card_facts(base=find_base("flux2-dev"), trigger='jane"doe ```', tag="v3"))
    (request,) = re.findall(r"^```json\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    body = json.loads(request)
    (row,) = [row for row in find_hosted("together", "generate", base="flux2-dev") if not row.withdrawn]
    assert body["model"] == row.model
    assert 'jane"doe ```' in body["prompt"]
    address = "https://huggingface.co/ann/jane/resolve/v3/pytorch_lora_weights.safetensors"
    assert body["image_loras"] == [{"path": address, "scale": 1.0}]
    for base in ("flux1-dev", "limner-tiny", "flux2-klein-4b"):
        text = model_card(card_facts(base=find_base(base)))
        assert "Together" not in text
        assert address.replace("v3", "v1") in text


def test_a_card_says_that_limner_made_it() -> None:
    assert "limner" in card_header(model_card(card_facts()))["tags"]


@pytest.mark.engine
def test_the_example_draws_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On limner-tiny and a folder, which need no network; the steps alone are cut."""
    layer = "transformer.transformer_blocks.0.attn.to_q"
    chance = np.random.default_rng(0)
    down, up = chance.standard_normal((2, 192), np.float32), chance.standard_normal((192, 2), np.float32)
    weights = {f"{layer}.lora_A.weight": down, f"{layer}.lora_B.weight": up}
    save_file(weights, tmp_path / "pytorch_lora_weights.safetensors")
    text = model_card(card_facts(repo=str(tmp_path)))
    (code,) = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    exec(code.replace("num_inference_steps=20", "num_inference_steps=1"), {})
    with Image.open(tmp_path / "picture.png") as picture:
        assert picture.size == (128, 128)


def test_a_person_is_shown_only_with_consent() -> None:
    person = card_facts(kind=SubjectKind.PERSON, class_word="person")
    without = model_card(person)
    assert "widget" not in card_header(without)
    assert "<Gallery" not in without
    assert "images/a.png" not in without
    assert "No consent" in without
    agreed = model_card(card_facts(kind=SubjectKind.PERSON, consent=CONSENT))
    assert "widget" in card_header(agreed)
    assert "2026-11-20" in agreed
    assert "I agree to this being published" in agreed
    hidden = model_card(card_facts(kind=SubjectKind.PERSON, consent=CONSENT, public_samples=False))
    assert "widget" not in card_header(hidden)


def test_things_need_no_consent_and_say_nothing_of_it() -> None:
    text = model_card(card_facts())
    assert "<Gallery />" in text
    assert "Consent" not in text


def test_the_table_holds_the_training() -> None:
    text = model_card(card_facts())
    rows = dict(re.findall(r"^\| ([^|]+) \| (.+) \|$", text, re.MULTILINE))
    assert rows["steps"] == "`300`"
    assert rows["rank, alpha"] == "4, 4"
    assert rows["dataset (SHA-256)"] == f"`{'cd' * 32}`"
    assert rows["weights (SHA-256)"] == f"`{'ab' * 32}`"


def test_the_same_facts_give_the_same_text_and_no_blank_runs() -> None:
    text = model_card(card_facts())
    assert text == model_card(card_facts())
    assert "\n\n\n" not in text
    assert text.endswith("\n")


HOSTILE = st.text(max_size=60) | st.sampled_from(
    ["---\nlicense: mit\n---", "</Gallery><script>alert(1)</script>", "a|b", "`x` ``y``", "# head", "[a](javascript:x)",
     "{{ 7*7 }}", "{% raw %}", "\u2028x\u0085y", "x\r\n## Licence\nfree", "'''", "yes", "null", "2026-01-01", "- a: b"]
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
def test_text_of_users_stays_text(title: str, trigger: str, prompt: str, value: str) -> None:
    from huggingface_hub import ModelCard

    facts = card_facts(
        title=title,
        trigger=trigger,
        samples=(CardSample("a.png", prompt),),
        settings={"note": value},
        kind=SubjectKind.PERSON,
        consent=Consent(value, title, CONSENT.given_at),
        base=find_base("flux1-dev"),
    )
    text = model_card(facts)
    header = card_header(text)
    assert header["license"] == "other"
    assert header.get("instance_prompt", "") == line(trigger)
    assert header["widget"][0]["text"] == line(prompt)
    assert ModelCard(text).data.to_dict()["base_model"] == "black-forest-labs/FLUX.1-dev"
    body = text.split("\n---\n", 1)[1]
    headings, shown, links = rendered(body)
    assert headings == [
        line(title),
        *(["Trigger"] if line(trigger) else []),
        *["How to use it", "Training", "Limits", "Licence", "Consent"],
    ]
    assert "<script" not in shown
    assert shown.count("<table>") == 1
    assert shown.count("<pre>") == 1
    assert all(link.startswith("https://huggingface.co/") for link in links)


def line(text: str) -> str:
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def rendered(body: str) -> tuple[list[str], str, list[str]]:
    """A card as a Markdown reader shows it: the texts of its headings, its HTML, the targets of its links."""
    markdown = MarkdownIt("commonmark").enable("table")
    tokens = markdown.parse(body)
    inlines = [token for token in tokens if token.type == "inline"]
    headings = [after for token, after in pairwise(tokens) if token.type == "heading_open"]
    texts = ["".join(child.content for child in heading.children or []) for heading in headings]
    links = [str(c.attrs["href"]) for inline in inlines for c in inline.children or [] if c.type == "link_open"]
    html = [token.content.strip() for token in tokens if token.type == "html_block"]
    assert html in ([], ["<Gallery />"])
    assert not [c for inline in inlines for c in inline.children or [] if c.type == "html_inline"]
    return texts, markdown.render(body), links


@pytest.mark.parametrize("text", ["", "# title", "---\n- a\n---\n", "---\na: [\n---\n", "---\nlicense: mit\n"])
def test_a_card_without_a_readable_header_is_refused(text: str) -> None:
    with pytest.raises(InputRefused):
        card_header(text)


def test_the_card_needs_neither_the_network_nor_the_hub_client() -> None:
    code = (
        "import sys; from limner.hubs.card import model_card; import limner.hubs.folder.hub;"
        "print({'huggingface_hub', 'torch', 'numpy', 'jinja2'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ))
    assert run.stdout == "set()\n"


@pytest.mark.parametrize(
    "header",
    [
        "a: 2024-99-99",
        "a: " + "1" * 5_000,
        "a: " + "[" * 5_000,
        "a: &a [*a]\n" + "b: " + "{" * 3_000,
        "a: !!python/object/apply:os.system [true]",
        "".join(f"key{number}: value\n" for number in range(50_000)),
        "- a list",
    ],
    ids=lambda header: header[:20],
)
def test_a_header_that_cannot_be_used_is_refused(header: str) -> None:
    with pytest.raises(InputRefused, match="model card"):
        card_header(f"---\n{header}\n---\n# Title\n")
