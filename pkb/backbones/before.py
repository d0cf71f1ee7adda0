"""What came before a row: what a model that counts may know of the rows that it learns, and no more.

A count that knows a row's own label, or by the labels beside it what is left for its own (a request has one click,
say), tells in training what no prediction is told. So a row is described by what was known at an earlier time.

Shapes: B rows, N ids.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pkb.batch import MISSING, Batch

NOBODY = -1  # number of the newest row before any, and the second of the newest label


def unlearned(rows: Batch, newest_2: Tensor) -> Tensor:
    """Mark the rows that no fit has seen, [B] bool: newer ones, and older ones whose click was not known yet."""
    newest_row, newest_label = newest_2.tolist()
    fresh_B: Tensor = rows.row_id > newest_row
    if rows.label_ts is not None:
        fresh_B |= (rows.label > 0) & (rows.label_ts > newest_label)
    return fresh_B


def newest_of(rows: Batch, before_2: Tensor) -> Tensor:
    """The largest row id, which is the latest in time, and the second of the latest label, [2]; or those before."""
    label = NOBODY if rows.label_ts is None else int(rows.label_ts.max())
    return torch.maximum(before_2, torch.tensor([int(rows.row_id.max()), label]))


def slices_in_time(rows: Batch, number: int) -> Tensor:
    """Cut rows into about so many equal slices by time: the number of each row's, [B], 0 the earliest.

    What is of one second, or of one request, stays together; a request is as old as its first row. Rows without a
    time are as old as their number says.
    """
    time_B = rows.row_id if rows.ts is None else rows.ts
    if rows.request is not None:
        _, request_B = rows.request.unique(return_inverse=True)
        first = torch.full((int(request_B.max()) + 1,), torch.iinfo(torch.int64).max)
        time_B = first.scatter_reduce(0, request_B, time_B.long(), "amin")[request_B]
    earlier_B = torch.searchsorted(time_B.sort().values, time_B)
    slice_B: Tensor = (earlier_B * number // len(rows)).unique(return_inverse=True)[1]
    return slice_B


def tally(ids: Tensor, label_B: Tensor, size: int) -> Tensor:
    """Impressions and clicks of each id below `size`, [N, 2]; none of the missing one. `ids` is [B] or [B, F]."""
    flat = ids.flatten().long()
    clicks = label_B.double().repeat_interleave(ids.numel() // len(ids))
    counts = torch.stack([torch.bincount(flat, minlength=size), torch.bincount(flat, clicks, minlength=size)], dim=1)
    counts[MISSING] = 0
    return counts.float()


def total_of(rows: Batch) -> Tensor:
    """Impressions and clicks of all rows, [2] float64: a float32 stops counting at 16 million."""
    return torch.tensor([len(rows), float(rows.label.sum())], dtype=torch.float64)


def overall_rate(total_2: Tensor) -> float:
    """The click rate by Laplace's rule, (clicks + 1) / (impressions + 2): never 0 or 1, and one half before any."""
    impressions, clicks = total_2.tolist()
    return float((clicks + 1) / (impressions + 2))


def smoothed_rate(counts: Tensor, overall: float, smoothing: float) -> Tensor:
    """(clicks + smoothing * overall) / (impressions + smoothing), of counts [..., 2]."""
    times, clicks = counts.unbind(dim=-1)
    return (clicks + smoothing * overall) / (times + smoothing)
