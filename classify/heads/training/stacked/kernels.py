"""The kernels of `fused`, by Triton. Members are the last axis of each grid."""

# pyright: reportInvalidTypeForm=false
from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

triton: Any = import_module("triton") if find_spec("triton") else None  # not with builds for CPUs
tl: Any = import_module("triton.language") if triton else None

BLOCK = 8  # rows whose gradients are summed by one program
LARGEST = 8192  # logits of a member that one program takes
# a kernel is compiled once, whatever these are
VARYING = ["count", "place", "threshold"]

if triton is not None:

    @triton.jit
    def _mixed(x):
        x = x ^ (x >> 16)
        x = x * 0x7FEB352D
        x = x ^ (x >> 15)
        x = x * 0x846CA68B
        return x ^ (x >> 16)

    @triton.jit
    def _dropped(x, position, member, seeds, clock, place, threshold, scale):
        step = tl.load(clock).to(tl.uint32)
        first = tl.load(seeds + 2 * member).to(tl.uint32, bitcast=True)
        second = tl.load(seeds + 2 * member + 1).to(tl.uint32, bitcast=True)
        first = _mixed(first ^ _mixed(step))
        second = _mixed(second ^ _mixed(step + place.to(tl.uint32) * 0x9E3779B9))
        word = _mixed(_mixed(position.to(tl.uint32) ^ first) + second)
        return tl.where(word >= threshold.to(tl.uint32), x * scale, 0.0)

    @triton.jit(do_not_specialize=VARYING)
    def gather(
        x, order, rows, out, total, count, width, lead, numbers,
        seeds, clock, place, threshold, scale_kept, size: tl.constexpr, drops: tl.constexpr,
    ):  # fmt: skip
        """See `fused.gather`."""
        row, member = tl.program_id(0), tl.program_id(2).to(tl.int64)
        column = tl.program_id(1) * size + tl.arange(0, size)
        at = tl.load(order + member * total + tl.load(clock + 1) + row)
        here = member * count + row
        if tl.program_id(1) == 0:
            tl.store(rows + here, at)
        inside = (column >= lead) & (column < lead + width)
        values = tl.load(x + at * width + column - lead, mask=inside, other=0.0)
        if drops:
            position = row * numbers + column
            values = _dropped(values, position, member, seeds, clock, place, threshold, scale_kept)
        tl.store(out + here * numbers + column, values, mask=column < numbers)

    @triton.jit(do_not_specialize=["count"])
    def placed(
        made, first, bias, position, full, low, count, positions, width,
        first_stride, bias_stride, position_stride, size: tl.constexpr, two: tl.constexpr,
    ):  # fmt: skip
        """See `fused.placed`."""
        row, member = tl.program_id(0), tl.program_id(1).to(tl.int64)
        column = tl.arange(0, size)
        inside = column < width
        at = row % positions
        place = (member * count + row) * width + column
        x = tl.load(made + place, mask=inside, other=0.0)
        if at == 0:
            x += tl.load(first + member * first_stride + column, mask=inside, other=0.0)
        else:
            x += tl.load(bias + member * bias_stride + column, mask=inside, other=0.0)
        x += tl.load(
            position + member * position_stride + at * width + column, mask=inside, other=0.0
        )
        tl.store(full + place, x, mask=inside)
        if two:
            tl.store(low + place, x, mask=inside)

    @triton.jit(do_not_specialize=["count", "every"])
    def placed_backward(
        first, second, out, to_first, to_bias, to_position, count, every, positions, width,
        first_stride, bias_stride, block_stride, position_stride,
        chunks: tl.constexpr, height: tl.constexpr, size: tl.constexpr,
    ):  # fmt: skip
        """See `fused.placed_backward`."""
        at, member = tl.program_id(0), tl.program_id(2).to(tl.int64)
        column = tl.program_id(1) * size + tl.arange(0, size)
        known = column < width
        total = tl.zeros((size,), tl.float32)
        for chunk in range(chunks):
            row = chunk * height + tl.arange(0, height)
            inside = (row < count)[:, None] & known[None, :]
            token = row * positions + at
            here = (member * count * positions + token)[:, None] * width + column[None, :]
            x = tl.load(second + here, mask=inside, other=0.0)
            there = (member * (count * positions // every) + token // every)[:, None] * width
            read = inside & (token % every == 0)[:, None]
            x += tl.load(first + there + column[None, :], mask=read, other=0.0)
            tl.store(out + here, x, mask=inside)
            total += tl.sum(x, 0)
        to_position += member * position_stride + at * width + column
        tl.store(to_position, total, mask=known)
        if at == 0:
            tl.store(to_first + member * first_stride + column, total, mask=known)
        to_bias += member * bias_stride + at * block_stride + column
        tl.store(to_bias, tl.where(at == 0, 0.0, total), mask=known)

    @triton.jit
    def _weights(
        made, bias, start, token, query_token, channel, known, asked, width, scale, head, size,
        exact: tl.constexpr,
    ):  # fmt: skip
        """Load queries, keys and values of a head, and compute the weights of attention."""
        inside = (channel < size)[None, :]
        column = (head * size + channel)[None, :]
        here = (start + token)[:, None] * (3 * width) + column
        there = (start + query_token)[:, None] * (3 * width) + column
        q = tl.load(made + there, mask=asked[:, None] & inside, other=0.0)
        k = tl.load(made + here + width, mask=known[:, None] & inside, other=0.0)
        v = tl.load(made + here + 2 * width, mask=known[:, None] & inside, other=0.0)
        q += tl.load(bias + column, mask=inside, other=0.0)
        k += tl.load(bias + column + width, mask=inside, other=0.0)
        v += tl.load(bias + column + 2 * width, mask=inside, other=0.0)
        scores = tl.dot(q, tl.trans(k), input_precision=exact) * scale
        scores = tl.where(known[None, :], scores, float("-inf"))
        weights = tl.exp(scores - tl.max(scores, 1)[:, None])
        weights = weights / tl.sum(weights, 1)[:, None]
        weights = tl.where(asked[:, None], weights, 0.0)
        return q, k, v, weights

    @triton.jit(do_not_specialize=VARYING)
    def attention(
        made, bias, out, bias_stride, seeds, clock, place, threshold, scale_kept,
        count, positions, queries, width, size, scale,
        tokens: tl.constexpr, query_tokens: tl.constexpr, channels: tl.constexpr,
        drops: tl.constexpr, exact: tl.constexpr,
    ):  # fmt: skip
        """See `fused.attention`."""
        row, head, member = tl.program_id(0), tl.program_id(1), tl.program_id(2).to(tl.int64)
        token, query_token = tl.arange(0, tokens), tl.arange(0, query_tokens)
        channel = tl.arange(0, channels)
        known, asked = token < positions, query_token < queries
        start = (member * count + row) * positions
        _q, _k, v, weights = _weights(
            made, bias + member * bias_stride, start, token, query_token, channel, known, asked,
            width, scale, head, size, exact,
        )  # fmt: skip
        if drops:
            line = (row * tl.num_programs(1) + head) * queries + query_token
            position = line[:, None] * positions + token[None, :]
            weights = _dropped(
                weights, position, member, seeds, clock, place, threshold, scale_kept
            )
        found = tl.dot(weights, v, input_precision=exact)
        here = ((member * count + row) * queries + query_token)[:, None] * width
        here += (head * size + channel)[None, :]
        tl.store(out + here, found, mask=asked[:, None] & (channel < size)[None, :])

    @triton.jit(do_not_specialize=VARYING)
    def attention_backward(
        grad, made, bias, out, partial, bias_stride, partial_stride, block_stride,
        seeds, clock, place, threshold, scale_kept, count, positions, queries, width, size, scale,
        tokens: tl.constexpr, query_tokens: tl.constexpr, channels: tl.constexpr,
        drops: tl.constexpr, exact: tl.constexpr,
    ):  # fmt: skip
        """See `fused.attention_backward`."""
        row, head, member = tl.program_id(0), tl.program_id(1), tl.program_id(2).to(tl.int64)
        token, query_token = tl.arange(0, tokens), tl.arange(0, query_tokens)
        channel = tl.arange(0, channels)
        known, asked, inside = token < positions, query_token < queries, channel < size
        start = (member * count + row) * positions
        q, k, v, weights = _weights(
            made, bias + member * bias_stride, start, token, query_token, channel, known, asked,
            width, scale, head, size, exact,
        )  # fmt: skip
        here = ((member * count + row) * queries + query_token)[:, None] * width
        here += (head * size + channel)[None, :]
        to_found = tl.load(grad + here, mask=asked[:, None] & inside[None, :], other=0.0)
        to_weights = tl.dot(to_found, tl.trans(v), input_precision=exact)
        used = weights
        if drops:
            line = (row * tl.num_programs(1) + head) * queries + query_token
            position = line[:, None] * positions + token[None, :]
            factors = _dropped(
                tl.full([query_tokens, tokens], 1.0, tl.float32), position, member, seeds, clock,
                place, threshold, scale_kept,
            )  # fmt: skip
            used = weights * factors
            to_weights = to_weights * factors
        to_value = tl.dot(tl.trans(used), to_found, input_precision=exact)
        mean = tl.sum(to_weights * weights, 1)[:, None]
        to_scores = weights * (to_weights - mean) * scale
        to_query = tl.dot(to_scores, k, input_precision=exact)
        to_key = tl.dot(tl.trans(to_scores), q, input_precision=exact)

        column = head * size + channel
        sums = partial + member * partial_stride + row * block_stride + column
        tl.store(sums, tl.sum(to_query, 0), mask=inside)
        tl.store(sums + width, tl.sum(to_key, 0), mask=inside)
        tl.store(sums + 2 * width, tl.sum(to_value, 0), mask=inside)
        there = (start + token)[:, None] * (3 * width) + column[None, :]
        seen = known[:, None] & inside[None, :]
        tl.store(out + there + width, to_key, mask=seen)
        tl.store(out + there + 2 * width, to_value, mask=seen)
        if queries < positions:
            tl.store(
                out + there,
                tl.zeros((tokens, channels), tl.float32),
                mask=seen & (token >= queries)[:, None],
            )
        there = (start + query_token)[:, None] * (3 * width) + column[None, :]
        tl.store(out + there, to_query, mask=asked[:, None] & inside[None, :])

    @triton.jit(do_not_specialize=[*VARYING, "every"])
    def add_norm(
        x, made, bias, weight, shift, full, low, normal, rate, count, every, eps, stride,
        seeds, clock, place, threshold, scale_kept, width: tl.constexpr, size: tl.constexpr,
        height: tl.constexpr, drops: tl.constexpr, two: tl.constexpr,
    ):  # fmt: skip
        """See `fused.add_norm`."""
        member = tl.program_id(1).to(tl.int64)
        row, column = tl.program_id(0) * height + tl.arange(0, height), tl.arange(0, size)
        known = column < width
        inside = (row < count)[:, None] & known[None, :]
        position = row[:, None] * width + column[None, :]
        here = member * count * width + position
        there = (member * count + row)[:, None] * (every * width) + column[None, :]
        added = tl.load(made + here, mask=inside, other=0.0)
        added += tl.load(bias + member * stride + column, mask=known, other=0.0)[None, :]
        if drops:
            added = _dropped(added, position, member, seeds, clock, place, threshold, scale_kept)
        total = tl.where(inside, tl.load(x + there, mask=inside, other=0.0) + added, 0.0)
        centred = tl.where(inside, total - (tl.sum(total, 1) / width)[:, None], 0.0)
        scale = 1.0 / tl.sqrt(tl.sum(centred * centred, 1) / width + eps)
        centred = centred * scale[:, None]
        w = tl.load(weight + member * stride + column, mask=known, other=0.0)[None, :]
        b = tl.load(shift + member * stride + column, mask=known, other=0.0)[None, :]
        y = centred * w + b
        tl.store(normal + here, centred, mask=inside)
        tl.store(rate + member * count + row, scale, mask=row < count)
        tl.store(full + here, y, mask=inside)
        if two:
            tl.store(low + here, y, mask=inside)

    @triton.jit(do_not_specialize=[*VARYING, "every"])
    def add_norm_backward(
        first, second, normal, rate, weight, to_x, to_made, to_bias, to_weight, to_shift,
        count, every, stride, partial_stride, block_stride,
        seeds, clock, place, threshold, scale_kept, width: tl.constexpr, size: tl.constexpr,
        height: tl.constexpr, both: tl.constexpr, drops: tl.constexpr,
    ):  # fmt: skip
        """See `fused.add_norm_backward`."""
        block, member = tl.program_id(0), tl.program_id(1).to(tl.int64)
        row, column = block * height + tl.arange(0, height), tl.arange(0, size)
        known = column < width
        inside = (row < count)[:, None] & known[None, :]
        position = row[:, None] * width + column[None, :]
        here = member * count * width + position
        grad = tl.load(second + here, mask=inside, other=0.0)
        if both:
            there = (member * (count // every) + row // every)[:, None] * width + column[None, :]
            read = inside & (row % every == 0)[:, None]
            grad += tl.load(first + there, mask=read, other=0.0)
        x = tl.load(normal + here, mask=inside, other=0.0)
        sums = member * partial_stride + block * block_stride + column
        tl.store(to_shift + sums, tl.sum(grad, 0), mask=known)
        tl.store(to_weight + sums, tl.sum(grad * x, 0), mask=known)
        grad *= tl.load(weight + member * stride + column, mask=known, other=0.0)[None, :]
        mean, inner = tl.sum(grad, 1) / width, tl.sum(grad * x, 1) / width
        scale = tl.load(rate + member * count + row, mask=row < count, other=0.0)
        grad = tl.where(inside, (grad - mean[:, None] - x * inner[:, None]) * scale[:, None], 0.0)
        tl.store(to_x + here, grad, mask=inside)
        if drops:
            grad = _dropped(grad, position, member, seeds, clock, place, threshold, scale_kept)
        tl.store(to_bias + sums, tl.sum(grad, 0), mask=known)
        tl.store(to_made + here, grad, mask=inside)

    @triton.jit(do_not_specialize=VARYING)
    def relu_drop(
        made, bias, out, count, units, stride, seeds, clock, place, threshold, scale_kept,
        size: tl.constexpr, height: tl.constexpr, drops: tl.constexpr,
    ):  # fmt: skip
        """See `fused.relu_drop`."""
        member = tl.program_id(2).to(tl.int64)
        row = tl.program_id(0) * height + tl.arange(0, height)
        column = tl.program_id(1) * size + tl.arange(0, size)
        inside = (row < count)[:, None] & (column < units)[None, :]
        position = row[:, None] * units + column[None, :]
        here = member * count * units + position
        x = tl.load(made + here, mask=inside, other=0.0)
        x += tl.load(bias + member * stride + column, mask=column < units, other=0.0)[None, :]
        x = tl.maximum(x, 0.0)
        if drops:
            x = _dropped(x, position, member, seeds, clock, place, threshold, scale_kept)
        tl.store(out + here, x, mask=inside)

    @triton.jit(do_not_specialize=["count"])
    def relu_drop_backward(
        grad, out, to_made, partial, count, units, partial_stride, block_stride, scale_kept,
        size: tl.constexpr, height: tl.constexpr,
    ):  # fmt: skip
        """See `fused.relu_drop_backward`."""
        block, member = tl.program_id(0), tl.program_id(2).to(tl.int64)
        row = block * height + tl.arange(0, height)
        column = tl.program_id(1) * size + tl.arange(0, size)
        inside = (row < count)[:, None] & (column < units)[None, :]
        here = member * count * units + row[:, None] * units + column[None, :]
        x = tl.load(grad + here, mask=inside, other=0.0)
        passed = tl.load(out + here, mask=inside, other=0.0) > 0
        x = tl.where(passed, x * scale_kept, 0.0)
        sums = partial + member * partial_stride + block * block_stride + column
        tl.store(sums, tl.sum(x, 0), mask=column < units)
        tl.store(to_made + here, x, mask=inside)

    @triton.jit(do_not_specialize=["count"])
    def cross_entropy(
        logits, rows, target, shift, losses, grad, count, classes,
        height: tl.constexpr, width: tl.constexpr, shifts: tl.constexpr,
    ):  # fmt: skip
        """See `fused.cross_entropy`."""
        member = tl.program_id(0).to(tl.int64)
        row, column = tl.arange(0, height), tl.arange(0, width)
        here = (member * count + row)[:, None] * classes + column[None, :]
        inside = (row < count)[:, None] & (column < classes)[None, :]
        x = tl.load(logits + here, mask=inside, other=0.0)
        if shifts:
            x += tl.load(shift + column, mask=column < classes, other=0.0)[None, :]
        x = tl.where((column < classes)[None, :], x, float("-inf"))
        at = tl.load(rows + member * count + row, mask=row < count, other=0)
        mass = tl.load(target + at[:, None] * classes + column[None, :], mask=inside, other=0.0)
        x -= tl.max(x, 1)[:, None]
        each = tl.exp(x)
        all_each = tl.sum(each, 1)[:, None]
        terms = tl.where(inside, mass * (x - tl.log(all_each)), 0.0)
        total = tl.maximum(tl.sum(tl.sum(mass, 1), 0), 1.1754943508222875e-38)
        tl.store(losses + member, -tl.sum(tl.sum(terms, 1), 0) / total)
        change = (each / all_each * tl.sum(mass, 1)[:, None] - mass) / total
        tl.store(grad + here, change, mask=inside)

    @triton.jit
    def sum_blocks(
        partial, grads, blocks, vectors, numbers,
        chunks: tl.constexpr, height: tl.constexpr, size: tl.constexpr,
    ):  # fmt: skip
        """See `fused.sum_blocks`."""
        member = tl.program_id(1).to(tl.int64)
        column = tl.program_id(0) * size + tl.arange(0, size)
        total = tl.zeros((size,), tl.float32)
        for chunk in range(chunks):
            block = chunk * height + tl.arange(0, height)
            here = (member * blocks + block)[:, None] * vectors + column[None, :]
            inside = (block < blocks)[:, None] & (column < vectors)[None, :]
            total += tl.sum(tl.load(partial + here, mask=inside, other=0.0), 0)
        tl.store(grads + member * numbers + column, total, mask=column < vectors)

    @triton.jit
    def squares(grads, out, numbers, blocks, size: tl.constexpr):
        """Sum the squares of a part of the gradients of a member."""
        block, member = tl.program_id(0), tl.program_id(1).to(tl.int64)
        at = block * size + tl.arange(0, size)
        x = tl.load(grads + member * numbers + at, mask=at < numbers, other=0.0)
        tl.store(out + member * blocks + block, tl.sum(x * x, 0))

    @triton.jit
    def adamw(
        values, low, grads, first, second, parts, table, clock, numbers, blocks, largest,
        beta1: tl.constexpr, beta2: tl.constexpr, eps: tl.constexpr, size: tl.constexpr,
        all_blocks: tl.constexpr, clips: tl.constexpr, two: tl.constexpr,
    ):  # fmt: skip
        """See `FlatAdamW`."""
        member = tl.program_id(1).to(tl.int64)
        at = tl.program_id(0) * size + tl.arange(0, size)
        here, inside = member * numbers + at, at < numbers
        line = table + 3 * tl.load(clock)
        decay, rate, root = tl.load(line), tl.load(line + 1), tl.load(line + 2)
        grad = tl.load(grads + here, mask=inside, other=0.0)
        if clips:
            part = tl.arange(0, all_blocks)
            found = tl.load(parts + member * blocks + part, mask=part < blocks, other=0.0)
            factor = largest / (tl.sqrt(tl.sum(found, 0)) + 1e-6)
            grad = grad * tl.where(factor < 1.0, factor, tl.where(factor >= 1.0, 1.0, factor))
        m = tl.load(first + here, mask=inside, other=0.0)
        v = tl.load(second + here, mask=inside, other=0.0)
        x = tl.load(values + here, mask=inside, other=0.0)
        m = m + (grad - m) * (1.0 - beta1)
        v = beta2 * v + (1.0 - beta2) * grad * grad
        x = x * decay - rate * m / (tl.sqrt(v) * root + eps)
        tl.store(first + here, m, mask=inside)
        tl.store(second + here, v, mask=inside)
        tl.store(values + here, x, mask=inside)
        if two:
            tl.store(low + here, x, mask=inside)
