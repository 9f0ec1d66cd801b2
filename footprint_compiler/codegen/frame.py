"""How deep one function pushes the stack, by following its instructions on every path.

At each instruction the analysis knows how far the stack pointer lies below its value at entry, and
which registers hold an address in the frame or a constant. Where paths meet the deeper value
counts. What it cannot follow (a stack pointer computed from data) is refused, never guessed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from footprint_compiler.codegen.frame_aarch64 import step_aarch64
from footprint_compiler.codegen.frame_arm import step_arm
from footprint_compiler.codegen.frame_riscv import step_riscv
from footprint_compiler.codegen.frame_state import Flow, State, Step, UnknownStackError
from footprint_compiler.codegen.frame_x86 import step_x86
from footprint_compiler.codegen.machine_code import UNKNOWN, Function, Instruction, Reference
from footprint_compiler.errors import CodegenError

_MOST_VISITS = 100


@dataclass(frozen=True)
class Call:
    """A call or a jump to another function, with the depth of the stack there.

    Attributes:
        depth: bytes, without a return address that the call itself pushes.
        target: a relocation's reference, or an address in the same section, or None where the
            target is in a register.
        pushes: False for a tail call.
    """

    depth: int
    target: Reference | int | None
    pushes: bool


@dataclass
class Frame:
    """The result.

    Attributes:
        depth: deepest byte of the function itself, below the stack pointer at entry.
        calls: every call on every path.
    """

    depth: int = 0
    calls: list[Call] = field(default_factory=list)


def analyse_frame(function: Function) -> Frame:
    """Follows ``function`` from its first instruction.

    Raises:
        CodegenError: the stack pointer gets a value that is not known at build time.
    """
    return _Walk(function).run()


class _Walk:
    """One walk over the control flow graph, to a fixed point."""

    def __init__(self, function: Function) -> None:
        self.function = function
        self.frame = Frame()
        self.states: dict[int, State] = {}
        self.visits: dict[int, int] = {}
        self.work: list[tuple[int, State]] = []
        self.jump_tables: State | None = None

    def run(self) -> Frame:
        self._follow(self.function.start, State())
        if self.jump_tables is not None and self.states.keys() >= self.function.instructions.keys():
            # Nothing in the function is left to jump to: a tail call through a pointer.
            self.frame.calls.append(Call(self.jump_tables.depth, None, pushes=False))
        while self.jump_tables is not None:
            # Code that only a jump table reaches: its depth is that of the jump.
            state, self.jump_tables = self.jump_tables, None
            rest = [address for address in self.function.instructions if address not in self.states]
            for address in rest:
                if address not in self.states:
                    self._follow(address, state)
        return self.frame

    def _follow(self, address: int, state: State) -> None:
        self.work.append((address, state))
        while self.work:
            position: int | None
            position, state = self.work.pop()
            while position is not None:
                known = self.states.get(position)
                state = state if known is None else _join(known, state)
                if state == known:
                    break
                self._count(position)
                self.states[position] = state
                position, state = self._step(position, state)

    def _step(self, address: int, state: State) -> tuple[int | None, State]:
        """The instruction that follows and the state there; other successors become work."""
        instruction = self.function.instructions.get(address)
        if instruction is None:
            # Data after a call that does not return, or the end of the function.
            return None, state
        step = self._effect(instruction, state)
        after = address + instruction.size
        self.frame.depth = max(self.frame.depth, step.state.depth, step.touched)
        if step.loop_end is not None:
            following = self.function.instructions.get(after)
            if following is not None and self._effect(following, state).flow is Flow.BRANCH:
                self.states[after] = step.state
                return after + following.size, step.state.at(step.loop_end)
        return self._control(instruction, step, after)

    def _control(
        self, instruction: Instruction, step: Step, after: int
    ) -> tuple[int | None, State]:
        state, flow, reference = step.state, step.flow, self._reference(instruction)
        address = self._address(reference, step.target)
        inside = address is not None and self.function.start <= address < self.function.end
        if flow is Flow.CALL and inside and address != self.function.start:
            # Thumb-1 has no other jump that reaches so far; nobody calls the middle of a function.
            flow = Flow.JUMP
        if flow is Flow.INDIRECT_JUMP and not (reference and reference.is_function):
            known = self.jump_tables
            self.jump_tables = state if known is None else _join(known, state)
        elif flow in (Flow.JUMP, Flow.BRANCH) and inside:
            self.work.append((address or 0, state))
        elif flow not in (Flow.NEXT, Flow.RETURN, Flow.MAYBE_RETURN):
            pushes = flow in (Flow.CALL, Flow.INDIRECT_CALL)
            goal = reference if address is None else address
            self.frame.calls.append(Call(state.depth, goal, pushes))
        ends = flow in (Flow.JUMP, Flow.RETURN, Flow.INDIRECT_JUMP)
        return (None if ends else after), state

    def _address(self, reference: Reference | None, target: int | None) -> int | None:
        """Where a direct jump or call goes in this function's section; None for elsewhere."""
        if reference is None or reference.section != self.function.section:
            return target if reference is None else None
        if reference.offset is None:
            # The addend is in the instruction, and the disassembler has added the address to it.
            return target
        if self.function.arch == "x86-64":
            # The addend counts from the end of the displacement.
            return reference.offset + 4
        return reference.offset & ~1 if self.function.arch in ("arm", "thumb") else reference.offset

    def _effect(self, instruction: Instruction, state: State) -> Step:
        if instruction.mnemonic == UNKNOWN:
            return Step(state)
        arch = self.function.arch
        try:
            if arch == "x86-64":
                return step_x86(instruction, state)
            if arch == "aarch64":
                return step_aarch64(instruction, state)
            if arch == "riscv32":
                return step_riscv(instruction, state)
            return step_arm(instruction, state, self.function.code, thumb=arch == "thumb")
        except UnknownStackError:
            text = f"{instruction.mnemonic} {instruction.operands}"
            raise CodegenError(
                f"the stack of {self.function.name} has no fixed size: {text}"
            ) from None

    def _reference(self, instruction: Instruction) -> Reference | None:
        references = self.function.references
        for address in range(instruction.address, instruction.address + instruction.size):
            if address in references:
                return references[address]
        return None

    def _count(self, address: int) -> None:
        self.visits[address] = self.visits.get(address, 0) + 1
        if self.visits[address] > _MOST_VISITS:
            raise CodegenError(f"the stack of {self.function.name} grows in a loop")


def _join(one: State, other: State) -> State:
    if one is other or one == other:
        return one
    common = {
        name: value for name, value in one.registers.items() if other.registers.get(name) == value
    }
    return State(max(one.depth, other.depth), common)
