from __future__ import annotations

import pytest

from anmok import processor

X86 = {"SSE2": True, "AVX2": True}


@pytest.mark.parametrize(
    ("features", "flags", "exactly"),
    [
        (X86, "fpu avx2", False),
        ({**X86, "AVX512F": True}, "avx512f", False),  # the first ones with AVX-512 had no VNNI
        ({**X86, "AVX512F": True, "AVX512VNNI": True}, "avx512f avx512_vnni", True),
        (X86, "fpu avx2 avx_vnni", True),
        (X86, "", False),  # where the system does not tell
        ({"NEON": True, "ASIMD": True}, "", True),
    ],
)
def test_who_sums_products_of_8_bits_exactly(monkeypatch, features, flags, exactly):
    monkeypatch.setattr(processor, "_features", lambda: features)
    monkeypatch.setattr(processor, "_told", lambda name: flags)
    assert processor.sums_8_bits_exactly() is exactly


def test_the_processor_has_a_name_and_cores():
    assert processor.processor_name()
    assert processor.usable_cores() >= 1
    assert set(processor.instruction_sets()) <= set(processor.INSTRUCTION_SETS)
