/* Runs a function on a stack of its own, so that what it uses can be measured to the byte. */

#if defined(__aarch64__)

    .text
    .globl call_on_stack
    .type call_on_stack, %function
    .p2align 2
call_on_stack:
    stp x29, x30, [sp, #-32]!
    str x19, [sp, #16]
    mov x29, sp
    mov x19, sp
    mov x9, x0
    mov x0, x1
    mov sp, x2
    blr x9
    mov sp, x19
    ldr x19, [sp, #16]
    ldp x29, x30, [sp], #32
    ret
    .size call_on_stack, . - call_on_stack

    .globl one_instruction
    .type one_instruction, %function
    .p2align 2
one_instruction:
    ret
    .size one_instruction, . - one_instruction

#elif defined(__x86_64__)

    .text
    .globl call_on_stack
    .type call_on_stack, @function
    .p2align 4
call_on_stack:
    pushq %rbp
    movq %rsp, %rbp
    movq %rdi, %rax
    movq %rsi, %rdi
    movq %rdx, %rsp
    callq *%rax
    movq %rbp, %rsp
    popq %rbp
    ret
    .size call_on_stack, . - call_on_stack

    .globl one_instruction
    .type one_instruction, @function
    .p2align 4
one_instruction:
    ret
    .size one_instruction, . - one_instruction

#elif defined(__riscv)

    .text
    .globl call_on_stack
    .type call_on_stack, @function
    .p2align 2
call_on_stack:
    addi sp, sp, -16
    sw ra, 12(sp)
    sw s0, 8(sp)
    mv s0, sp
    mv a3, a0
    mv a0, a1
    mv sp, a2
    jalr a3
    mv sp, s0
    lw s0, 8(sp)
    lw ra, 12(sp)
    addi sp, sp, 16
    ret
    .size call_on_stack, . - call_on_stack

    .globl one_instruction
    .type one_instruction, @function
    .p2align 2
one_instruction:
    ret
    .size one_instruction, . - one_instruction

#else

    .syntax unified
#if defined(__thumb__)
    .thumb
#define FUNCTION(name) .globl name; .type name, %function; .p2align 2; .thumb_func
#else
    .arm
#define FUNCTION(name) .globl name; .type name, %function; .p2align 2
#endif

    .text
    FUNCTION(call_on_stack)
call_on_stack:
    push {r4, lr}
    mov r4, sp
    mov sp, r2
    mov r3, r0
    mov r0, r1
    blx r3
    mov sp, r4
    pop {r4, pc}
    .size call_on_stack, . - call_on_stack

    FUNCTION(one_instruction)
one_instruction:
    bx lr
    .size one_instruction, . - one_instruction

#endif

#if defined(__linux__)
    .section .note.GNU-stack, "", %progbits
#endif
