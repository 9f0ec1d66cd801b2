/* A QEMU plugin that says how often each block of code ran, for which kernel, and how often it
 * left by a jump.
 *
 * Arguments: begin=ADDRESS,end=ADDRESS,entries=FILE,out=FILE. `entries` holds one address per line:
 * the first instruction of each kernel. Only what runs between `begin` and `end` counts, and only
 * the last such stretch is kept. Each line of `out` is
 *   kernel, address of the block, its bytes, times executed, times left for another place
 * where kernel is the line in `entries` of the one entered last, from 1, or 0 before any.
 * The functions of QEMU's plugin interface are declared here because distributions ship no header.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum { NO_REGISTERS = 0, MOST_KERNELS = 1024 };

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct qemu_plugin_tb *));
void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void *), void *);
void qemu_plugin_register_vcpu_tb_exec_cb(
    struct qemu_plugin_tb *, void (*)(unsigned int, void *), int, void *);
void qemu_plugin_register_vcpu_insn_exec_cb(
    struct qemu_plugin_insn *, void (*)(unsigned int, void *), int, void *);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *);

#ifndef FPC_PLUGIN_VERSION
#define FPC_PLUGIN_VERSION 1
#endif
#define EXPORT __attribute__((visibility("default")))

EXPORT int qemu_plugin_version = FPC_PLUGIN_VERSION;

typedef struct {
    uint64_t executed, jumped;
} tally;

typedef struct block {
    uint64_t start, end;
    size_t kernel; /* that starts here; 0 for none */
    tally *tallies;
    struct block *next;
} block;

static uint64_t begin_address, end_address, entries[MOST_KERNELS];
static size_t number_of_entries, current;
static block *blocks, *last;
static size_t last_kernel;
static int active;
static char out_file[4096];

static void on_block(unsigned int core, void *data)
{
    block *here = data;
    (void)core;
    if (!active)
        return;
    if (here->kernel != 0)
        current = here->kernel;
    if (last != NULL && last->end != here->start)
        last->tallies[last_kernel].jumped++;
    here->tallies[current].executed++;
    last = here;
    last_kernel = current;
}

static void on_begin(unsigned int core, void *unused)
{
    (void)core;
    (void)unused;
    for (block *each = blocks; each != NULL; each = each->next)
        memset(each->tallies, 0, (number_of_entries + 1) * sizeof *each->tallies);
    active = 1;
    current = 0;
    last = NULL;
}

static void on_end(unsigned int core, void *unused)
{
    (void)core;
    (void)unused;
    active = 0;
}

static void on_translate(plugin_id id, struct qemu_plugin_tb *translated)
{
    (void)id;
    size_t instructions = qemu_plugin_tb_n_insns(translated);
    struct qemu_plugin_insn *final = qemu_plugin_tb_get_insn(translated, instructions - 1);
    block *each = calloc(1, sizeof *each);
    if (each == NULL)
        abort();
    each->tallies = calloc(number_of_entries + 1, sizeof *each->tallies);
    if (each->tallies == NULL)
        abort();
    each->start = qemu_plugin_insn_vaddr(qemu_plugin_tb_get_insn(translated, 0));
    each->end = qemu_plugin_insn_vaddr(final) + qemu_plugin_insn_size(final);
    for (size_t i = 0; i < number_of_entries; i++)
        if (entries[i] == each->start)
            each->kernel = i + 1;
    each->next = blocks;
    blocks = each;
    qemu_plugin_register_vcpu_tb_exec_cb(translated, on_block, NO_REGISTERS, each);
    for (size_t i = 0; i < instructions; i++) {
        struct qemu_plugin_insn *one = qemu_plugin_tb_get_insn(translated, i);
        if (qemu_plugin_insn_vaddr(one) == begin_address)
            qemu_plugin_register_vcpu_insn_exec_cb(one, on_begin, NO_REGISTERS, NULL);
        if (qemu_plugin_insn_vaddr(one) == end_address)
            qemu_plugin_register_vcpu_insn_exec_cb(one, on_end, NO_REGISTERS, NULL);
    }
}

static void on_exit_of_qemu(plugin_id id, void *unused)
{
    (void)id;
    (void)unused;
    FILE *out = fopen(out_file, "w");
    if (out == NULL)
        return;
    for (block *each = blocks; each != NULL; each = each->next)
        for (size_t i = 0; i <= number_of_entries; i++)
            if (each->tallies[i].executed != 0)
                fprintf(out, "%zu %llu %llu %llu %llu\n", i, (unsigned long long)each->start,
                    (unsigned long long)(each->end - each->start),
                    (unsigned long long)each->tallies[i].executed,
                    (unsigned long long)each->tallies[i].jumped);
    fclose(out);
}

static int read_entries(const char *name)
{
    FILE *file = fopen(name, "r");
    unsigned long long address;
    if (file == NULL)
        return -1;
    while (number_of_entries < MOST_KERNELS && fscanf(file, "%llu", &address) == 1)
        entries[number_of_entries++] = address;
    fclose(file);
    return 0;
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
        else if (strncmp(argv[i], "entries=", 8) == 0 && read_entries(argv[i] + 8) != 0)
            return -1;
    }
    if (begin_address == 0 || end_address == 0 || out_file[0] == 0)
        return -1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
    qemu_plugin_register_atexit_cb(id, on_exit_of_qemu, NULL);
    return 0;
}
