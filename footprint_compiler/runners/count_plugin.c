/* A QEMU plugin that counts executed instructions between two addresses.
 *
 * Arguments: begin=ADDRESS,end=ADDRESS,out=FILE. Each time the instruction at `end` starts, the
 * number of instructions started since the one at `begin` is kept; FILE gets one per line.
 * The functions of QEMU's plugin interface are declared here because distributions ship no header;
 * those used are the same from version 1 (QEMU 4.2) to the present. Every instruction has its own
 * callback, so that the count does not depend on how QEMU splits code into blocks.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum { NO_REGISTERS = 0 };

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct qemu_plugin_tb *));
void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void *), void *);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *,
    void (*)(unsigned int, void *), int, void *);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);

#ifndef FPC_PLUGIN_VERSION
#define FPC_PLUGIN_VERSION 1
#endif
#define EXPORT __attribute__((visibility("default")))

EXPORT int qemu_plugin_version = FPC_PLUGIN_VERSION;

enum { MOST_COUNTS = 65536 };
static uint64_t begin_address, end_address, executed, started_at;
static uint64_t counts[MOST_COUNTS];
static size_t number_of_counts;
static char out_file[4096];

static void on_instruction(unsigned int core, void *unused)
{
    (void)core;
    (void)unused;
    executed++;
}

static void on_begin(unsigned int core, void *unused)
{
    (void)core;
    (void)unused;
    started_at = executed;
}

static void on_end(unsigned int core, void *unused)
{
    (void)core;
    (void)unused;
    if (number_of_counts < MOST_COUNTS)
        counts[number_of_counts++] = executed - started_at;
}

static void on_translate(plugin_id id, struct qemu_plugin_tb *block)
{
    (void)id;
    size_t instructions = qemu_plugin_tb_n_insns(block);
    for (size_t i = 0; i < instructions; i++) {
        struct qemu_plugin_insn *each = qemu_plugin_tb_get_insn(block, i);
        uint64_t address = qemu_plugin_insn_vaddr(each);
        qemu_plugin_register_vcpu_insn_exec_cb(each, on_instruction, NO_REGISTERS, NULL);
        if (address == begin_address)
            qemu_plugin_register_vcpu_insn_exec_cb(each, on_begin, NO_REGISTERS, NULL);
        if (address == end_address)
            qemu_plugin_register_vcpu_insn_exec_cb(each, on_end, NO_REGISTERS, NULL);
    }
}

static void on_exit_of_qemu(plugin_id id, void *unused)
{
    (void)id;
    (void)unused;
    FILE *out = fopen(out_file, "w");
    if (out == NULL)
        return;
    for (size_t i = 0; i < number_of_counts; i++)
        fprintf(out, "%llu\n", (unsigned long long)counts[i]);
    fclose(out);
}

EXPORT int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
    (void)info;
    for (int i = 0; i < argc; i++) {
        if (strncmp(argv[i], "begin=", 6) == 0)
            begin_address = strtoull(argv[i] + 6, NULL, 0);
        else if (strncmp(argv[i], "end=", 4) == 0)
            end_address = strtoull(argv[i] + 4, NULL, 0);
        else if (strncmp(argv[i], "out=", 4) == 0)
            snprintf(out_file, sizeof out_file, "%s", argv[i] + 4);
    }
    if (begin_address == 0 || end_address == 0 || out_file[0] == 0)
        return -1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
    qemu_plugin_register_atexit_cb(id, on_exit_of_qemu, NULL);
    return 0;
}
