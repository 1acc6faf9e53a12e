"""What matrix products fetch from memory, by one model of tiles and an L2 cache.

The tiles of a product, Triton's or cuBLAS', run in waves of one program a processor, in launch
order. In a wave each distinct row tile of A and column tile of B comes from memory once, whole
depth. A program that walks over several column tiles reads its row tile again for each, from memory
if the wave's row tiles exceed half of the L2 cache. An operand that fits half of it comes once
altogether. Where programs make two products in turn, both operands must fit together. The output is
written once, and read too where it is added to. What else a kernel takes moves as often as `PASSES`
says. cuBLAS takes tiles of 128 × 256, the shorter side of the grid fastest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from torch import Tensor

from bench.torch_traffic import Access, Launch, access, size
from marco.kernels.chips import Chip

CUBLAS_TILE = (128, 256)


@dataclass(frozen=True)
class Product:
    """`out[rows, columns] (+)= a[rows, depth] @ b[depth, columns]`, tile by tile.

    Attributes:
        operands: names of a and b.
        sides: rows and columns.
        tiles: rows and columns that one program takes.
        depth: what is summed over.
        group: row tiles that programs go over first, then columns, then groups
            (`marco.kernels._grid`): 1 is columns fastest.
        walk: column tiles that a program takes one after the other.
        beside: depth of the other product that the same programs make in turn.
    """

    operands: tuple[str, str]
    sides: tuple[int, int]
    tiles: tuple[int, int]
    depth: int
    group: int
    walk: int = 1
    beside: int = 0

    @property
    def flops(self) -> int:
        """Of the whole product."""
        return 2 * self.sides[0] * self.sides[1] * self.depth

    def fetched(self, element: int, chip: Chip) -> tuple[int, int]:
        """Bytes of a and of b that come from memory, `element` bytes a number."""
        rows, columns = (-(-s // t) for s, t in zip(self.sides, self.tiles, strict=True))
        cached = chip.l2 // 2 // ((self.depth + self.beside) * element)
        both = []
        for which, again in ((0, self.walk), (1, 1)):
            side, tile = self.sides[which], self.tiles[which]
            lines = _lines(
                side, tile, rows, columns, self.group, which, again, cached, chip.processors
            )
            both.append(lines * self.depth * element)
        return both[0], both[1]


@cache
def _lines(
    side: int,
    tile: int,
    rows: int,
    columns: int,
    group: int,
    which: int,
    again: int,
    cached: int,
    processors: int,
) -> int:
    """Lines of one operand that a grid of `rows` × `columns` tiles fetches; `cached` lines stay."""
    if side <= cached:
        return side
    programs = list(order(rows, columns, group))
    total = 0
    for first in range(0, len(programs), processors):
        wave = {tiles[which] for tiles in programs[first : first + processors]}
        lines = sum(min(tile, side - at * tile) for at in wave)
        total += lines * (again if lines > cached else 1)
    return total


def order(rows: int, columns: int, group: int) -> Iterator[tuple[int, int]]:
    """Row and column tile of each program."""
    for first in range(0, rows, group):
        for column in range(columns):
            for row in range(first, min(first + group, rows)):
                yield row, column


def cublas(a: Tensor, b: Tensor) -> Product:
    """The product of two matrices by cuBLAS."""
    sides = a.shape[0], b.shape[1]
    rows_fast = sides[0] / CUBLAS_TILE[0] <= sides[1] / CUBLAS_TILE[1]
    rows = -(-sides[0] // CUBLAS_TILE[0])
    return Product(("a", "b"), sides, CUBLAS_TILE, a.shape[1], rows if rows_fast else 1)


Given = Mapping[str, Any]


def _of_logits(a: str, b: str, given: Given, depth: str, other: str | None = None) -> Product:
    """Of one of the distillation's kernels that make logits."""
    columns, tile = given["limit"], given["slab"]
    if "first" in given:  # the backward: a slab a launch, of which a program takes one tile
        columns, tile = min(tile, columns - given["first"]), given["b_row"]
    walk = -(-tile // given["b_row"])
    sides, tiles = (given["tokens"], columns), (given["b_token"], tile)
    beside = 0 if other is None else given[other]
    return Product((a, b), sides, tiles, given[depth], given["group"], walk, beside)


def _both_logits(given: Given) -> list[Product]:
    return [
        _of_logits("sh_ptr", "sw_ptr", given, "s_size", "t_size"),
        _of_logits("th_ptr", "tw_ptr", given, "t_size", "s_size"),
    ]


#: The products of a launch, from its arguments.
PRODUCTS: dict[str, Callable[[Given], list[Product]]] = {
    "linear_cross_entropy_fwd_kernel": lambda given: [
        Product(
            ("x_ptr", "w_ptr"),
            (given["tokens"], given["vocabulary"]),
            (given["tile_t"], given["tile_v"] * given["tiles_a_part"]),
            given["hidden"],
            group=given["group"],
            walk=given["tiles_a_part"],
        )
    ],
    "linear_cross_entropy_bwd_kernel": lambda given: [
        Product(
            ("x_ptr", "w_ptr"),
            (given["tokens"], given["end"] - given["first"]),
            (given["tile_t"], given["tile_v"]),
            given["hidden"],
            group=given["group"],
        )
    ],
    "linear_cross_entropy_product_kernel": lambda given: [
        Product(
            ("a_ptr", "b_ptr"),
            (given["rows"], given["columns"]),
            (given["tile_m"], given["tile_n"]),
            given["depth"],
            group=given["group"],
        )
    ],
    "linear_distillation_lse_kernel": lambda given: [_of_logits("h_ptr", "w_ptr", given, "size")],
    "linear_distillation_fwd_kernel": _both_logits,
    "linear_distillation_bwd_kernel": _both_logits,
    "linear_distillation_hidden_kernel": lambda given: [
        Product(
            ("d_ptr", "w_ptr"),
            (given["tokens"], given["size"]),
            (given["b_token"], given["b_size"]),
            given["rows"],
            group=given["group"],
        )
    ],
}
#: How often each other argument is read and written.
PASSES: dict[str, dict[str, tuple[int, int]]] = {
    "linear_cross_entropy_fwd_kernel": {
        "target_ptr": (1, 0),
        "target_logit_ptr": (0, 1),
        "max_ptr": (0, 1),
        "sum_ptr": (0, 1),
    },
    "linear_cross_entropy_bwd_kernel": {
        "target_ptr": (1, 0),
        "max_ptr": (1, 0),
        "log_sum_ptr": (1, 0),
        "grad_ptr": (1, 0),
        "d_ptr": (0, 1),
    },
    # In bf16 it only adds to the gradient of the hidden states.
    "linear_cross_entropy_product_kernel": {"out_ptr": (1, 1), "unscale_ptr": (1, 0)},
    "linear_distillation_lse_kernel": {"parts_ptr": (0, 1)},
    "linear_distillation_fwd_kernel": {
        "s_lse_ptr": (1, 0),
        "t_lse_ptr": (1, 0),
        "from_t_ptr": (0, 1),
        "from_s_ptr": (0, 1),
    },
    "linear_distillation_bwd_kernel": {
        "incoming_ptr": (1, 0),
        "s_lse_ptr": (1, 0),
        "t_lse_ptr": (1, 0),
        "s_kl_ptr": (1, 0),
        "d_ptr": (0, 1),
    },
    "linear_distillation_hidden_kernel": {"dh_ptr": (1, 1)},
    # Maximum and sum; then the gradient, in place of the logits.
    "liger_cross_entropy_kernel": {"X_ptr": (2, 1), "Y_ptr": (1, 0), "loss_ptr": (0, 1)},
    "jsd_kernel": {"X_ptr": (1, 0), "Y_ptr": (1, 0), "loss_ptr": (0, 1), "dX_ptr": (0, 1)},
}


def launch_of(kernel: Any, args: Sequence[Any], options: Given, chip: Chip) -> Launch:
    """What one Triton launch moves and multiplies on a chip.

    Raises KeyError for a kernel that `PASSES` does not know.
    """
    name = str(kernel.__name__).strip("_")
    if name not in PASSES:
        raise KeyError(f"{name}: PASSES and PRODUCTS must say what this kernel moves.")
    given = {**dict(zip(kernel.arg_names, args, strict=False)), **options}
    products = PRODUCTS[name](given) if name in PRODUCTS else []
    launch = Launch(name, [], [], sum(product.flops for product in products))
    for product in products:
        launch.reads += fetches(product, [given[x] for x in product.operands], chip)
    for argument, passes in PASSES[name].items():
        for times, accesses in zip(passes, (launch.reads, launch.writes), strict=True):
            found = access(argument, given[argument])
            found.moved *= times
            accesses.append(found)
    return launch


def fetches(product: Product, operands: Sequence[Tensor], chip: Chip) -> list[Access]:
    """What comes from memory of both operands."""
    moved = product.fetched(operands[0].element_size(), chip)
    return [
        Access(name, x.untyped_storage()._cdata, size(x), each)
        for name, x, each in zip(product.operands, operands, moved, strict=True)
    ]
