/* What the harness needs from the machine below it: files, an exit, and a trap switch.
 * Implemented by port_linux.c (under qemu-user) and port_semihosting.c (on an emulated board). */
#ifndef FPC_PORT_H
#define FPC_PORT_H

#include <stddef.h>
#include <stdint.h>

/* Opens a file of the working directory; returns a handle, negative on failure. */
int port_open(const char *name, int for_writing);

/* Return 0 when exactly `bytes` were transferred. */
int port_read(int handle, void *data, size_t bytes);
int port_write(int handle, const void *data, size_t bytes);

/* Moves to `offset` bytes from the start; returns 0 on success. */
int port_seek(int handle, size_t offset);
void port_close(int handle);

/* One line for the person who reads the emulator's output. */
void port_say(const char *text);

/* From here on an unaligned access is a fault, where the core can do that. */
void port_trap_unaligned(void);

/* A hash of all code and constants, where they lie in memory that has to stay as it is; else 0. */
uint32_t port_hash_flash(void);

void port_exit(int status) __attribute__((noreturn));

/* In port_linux.c, and tuning/port_board.c: nanoseconds of a clock that never goes back, and zeroed
 * memory (NULL: there is none). */
uint64_t port_now_ns(void);
void *port_map(size_t bytes);

/* In port_linux.c only: another working directory (0: done). */
int port_enter(const char *folder);

/* call_on_stack.S: calls function(argument) with the stack pointer at `top`; returns its result. */
int call_on_stack(int (*function)(void *), void *argument, void *top);

/* call_on_stack.S: returns at once, in exactly one instruction. */
int one_instruction(void *unused);

#endif
