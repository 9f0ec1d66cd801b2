/* What the measuring program needs on a board beside port_semihosting.c: memory that no one gives
 * back. There is no clock; time is not measured in an emulator. */
#include "port.h"

#define EXIT_NO_CLOCK 73
#define ALIGN 64u

static unsigned char heap[FPC_HEAP_BYTES] __attribute__((section(".bss.fpc_arena"), aligned(ALIGN)));
static size_t taken;

void *port_map(size_t bytes)
{
    size_t whole = (bytes + ALIGN - 1) / ALIGN * ALIGN;

    if (whole > sizeof heap - taken) {
        return NULL;
    }
    taken += whole;
    return heap + taken - whole;
}

uint64_t port_now_ns(void)
{
    port_say("no clock\n");
    port_exit(EXIT_NO_CLOCK);
}
