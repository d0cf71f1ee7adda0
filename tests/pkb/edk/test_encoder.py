"""The fast encoder is held to a plain transcription of eq. 26 to 30."""

from __future__ import annotations

import math
from typing import cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pkb.edk import encoder as module
from pkb.edk.attention import SelfAttention, _Attend
from pkb.edk.encoder import Encoder


def plain_attention(layer: SelfAttention, tokens: Tensor) -> Tensor:
    """[F, d] -> [F, d], eq. 27 to 29 for one sequence, head by head, with the residual."""
    out = tokens
    for w_q, w_k, w_v, w_o in zip(layer.query, layer.key, layer.value, layer.output, strict=True):
        q, k, v = tokens @ w_q, tokens @ w_k, tokens @ w_v
        attention = torch.softmax(q @ k.T / math.sqrt(tokens.shape[1]), dim=1)
        out = out + attention @ v @ w_o
    return out


def plain_encoder(encoder: Encoder, embeddings: Tensor, masks: Tensor) -> Tensor:
    """[B, F, d], [B, K, F] -> [B, K, d], one pattern at a time."""
    rows = []
    for row, row_masks in zip(embeddings, masks, strict=True):
        for mask in row_masks:
            pattern = row * mask.unsqueeze(1)
            for layer in encoder.layers:
                pattern = plain_attention(cast(SelfAttention, layer), pattern)
            rows.append(encoder.mlp(pattern.mean(dim=0)))
    return torch.stack(rows).view(*masks.shape[:2], -1)


def case(
    *,
    rows: int = 5,
    fields: int = 7,
    patterns: int = 3,
    width: int = 4,
    heads: int = 3,
    depth: int = 3,
    size: float = 1,
) -> tuple[Encoder, Tensor, Tensor]:
    torch.manual_seed(rows + 10 * fields + 100 * patterns + depth)
    encoder = Encoder(width, depth=depth, heads=heads, hidden=6).double()
    embeddings = size * torch.randn(rows, fields, width, dtype=torch.float64)
    masks = torch.rand(rows, patterns, fields, dtype=torch.float64).mul(1.6).sub(0.3).clamp(0, 1)
    return encoder, embeddings.requires_grad_(), masks.requires_grad_()


def assert_equal_to_the_plain_one(encoder: Encoder, embeddings: Tensor, masks: Tensor) -> None:
    inputs = [embeddings, masks, *encoder.parameters()]
    fast, plain = encoder(embeddings, masks), plain_encoder(encoder, embeddings, masks)
    torch.testing.assert_close(fast, plain)
    towards = torch.randn_like(plain)
    torch.testing.assert_close(
        torch.autograd.grad(fast, inputs, towards), torch.autograd.grad(plain, inputs, towards), rtol=1e-6, atol=1e-9
    )


@settings(max_examples=15, deadline=None)
@given(
    rows=st.integers(1, 4),
    fields=st.integers(1, 5),
    patterns=st.integers(1, 3),
    width=st.integers(1, 5),
    heads=st.integers(1, 3),
    depth=st.integers(1, 3),
)
def test_values_and_gradients_equal_the_plain_transcription(
    rows: int, fields: int, patterns: int, width: int, heads: int, depth: int
) -> None:
    assert_equal_to_the_plain_one(
        *case(rows=rows, fields=fields, patterns=patterns, width=width, heads=heads, depth=depth)
    )


def test_logits_too_large_for_a_bare_exponential_make_no_difference() -> None:
    encoder, embeddings, masks = case(size=40, depth=2)
    assert_equal_to_the_plain_one(encoder, embeddings, masks)
    assert encoder.float()(embeddings.float(), masks.float()).isfinite().all()


def test_both_ways_to_the_softmax_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, embeddings, masks = case(size=0.5)
    bare = encoder(embeddings, masks)
    monkeypatch.setattr("pkb.edk.attention.SAFE_LOGIT", 0.0)
    torch.testing.assert_close(encoder(embeddings, masks), bare)


def test_the_size_of_the_parts_makes_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, embeddings, masks = case(rows=7)
    whole = encoder(embeddings, masks)
    monkeypatch.setattr(module, "CACHE_BYTES", 2 * 3 * 3 * 7 * 7 * 8)  # two rows
    torch.testing.assert_close(encoder(embeddings, masks), whole)


def test_the_attention_kernel_has_the_gradient_of_its_values() -> None:
    torch.manual_seed(0)
    queries = torch.randn(2, 3, 8, dtype=torch.float64, requires_grad=True)
    tokens = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(_Attend.apply, (queries, tokens))


def test_knowledge_does_not_depend_on_the_order_of_the_fields() -> None:
    encoder, embeddings, masks = case()
    order = torch.randperm(7)
    torch.testing.assert_close(encoder(embeddings[:, order], masks[:, :, order]), encoder(embeddings, masks))


def test_a_layer_permutes_its_output_as_its_input() -> None:
    torch.manual_seed(0)
    layer, tokens, order = SelfAttention(4, 3).double(), torch.randn(5, 4, 7, dtype=torch.float64), torch.randperm(7)
    torch.testing.assert_close(layer(tokens[:, :, order]), layer(tokens)[:, :, order])


def test_what_a_closed_mask_hides_makes_no_difference() -> None:
    encoder, embeddings, masks = case()
    with torch.no_grad():
        masks[:, :, 2] = 0
        other = embeddings.clone()
        other[:, 2] += 5
        assert torch.equal(encoder(other, masks), encoder(embeddings, masks))


def test_equal_masks_give_equal_vectors_and_each_mask_its_own() -> None:
    encoder, embeddings, masks = case()
    twice = torch.cat([masks[:, :1], masks[:, :1], masks[:, 1:2]], dim=1)
    first, second, third = encoder(embeddings, twice).unbind(dim=1)
    torch.testing.assert_close(first, second)
    assert (first - third).abs().max() > 1e-3
