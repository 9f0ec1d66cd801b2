/* A Linux program without a C library, run here or under qemu-user: a few system calls.
 * Source: the Linux system call tables and calling conventions of arm64, Arm EABI, 32-bit RISC-V and
 * x86-64. */
#include "port.h"

#include <stdint.h>

#if defined(__aarch64__)
enum { OPENAT = 56, CLOSE = 57, LSEEK = 62, READ = 63, WRITE = 64, EXIT_GROUP = 94 };
enum { CLOCK_GETTIME = 113, MAP = 222, CHDIR = 49 };
#define NUMBER "x8"
#define RESULT "x0"
#define SECOND "x1"
#define THIRD "x2"
#define FOURTH "x3"
#define FIFTH "x4"
#define SIXTH "x5"
#elif defined(__x86_64__)
enum { OPENAT = 257, CLOSE = 3, LSEEK = 8, READ = 0, WRITE = 1, EXIT_GROUP = 231 };
enum { CLOCK_GETTIME = 228, MAP = 9, CHDIR = 80 };
#define FOURTH "r10"
#define FIFTH "r8"
#define SIXTH "r9"
#elif defined(__riscv)
/* There is no LSEEK: _llseek takes the offset in two registers, and clock_gettime has 64 bits. */
enum { OPENAT = 56, CLOSE = 57, LLSEEK = 62, READ = 63, WRITE = 64, EXIT_GROUP = 94 };
enum { CLOCK_GETTIME = 403, MAP = 222, CHDIR = 49 };
#define NUMBER "a7"
#define RESULT "a0"
#define SECOND "a1"
#define THIRD "a2"
#define FOURTH "a3"
#define FIFTH "a4"
#define SIXTH "a5"
#else
enum { OPENAT = 322, CLOSE = 6, LSEEK = 19, READ = 3, WRITE = 4, EXIT_GROUP = 248 };
enum { CLOCK_GETTIME = 263, MAP = 192, CHDIR = 12 };
#define NUMBER "r7"
#define RESULT "r0"
#define SECOND "r1"
#define THIRD "r2"
#define FOURTH "r3"
#define FIFTH "r4"
#define SIXTH "r5"
#endif
#if defined(__riscv)
#define SYSTEM_CALL "ecall"
#else
#define SYSTEM_CALL "svc #0"
#endif
enum { CURRENT_FOLDER = -100, READ_ONLY = 0, WRITE_CREATE_TRUNCATE = 01 | 0100 | 01000 };

int main(void);

static long call6(long number, long a, long b, long c, long d, long e, long f)
{
#if defined(__x86_64__)
    long result;
    register long r3 __asm__(FOURTH) = d;
    register long r4 __asm__(FIFTH) = e;
    register long r5 __asm__(SIXTH) = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r3), "r"(r4), "r"(r5)
                     : "rcx", "r11", "memory");
    return result;
#else
    register long in_number __asm__(NUMBER) = number;
    register long r0 __asm__(RESULT) = a;
    register long r1 __asm__(SECOND) = b;
    register long r2 __asm__(THIRD) = c;
    register long r3 __asm__(FOURTH) = d;
    register long r4 __asm__(FIFTH) = e;
    register long r5 __asm__(SIXTH) = f;
    __asm__ volatile(SYSTEM_CALL
                     : "+r"(r0)
                     : "r"(in_number), "r"(r1), "r"(r2), "r"(r3), "r"(r4), "r"(r5)
                     : "memory");
    return r0;
#endif
}

static long call(long number, long a, long b, long c, long d)
{
    return call6(number, a, b, c, d, 0, 0);
}

int port_open(const char *name, int for_writing)
{
    long flags = for_writing ? WRITE_CREATE_TRUNCATE : READ_ONLY;
    return (int)call(OPENAT, CURRENT_FOLDER, (long)name, flags, 0600);
}

int port_read(int handle, void *data, size_t bytes)
{
    unsigned char *to = data;
    while (bytes > 0) {
        long done = call(READ, handle, (long)to, (long)bytes, 0);
        if (done <= 0)
            return -1;
        to += done;
        bytes -= (size_t)done;
    }
    return 0;
}

int port_write(int handle, const void *data, size_t bytes)
{
    const unsigned char *from = data;
    while (bytes > 0) {
        long done = call(WRITE, handle, (long)from, (long)bytes, 0);
        if (done <= 0)
            return -1;
        from += done;
        bytes -= (size_t)done;
    }
    return 0;
}

int port_seek(int handle, size_t offset)
{
#if defined(__riscv)
    uint64_t reached = 0;
    long failed = call6(LLSEEK, handle, 0, (long)offset, (long)&reached, 0, 0);
    return failed == 0 && reached == offset ? 0 : -1;
#else
    return call(LSEEK, handle, (long)offset, 0, 0) == (long)offset ? 0 : -1;
#endif
}

void port_close(int handle)
{
    (void)call(CLOSE, handle, 0, 0, 0);
}

void port_say(const char *text)
{
    size_t bytes = 0;
    while (text[bytes] != 0)
        bytes++;
    (void)port_write(2, text, bytes);
}

uint32_t port_hash_flash(void)
{
    return 0; /* pages of code and constants are read-only already */
}

void port_trap_unaligned(void)
{
}

uint64_t port_now_ns(void)
{
    struct {
#if defined(__riscv)
        int64_t seconds, nanoseconds;
#else
        long seconds, nanoseconds;
#endif
    } now = {0, 0};
    enum { MONOTONIC = 1 };
    (void)call(CLOCK_GETTIME, MONOTONIC, (long)&now, 0, 0);
    return (uint64_t)now.seconds * 1000000000u + (uint64_t)now.nanoseconds;
}

int port_enter(const char *folder)
{
    return call(CHDIR, (long)folder, 0, 0, 0) == 0 ? 0 : -1;
}

void *port_map(size_t bytes)
{
    enum { READ_WRITE = 3, PRIVATE_ANONYMOUS = 0x22, LARGEST_ERROR = 4095 };
    long place = call6(MAP, 0, (long)bytes, READ_WRITE, PRIVATE_ANONYMOUS, -1, 0);
    return (unsigned long)place > (unsigned long)-LARGEST_ERROR - 1 ? NULL : (void *)place;
}

void port_exit(int status)
{
    for (;;)
        (void)call(EXIT_GROUP, status, 0, 0, 0);
}

__attribute__((used, noreturn)) static void start(void)
{
    port_exit(main());
}

/* The stack pointer is aligned to 16 at entry (all ABIs), and nothing is on the stack that we need. */
__attribute__((naked)) void _start(void)
{
#if defined(__x86_64__)
    __asm__ volatile("call start");
#elif defined(__riscv)
    __asm__ volatile("tail start");
#else
    __asm__ volatile("b start");
#endif
}
