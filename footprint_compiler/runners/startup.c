/* Reset and faults of a Cortex-M: Armv6-M, Armv7-M and Armv8-M alike.
 * The emulator loads .data to its place, so that only .bss has to be prepared. */
#include "port.h"

#include <stdint.h>

extern uint32_t fpc_stack_top[], fpc_bss_start[], fpc_bss_end[];
int main(void);

#define COPROCESSOR_ACCESS (*(volatile uint32_t *)0xE000ED88u)
#define CONFIGURABLE_FAULT_STATUS (*(volatile uint32_t *)0xE000ED28u)
#define EXIT_FAULT 70

static void say_hex(const char *label, uint32_t value)
{
    char text[12] = {'0', 'x'};
    for (int i = 0; i < 8; i++)
        text[2 + i] = "0123456789abcdef"[(value >> (28 - 4 * i)) & 15u];
    text[10] = 0;
    port_say(label);
    port_say(text);
}

/* Stacked by the core, lowest address first: r0 r1 r2 r3 r12 lr pc xpsr. */
__attribute__((used)) static void report_fault(const uint32_t *frame, uint32_t exception)
{
    say_hex("fault: exception ", exception);
#if !defined(__ARM_ARCH_6M__)
    say_hex(", status ", CONFIGURABLE_FAULT_STATUS);
#endif
    say_hex(", at address ", frame[6]);
    port_say("\n");
    port_exit(EXIT_FAULT);
}

__attribute__((naked)) static void fault(void)
{
    __asm__ volatile("mov r0, sp\n"
                     "mrs r1, ipsr\n"
                     "bl report_fault\n");
}

__attribute__((noreturn)) void _start(void)
{
    for (uint32_t *word = fpc_bss_start; word < fpc_bss_end; word++)
        *(volatile uint32_t *)word = 0;
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
    COPROCESSOR_ACCESS |= 0xFu << 20;
    __asm__ volatile("dsb\nisb" ::: "memory");
#endif
    port_exit(main());
}

typedef void (*vector)(void);

__attribute__((section(".vectors"), used)) static const vector vectors[16] = {
    (vector)(uintptr_t)fpc_stack_top, (vector)_start, fault, fault, fault, fault, fault, fault,
    fault, fault, fault, fault, fault, fault, fault, fault};
