/* The harness on an emulated Cortex-M board: files and exit through Arm semihosting calls.
 * Source: Semihosting for AArch32 and AArch64, Arm (operations 0x01 to 0x20). */
#include "port.h"

#include <stdint.h>

enum {
    SYS_OPEN = 0x01,
    SYS_CLOSE = 0x02,
    SYS_WRITE0 = 0x04,
    SYS_WRITE = 0x05,
    SYS_READ = 0x06,
    SYS_SEEK = 0x0A,
    SYS_EXIT_EXTENDED = 0x20
};
enum { OPEN_READ_BINARY = 1, OPEN_WRITE_BINARY = 5, STOPPED_APPLICATION_EXIT = 0x20026 };

#define CONFIGURATION_CONTROL (*(volatile uint32_t *)0xE000ED14u)
#define UNALIGN_TRP (1u << 3)

static int32_t semihost(uint32_t operation, const void *arguments)
{
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = arguments;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory", "cc");
    return (int32_t)r0;
}

int port_open(const char *name, int for_writing)
{
    uint32_t length = 0;
    while (name[length] != 0)
        length++;
    uint32_t arguments[3] = {(uint32_t)name, for_writing ? OPEN_WRITE_BINARY : OPEN_READ_BINARY,
        length};
    return semihost(SYS_OPEN, arguments);
}

int port_read(int handle, void *data, size_t bytes)
{
    uint32_t arguments[3] = {(uint32_t)handle, (uint32_t)data, bytes};
    return bytes == 0 || semihost(SYS_READ, arguments) == 0 ? 0 : -1;
}

int port_write(int handle, const void *data, size_t bytes)
{
    uint32_t arguments[3] = {(uint32_t)handle, (uint32_t)data, bytes};
    return bytes == 0 || semihost(SYS_WRITE, arguments) == 0 ? 0 : -1;
}

int port_seek(int handle, size_t offset)
{
    uint32_t arguments[2] = {(uint32_t)handle, offset};
    return semihost(SYS_SEEK, arguments) == 0 ? 0 : -1;
}

void port_close(int handle)
{
    uint32_t arguments[1] = {(uint32_t)handle};
    (void)semihost(SYS_CLOSE, arguments);
}

void port_say(const char *text)
{
    (void)semihost(SYS_WRITE0, text);
}

void port_trap_unaligned(void)
{
    CONFIGURATION_CONTROL |= UNALIGN_TRP;
}

extern const uint32_t fpc_text_start[], fpc_text_end[], fpc_rodata_start[], fpc_rodata_end[];

uint32_t port_hash_flash(void)
{
    uint32_t hash = 2166136261u;
    for (const uint32_t *word = fpc_text_start; word < fpc_text_end; word++)
        hash = (hash ^ *word) * 16777619u;
    for (const uint32_t *word = fpc_rodata_start; word < fpc_rodata_end; word++)
        hash = (hash ^ *word) * 16777619u;
    return hash;
}

void port_exit(int status)
{
    uint32_t arguments[2] = {STOPPED_APPLICATION_EXIT, (uint32_t)status};
    for (;;)
        (void)semihost(SYS_EXIT_EXTENDED, arguments);
}
