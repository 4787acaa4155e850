"""Changes of weights in few numbers, and their leading singular vectors without ever making the large matrix.

The singular values of a Kronecker product are the products of those of its halves. A product of entries of two
matrices of the ranks p and q is a product of two matrices of the rank p q. Only where that is no fewer than the layer
is wide is the matrix made, and its leading vectors are found by subspace iteration with a fixed start.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Change", "Hadamard", "Kronecker"]

Matrix = NDArray[np.float64]
Leading = tuple[Matrix, Matrix, Matrix]

SMALL = 400
"""Up to this many rows or columns LAPACK's own SVD is quick."""
MORE, ROUNDS = 24, 4
"""Subspace iteration: vectors beyond those that are wanted, and times that it is repeated."""


class Change(Protocol):
    """A change of weights (out, in); ``norm`` is its Frobenius norm."""

    norm: float

    def leading(self, count: int) -> Leading:
        """The largest singular values, at most ``count``: left vectors (out, n), values (n), right vectors (n, in)."""

    def distance(self, up: Matrix, down: Matrix) -> float:
        """The Frobenius norm of the change less ``up @ down``."""


def _svd(factors: tuple[Matrix, ...]) -> Leading:
    """The singular value decomposition of a matrix, or of the product of two."""
    if len(factors) == 2:
        left, right = factors
        if left.shape[1] < min(left.shape[0], right.shape[1]):
            outer, small = np.linalg.qr(left)
            inner, other = np.linalg.qr(right.T)
            u, values, v = np.linalg.svd(small @ other.T, full_matrices=False)
            return outer @ u, values, v @ inner.T
        factors = (left @ right,)
    (matrix,) = factors
    if min(matrix.shape) <= SMALL:
        return np.linalg.svd(matrix, full_matrices=False)
    if matrix.shape[0] > matrix.shape[1]:
        u, values, v = _svd((matrix.T,))
        return v.T, values, u.T
    # the shorter side's Gram matrix: a fraction of the work, and exact enough for all that is worth keeping
    squares, u = np.linalg.eigh(matrix @ matrix.T)
    values, u = np.sqrt(np.maximum(squares[::-1], 0)), u[:, ::-1]
    right = u.T @ matrix
    return u, values, np.divide(right, values[:, None], out=np.zeros_like(right), where=values[:, None] > 0)


def _distance(norm: float, applied: Matrix, up: Matrix, down: Matrix) -> float:
    """|D - up down| from ``applied`` = D down.T; good to 1e-7 of the norm."""
    shared = float(np.sum(applied * up))
    own = float(np.sum((up.T @ up) * (down @ down.T)))
    return math.sqrt(max(0.0, norm**2 - 2 * shared + own))


class Kronecker:
    """scale · (first ⊗ second); each half a matrix or the two that it is the product of."""

    def __init__(self, first: tuple[Matrix, ...], second: tuple[Matrix, ...], scale: float) -> None:
        self._first, self._second, self._scale = first, second, scale
        self._halves = _svd(first), _svd(second)
        self.norm = abs(scale) * float(np.linalg.norm(self._halves[0][1]) * np.linalg.norm(self._halves[1][1]))

    def leading(self, count: int) -> Leading:
        (u1, s1, v1), (u2, s2, v2) = self._halves
        products = np.outer(s1, s2)
        chosen = np.argsort(-products, axis=None, kind="stable")[:count]
        i, j = np.unravel_index(chosen, products.shape)
        left = (u1[:, None, i] * u2[None, :, j]).reshape(-1, len(i))
        right = (v1[i, :, None] * v2[j, None, :]).reshape(len(i), -1)
        return left * math.copysign(1, self._scale), abs(self._scale) * products[i, j], right

    def distance(self, up: Matrix, down: Matrix) -> float:
        (u1, s1, v1), (u2, s2, v2) = self._halves
        grids = down.reshape(len(down), v1.shape[1], v2.shape[1])
        # (first ⊗ second) applied to a grid of numbers is first · grid · second'
        inner = (v1 @ grids @ v2.T) * s1[:, None] * s2
        applied = (u1 @ inner @ u2.T).reshape(len(down), -1).T * self._scale
        return _distance(self.norm, applied, up, down)


class Hadamard:
    """scale · (first ∘ second), entry by entry; each half a matrix or the two that it is the product of."""

    def __init__(self, first: tuple[Matrix, ...], second: tuple[Matrix, ...], scale: float) -> None:
        (a, b), (c, d) = first, second
        self._factors: tuple[Matrix, ...]
        if a.shape[1] * c.shape[1] < min(len(a), b.shape[1]) // 2:
            rows = (a[:, :, None] * c[:, None, :]).reshape(len(a), -1)
            columns = (b[:, None, :] * d[None, :, :]).reshape(-1, b.shape[1])
            self._factors = (rows * scale, columns)
            self.norm = math.sqrt(max(0.0, float(np.sum((rows.T @ rows) * (columns @ columns.T))))) * abs(scale)
        else:
            self._factors = ((a @ b) * (c @ d) * scale,)
            self.norm = float(np.linalg.norm(self._factors[0]))

    def leading(self, count: int) -> Leading:
        if min(min(factor.shape) for factor in self._factors) > max(SMALL, 2 * (count + MORE)):
            return _subspace(self._factors, count)
        u, values, v = _svd(self._factors)
        return u[:, :count], values[:count], v[:count]

    def distance(self, up: Matrix, down: Matrix) -> float:
        return _distance(self.norm, _times(self._factors, down.T), up, down)


def _times(factors: tuple[Matrix, ...], vectors: Matrix) -> Matrix:
    for factor in factors[::-1]:
        vectors = factor @ vectors
    return vectors


def _subspace(factors: tuple[Matrix, ...], count: int) -> Leading:
    turned = tuple(factor.T for factor in factors[::-1])
    start = np.random.default_rng(0).standard_normal((factors[-1].shape[1], count + MORE))
    found, _ = np.linalg.qr(_times(factors, start))
    for _ in range(ROUNDS):
        back, _ = np.linalg.qr(_times(turned, found))
        found, _ = np.linalg.qr(_times(factors, back))
    u, values, v = np.linalg.svd(_times(turned, found).T, full_matrices=False)
    return (found @ u)[:, :count], values[:count], v[:count]
