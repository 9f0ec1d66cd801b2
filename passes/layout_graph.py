"""The choice of an order for every operator of a model, as one problem for ``layout_solver``.

One variable for the order in which each operator works. Where one operator reads what another
writes, a table prices the change of order between them; a tensor that several read has one more
variable for each order that somebody wants, so that a change is paid once however many read it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import permutations
from math import prod
from typing import Any

import numpy as np
import tvm
from tvm import relax

from footprint_compiler.passes.layout_cost import PER_KERNEL, LayoutCost
from footprint_compiler.passes.layout_operators import (
    OPERATORS,
    Operator,
    dtype_of,
    feeds_matrices,
)
from footprint_compiler.passes.layout_orders import Permutation, channels_last, identity
from footprint_compiler.passes.layout_solver import Choices, Solution, solve
from footprint_compiler.passes.rebuild import op_name, shape_of

JOINED_MOVE = 0.5
"""What is left of the cost of moving elements that are moved on in the same kernel."""
MOST_ORDERS = 6
"""Orders that are tried for one operator."""
_ROUNDS = 3
_Source = tuple["Node", Any]


@dataclass(eq=False)
class Node:
    """An operator, a parameter, or the reader of a result (then without ``var``).

    Attributes:
        orders: candidates.
        reads: (source, whether it is brought to the order of this node, or to the model's).
        joined: computed in the kernel of a convolution or pool before it.
        flattens: a reshape of whose order constant matrices take care.
    """

    var: Any
    expr: Any
    operator: Operator | None = None
    orders: list[Permutation] = field(default_factory=list)
    reads: list[tuple[_Source, bool]] = field(default_factory=list)
    joined: bool = False
    flattens: bool = False
    variable: int = 0

    def gives(self, value: Any, order: Permutation) -> Permutation | None:
        """The order in which it writes ``value``, one of its results."""
        if self.operator is None or (self.flattens and order[0] == 0):
            return identity(len(shape_of(value)))
        found = self.operator.gives(self.expr, order)
        if found is None and order == identity(len(order)):
            return identity(len(shape_of(value)))
        return found

    @property
    def any_order(self) -> bool:
        """Whether it can work in any order that its operands have."""
        return self.operator is not None and self.operator.orders(self.expr) is None

    def can_work_in(self, order: Permutation) -> bool:
        """Whether it can read an order of its own rank."""
        assert self.operator is not None
        flat = self.flattens and order[0] == 0
        return flat or self.operator.gives(self.expr, order) is not None


@dataclass(frozen=True)
class LayoutPlan:
    """The chosen orders.

    Attributes:
        orders: variable of an operator -> the order in which it works.
        costs: name of an assignment -> its cost by the model; "chosen" is ours.
        optimal: whether no other assignment of the candidates is cheaper.
        operators: how many had a choice.
    """

    orders: dict[Any, Permutation]
    costs: dict[str, float]
    optimal: bool
    operators: int

    def __str__(self) -> str:
        others = ", ".join(f"{name} {c:,.0f}" for name, c in self.costs.items() if name != "chosen")
        found = "cheapest" if self.optimal else "cheapest found"
        return (
            f"orders of {self.operators} operators, {found} {self.costs['chosen']:,.0f} "
            f"estimated instructions that depend on them ({others})"
        )


def plan_layouts(main: Any, users: dict[Any, list[Any]], model: LayoutCost) -> LayoutPlan:
    """Orders for the operators of ``main``.

    Args:
        users: variable -> calls that read it.
        model: what orders cost.
    """
    return LayoutPlanner(main, users, model).plan()


class LayoutPlanner:
    """The problem, and its solution by ``plan``."""

    def __init__(self, main: Any, users: dict[Any, list[Any]], model: LayoutCost) -> None:
        self.model, self.users = model, users
        self.sources: dict[Any, Any] = {}
        self.nodes: list[Node] = []
        for param in main.params:
            self._add(Node(param, param))
        for block in main.body.blocks:
            for binding in block.bindings:
                self._bind(binding.var, binding.value)
        for value in _flat(main.body.body):
            self._reader(value)
        self.choices = Choices()
        self.wanted: list[tuple[int, _Source, Permutation, list[Node]]] = []

    def plan(self) -> LayoutPlan:
        """Find candidates, price them, choose."""
        for _ in range(_ROUNDS):
            known = sum(len(node.orders) for node in self.nodes)
            self._forward()
            self._backward()
            if known == sum(len(node.orders) for node in self.nodes):
                break
        self._price()
        solution = solve(self.choices)
        others = {
            "all channels last": self._uniform(last=True),
            "all as the model": self._uniform(last=False),
            "propagated": self._propagated(),
        }
        costs = {name: self.choices.cost(found) for name, found in others.items()}
        best = min(costs, key=lambda name: costs[name])
        if costs[best] < solution.cost:
            solution = Solution(tuple(others[best]), costs[best], False)
        orders = {
            node.var: node.orders[solution.assignment[node.variable]]
            for node in self.nodes
            if node.operator is not None
        }
        free = sum(len(node.orders) > 1 for node in self.nodes)
        return LayoutPlan(orders, {"chosen": solution.cost, **costs}, solution.optimal, free)

    def _add(self, node: Node) -> Node:
        node.orders = node.orders or [identity(0)]
        self.nodes.append(node)
        self.sources[node.var] = (node, node.var)
        return node

    def _bind(self, var: Any, expr: Any) -> None:
        if isinstance(expr, relax.Tuple):
            self.sources[var] = tuple(self._source(item) for item in expr.fields)
        elif isinstance(expr, tvm.ir.Var):
            self.sources[var] = self._source(expr)
        elif isinstance(expr, relax.TupleGetItem):
            whole = self._source(expr.tuple_value)
            several = isinstance(whole, tuple) and (not whole or not isinstance(whole[0], Node))
            self.sources[var] = whole[expr.index] if several else (whole[0], var) if whole else None
        elif isinstance(expr, relax.Call):
            self._call(var, expr)
        else:
            self._add(Node(var, expr))

    def _call(self, var: Any, call: Any) -> None:
        operator = OPERATORS.get(op_name(call))
        data = operator.data(call) if operator else []
        if operator is None or not data:
            node = self._add(Node(var, call))
        else:
            orders = operator.orders(call) or (identity(len(shape_of(data[0]))),)
            node = self._add(Node(var, call, operator, list(orders)))
            flat = op_name(call) == "relax.reshape"
            node.flattens = flat and feeds_matrices(var, call, self.users)
        for operand in _flat(relax.Tuple(list(call.args))):
            for one in _sources(self._source(operand)):
                brought = any(operand.same_as(item) for item in data)
                if not any(known == one for known, _ in node.reads):
                    node.reads.append((one, brought))
        node.joined = any(self._joins(node, *source) for source, _ in node.reads)

    def _joins(self, node: Node, producer: Node, value: Any) -> bool:
        """Whether an elementwise node is computed in the kernel that makes ``value``."""
        if node.operator is None or not node.operator.elementwise:
            return False
        anchored = producer.operator is not None and producer.operator.anchor
        alone = len(self.users.get(value, [])) == 1 and _elements(value) == _elements(node.var)
        return alone and (anchored or producer.joined)

    def _reader(self, value: Any) -> None:
        for one in _sources(self._source(value)):
            node = Node(None, value, None, [identity(0)])
            node.reads.append((one, False))
            self.nodes.append(node)

    def _source(self, expr: Any) -> Any:
        return self.sources.get(expr) if isinstance(expr, tvm.ir.Var) else None

    def _offer(self, node: Node, order: Permutation | None) -> None:
        """A further candidate of an operator that can work in any order."""
        if not node.any_order or order is None or order in node.orders:
            return
        room = len(node.orders) < MOST_ORDERS and len(order) == len(node.orders[0])
        if room and node.can_work_in(order):
            node.orders.append(order)

    def _forward(self) -> None:
        for node in self.nodes:
            for (producer, value), brought in node.reads:
                if brought:
                    for order in list(producer.orders):
                        self._offer(node, producer.gives(value, order))

    def _backward(self) -> None:
        for node in reversed(self.nodes):
            for (producer, value), brought in node.reads:
                if not producer.any_order:
                    continue
                rank = len(producer.orders[0])
                for order in list(node.orders) if brought else [identity(len(shape_of(value)))]:
                    if any(producer.gives(value, own) == order for own in producer.orders):
                        continue
                    for own in permutations(range(rank)) if rank <= 5 else ():
                        if producer.gives(value, own) == order:
                            self._offer(producer, own)
                            break

    def _wants(self, node: Node, value: Any, brought: bool) -> list[Permutation]:
        """The order that a node wants ``value`` in, for each of its own."""
        plain = identity(len(shape_of(value)))
        return [order if brought else plain for order in node.orders]

    def _price(self) -> None:
        self.readers: dict[Any, list[Node]] = {}
        for node in self.nodes:
            for producer in {id(one): one for (one, _), _ in node.reads}.values():
                self.readers.setdefault(producer.var, []).append(node)
        for node in self.nodes:
            node.variable = self.choices.variable(len(node.orders))
            if node.operator is not None and not node.joined:
                costs = [node.operator.cost(self.model, node.expr, w) for w in node.orders]
                part = JOINED_MOVE if self._moves_on(node) else 1.0
                self.choices.price([node.variable], np.array(costs) * part)
        read: dict[_Source, list[tuple[Node, bool]]] = {}
        for node in self.nodes:
            for source, brought in node.reads:
                read.setdefault(source, []).append((node, brought))
        for source, readers in read.items():
            if len(readers) == 1:
                self._price_edge(source, *readers[0])
            else:
                self._price_shared(source, readers)

    def _moves_on(self, node: Node) -> bool:
        """Whether a move is computed in the kernel of the one that reads its result."""
        moves = node.operator is not None and node.operator.moves
        readers = self.readers.get(node.var, []) if moves else []
        return len(readers) == 1 and _simple(readers[0])

    def _change(self, source: _Source, own: Permutation, want: Permutation, joined: bool) -> float:
        producer, value = source
        have = producer.gives(value, own)
        if have is None:
            return float(np.inf)
        return self.model.change(shape_of(value), dtype_of(value), have, want, joined)

    def _price_edge(self, source: _Source, node: Node, brought: bool) -> None:
        producer, value = source
        joined = _simple(producer) or _simple(node)
        wants = self._wants(node, value, brought)
        rows = [[self._change(source, w, want, joined) for want in wants] for w in producer.orders]
        costs = np.array(rows)
        if self._joins(node, producer, value):  # any change keeps it out of the other's kernel
            costs += (costs > 0) * PER_KERNEL
        self.choices.price([producer.variable, node.variable], costs)

    def _price_shared(self, source: _Source, readers: list[tuple[Node, bool]]) -> None:
        producer, value = source
        wants = [(node, self._wants(node, value, brought)) for node, brought in readers]
        for order in dict.fromkeys(want for _, each in wants for want in each):
            made = self.choices.variable(2)
            costs = [[0.0, self._change(source, w, order, False)] for w in producer.orders]
            self.choices.price([producer.variable, made], np.array(costs))
            interested = [node for node, each in wants if order in each]
            for node, each in wants:
                if order in each:
                    table = [[np.inf if want == order else 0.0, 0.0] for want in each]
                    self.choices.price([node.variable, made], np.array(table))
            self.wanted.append((made, source, order, interested))

    def complete(self, chosen: dict[int, int]) -> list[int]:
        """An assignment of the operators, with the changes that it needs."""
        assignment = [chosen.get(v, 0) for v in range(len(self.choices.sizes))]
        for made, source, order, interested in self.wanted:
            assignment[made] = int(
                any(
                    self._wants(node, source[1], brought)[assignment[node.variable]] == order
                    for node in interested
                    for read, brought in node.reads
                    if read == source
                )
            )
        return assignment

    def _uniform(self, last: bool) -> list[int]:
        """Everything in the model's order, or channels last where there are channels."""
        chosen = {}
        for node in self.nodes:
            rank = len(node.orders[0])
            order = channels_last(rank) if last and rank in (3, 4) else identity(rank)
            chosen[node.variable] = node.orders.index(order) if order in node.orders else 0
        return self.complete(chosen)

    def _propagated(self) -> list[int]:
        """Convolutions and pools channels last, all else as its largest operand comes."""
        chosen: dict[int, int] = {}
        for node in self.nodes:
            choice = 0
            if node.any_order:
                come = [
                    (_elements(value), given)
                    for (producer, value), brought in node.reads
                    if brought
                    for given in [producer.gives(value, producer.orders[chosen[producer.variable]])]
                    if given is not None and given != identity(len(given))
                ]
                order = max(come, key=lambda pair: pair[0])[1] if come else node.orders[0]
                choice = node.orders.index(order) if order in node.orders else 0
            chosen[node.variable] = choice
        return self.complete(chosen)


def _simple(node: Node) -> bool:
    """Whether a node has a kernel that only combines or moves elements."""
    operator = node.operator
    return operator is not None and (operator.moves or (operator.elementwise and not node.joined))


def _elements(value: Any) -> int:
    return prod(shape_of(value)) if isinstance(value.ty, relax.TensorType) else 0


def _sources(source: Any) -> list[_Source]:
    """The tensors behind an operand, those of tuples apart."""
    if source is None:
        return []
    if isinstance(source[0], Node):
        return [source] if isinstance(source[1].ty, relax.TensorType) else []
    return [one for item in source for one in _sources(item)]


def _flat(expr: Any) -> Sequence[Any]:
    if isinstance(expr, relax.Tuple):
        return [one for item in expr.fields for one in _flat(item)]
    return [expr]
