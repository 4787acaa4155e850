"""No reader of outsiders' bytes fails: whatever it is given is read or refused. ``make fuzz`` tries longer."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.errors import InputRefused
from limner.operations.generations.submission import parse_lora

from .readers import READERS, WORDS, Reader


@st.composite
def damaged(draw: st.DrawFn, reader: Reader) -> bytes:
    """A sound input with up to four changes: bytes replaced, left out, repeated or cut off, words put in."""
    data = bytearray(draw(st.sampled_from(reader.seeds)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        upto = draw(st.integers(at, min(len(data), at + 40)))
        match draw(st.integers(0, 4)):
            case 0:
                data[at:upto] = draw(st.binary(max_size=8))
            case 1:
                del data[at:upto]
            case 2:
                data[at:at] = data[at:upto] * draw(st.integers(1, 60))
            case 3:
                del data[at:]
            case _:
                data[at:upto] = draw(st.sampled_from((*WORDS, *reader.words))) * draw(st.sampled_from([1, 1, 500]))
    return bytes(data)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_damaged_input_is_read_or_refused(reader: Reader) -> None:
    @settings(max_examples=40)
    @given(damaged(reader))
    def try_on(data: bytes) -> None:
        reader.try_on(data)

    for seed in (*reader.seeds, b""):
        reader.try_on(seed)
    try_on()


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_a_word_over_and_over_costs_no_more_than_its_length(reader: Reader) -> None:
    """What makes a careless reader quadratic: with one, this would take minutes."""
    for word in (*reader.words, b"[", b'{"a":', b'"', b"<", b"1", b" ", b"\\"):
        reader.try_on(reader.seeds[0] + word * (40_000 // len(word)))


def test_a_lora_named_by_a_megabyte() -> None:
    for words in ("rex:" + "1" * 1_000_000, "https://" + ":1" * 500_000, ":" * 1_000_000):
        with pytest.raises(InputRefused, match="does not name a lora"):
            parse_lora(words)
