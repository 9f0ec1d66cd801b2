/* A QEMU plugin that finds loads and stores at addresses that are no multiple of their size.
 *
 * Argument: out=FILE. FILE gets one line: how many there were, and of the first the address of the
 * instruction, the address that it accessed, and the bytes. An emulator of Linux programs does such
 * accesses as the kernel would, where the core alone may fault.
 * The functions of QEMU's plugin interface are declared here because distributions ship no header.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef uint64_t plugin_id;
typedef uint32_t access;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum { NO_REGISTERS = 0, READ_AND_WRITE = 3 };

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct qemu_plugin_tb *));
void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void *), void *);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *,
    void (*)(unsigned int, access, uint64_t, void *), int, int, void *);
unsigned int qemu_plugin_mem_size_shift(access);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);

#ifndef FPC_PLUGIN_VERSION
#define FPC_PLUGIN_VERSION 1
#endif
#define EXPORT __attribute__((visibility("default")))

EXPORT int qemu_plugin_version = FPC_PLUGIN_VERSION;

static uint64_t number, first_instruction, first_address, first_bytes;
static char out_file[4096];

static void on_access(unsigned int core, access what, uint64_t address, void *instruction)
{
    uint64_t bytes = (uint64_t)1 << qemu_plugin_mem_size_shift(what);
    (void)core;
    if ((address & (bytes - 1)) == 0)
        return;
    if (number++ == 0) {
        first_instruction = (uint64_t)(uintptr_t)instruction;
        first_address = address;
        first_bytes = bytes;
    }
}

static void on_translate(plugin_id id, struct qemu_plugin_tb *block)
{
    (void)id;
    size_t instructions = qemu_plugin_tb_n_insns(block);
    for (size_t i = 0; i < instructions; i++) {
        struct qemu_plugin_insn *each = qemu_plugin_tb_get_insn(block, i);
        void *address = (void *)(uintptr_t)qemu_plugin_insn_vaddr(each);
        qemu_plugin_register_vcpu_mem_cb(each, on_access, NO_REGISTERS, READ_AND_WRITE, address);
    }
}

static void on_exit_of_qemu(plugin_id id, void *unused)
{
    (void)id;
    (void)unused;
    FILE *out = fopen(out_file, "w");
    if (out == NULL)
        return;
    fprintf(out, "%llu %llu %llu %llu\n", (unsigned long long)number,
        (unsigned long long)first_instruction, (unsigned long long)first_address,
        (unsigned long long)first_bytes);
    fclose(out);
}

EXPORT int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
    (void)info;
    for (int i = 0; i < argc; i++)
        if (strncmp(argv[i], "out=", 4) == 0)
            snprintf(out_file, sizeof out_file, "%s", argv[i] + 4);
    if (out_file[0] == 0)
        return -1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
    qemu_plugin_register_atexit_cb(id, on_exit_of_qemu, NULL);
    return 0;
}
