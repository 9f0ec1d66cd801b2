/* Runs one compiled model on files: the program that an emulator executes.
 *
 * Reads `in.bin`, runs the model the number of times that it asks for, writes `out.bin` (the
 * outputs, dense, in order) and `report.bin` (the struct below, which runners/protocol.py reads).
 * Arena and stack are painted before the first run and examined after the last; the second and
 * later runs find the arena as the run before left it, and must give the same outputs.
 */
#include "harness-model.h"
#include "port.h"

#include <stdint.h>

#define MAGIC 0x31435046u
#define GUARD_BYTES 256u
#define EXIT_IO 71

typedef struct {
    uint32_t magic;
    uint32_t runs;
    uint32_t trap_unaligned;
} request;

typedef struct {
    uint32_t magic;
    int32_t init_result;
    int32_t invoke_result;
    uint32_t arena_touched_bytes;
    uint32_t stack_used_bytes;
    uint32_t guards_below; /* most changed bytes in the guard before the arena, after any run */
    uint32_t guards_above;
    uint32_t stack_overflow; /* 1: the whole painted stack was used */
    uint32_t first_hash;     /* of the outputs of the first and of the last run */
    uint32_t last_hash;
    uint32_t flash_changed; /* 1: code or constants are not what they were */
} report;

static struct {
    unsigned char pad[(Model_ARENA_ALIGN - GUARD_BYTES % Model_ARENA_ALIGN) % Model_ARENA_ALIGN
        + GUARD_BYTES];
    unsigned char arena[Model_ARENA_BYTES + GUARD_BYTES];
} memory __attribute__((section(".bss.fpc_arena"), aligned(Model_ARENA_ALIGN)));

static unsigned char stack[Model_STACK_BLOCK]
    __attribute__((section(".bss.fpc_stack"), aligned(16)));

#if Model_EXTERN_WEIGHTS || Model_RAM_WEIGHTS
static unsigned char weights[Model_WEIGHTS_BYTES ? Model_WEIGHTS_BYTES : 1]
    __attribute__((section(".bss.fpc_weights"), aligned(Model_WEIGHTS_ALIGN)));
#endif

#if defined(Model_PAGER)
/* Pages come from a file, as from memory that code cannot address: nothing arrives before the wait.
 * The transfer has a stack of its own, so that the painted one shows the model's use alone. */
static unsigned char pages[Model_PAGE_BUFFER_BYTES]
    __attribute__((section(".bss.fpc_weights"), aligned(Model_WEIGHTS_ALIGN)));

static unsigned char transfer_stack[512] __attribute__((aligned(16)));

static struct {
    int file;
    unsigned char *to;
    uint32_t offset, bytes;
} asked_page;

static int transfer(void *unused)
{
    (void)unused;
    size_t place = (size_t)(asked_page.to - pages);
    if (place > sizeof pages || asked_page.bytes > sizeof pages - place)
        return 1;
    return port_seek(asked_page.file, asked_page.offset) != 0
        || port_read(asked_page.file, asked_page.to, asked_page.bytes) != 0;
}

static int load_page(void *user, void *to, uint32_t offset, uint32_t bytes)
{
    (void)user;
    asked_page.to = to;
    asked_page.offset = offset;
    asked_page.bytes = bytes;
    return 0;
}

static int wait_for_page(void *user)
{
    return call_on_stack(transfer, user, transfer_stack + sizeof transfer_stack);
}

static const Model_PAGER pager = {NULL, load_page, wait_for_page};
#endif

#if defined(Model_MORE_BLOCKS)
/* Arenas in other pools, each between two guards. */
static const struct {
    unsigned char *start;
    size_t bytes;
} more_blocks[] = {Model_MORE_BLOCKS};
#endif

static const size_t input_bytes[] = Model_INPUT_BYTES;
static const size_t output_bytes[] = Model_OUTPUT_BYTES;

/* The instruction counter watches these two addresses. */
__attribute__((noinline)) void fpc_count_begin(void)
{
    __asm__ volatile("nop" ::: "memory");
}

__attribute__((noinline)) void fpc_count_end(void)
{
    __asm__ volatile("nop" ::: "memory");
}

/* Depends on the place, so that no constant that a model writes looks like paint everywhere. */
static unsigned char paint_at(size_t i)
{
    uint32_t x = (uint32_t)i * 2654435761u;
    return (unsigned char)((x >> 24) ^ 0xA5u);
}

static void paint(unsigned char *block, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        block[i] = paint_at(i);
}

static uint32_t count_changed(const unsigned char *block, size_t first, size_t end)
{
    uint32_t changed = 0;
    for (size_t i = first; i < end; i++)
        changed += block[i] != paint_at(i);
    return changed;
}

static void need(int ok, const char *problem)
{
    if (ok)
        return;
    port_say(problem);
    port_exit(EXIT_IO);
}

/* All data pointers have one representation here, so that the cast below is safe to call. */
typedef int (*function)(void *);

__attribute__((noinline)) static int measured(function called, void *argument)
{
    fpc_count_begin();
    int result = call_on_stack(called, argument, stack + sizeof stack);
    fpc_count_end();
    return result;
}

static uint32_t hash_outputs(Model_CTX *ctx)
{
    uint32_t hash = 2166136261u;
    for (int i = 0; i < Model_NUM_OUTPUTS; i++) {
        const unsigned char *data = Model_OUTPUT(ctx, i);
        for (size_t j = 0; j < output_bytes[i]; j++)
            hash = (hash ^ data[j]) * 16777619u;
    }
    return hash;
}

static int start(Model_CTX *ctx)
{
#if Model_EXTERN_WEIGHTS
    int file = port_open("weights.bin", 0);
    need(file >= 0 && port_read(file, weights, Model_WEIGHTS_BYTES) == 0, "cannot read weights\n");
    port_close(file);
    return Model_INIT(
        ctx, memory.arena, Model_ARENA_BYTES Model_MORE_ARGUMENTS, weights, Model_WEIGHTS_BYTES);
#elif defined(Model_PAGER)
    asked_page.file = port_open("weights.bin", 0);
    need(asked_page.file >= 0, "cannot read weights\n");
    return Model_INIT(
        ctx, memory.arena, Model_ARENA_BYTES Model_MORE_ARGUMENTS, &pager, pages, sizeof pages);
#elif Model_RAM_WEIGHTS
    return Model_INIT(
        ctx, memory.arena, Model_ARENA_BYTES Model_MORE_ARGUMENTS, weights, sizeof weights);
#else
    return Model_INIT(ctx, memory.arena, Model_ARENA_BYTES Model_MORE_ARGUMENTS);
#endif
}

static void examine_guards(report *found)
{
    const unsigned char *block = (const unsigned char *)&memory;
    size_t arena = sizeof memory.pad;
    uint32_t below = count_changed(block, 0, arena);
    uint32_t above = count_changed(block, arena + Model_ARENA_BYTES, sizeof memory);
#if defined(Model_MORE_BLOCKS)
    for (size_t i = 0; i < sizeof more_blocks / sizeof more_blocks[0]; i++) {
        size_t bytes = more_blocks[i].bytes, end = Model_GUARD_BYTES + bytes;
        below += count_changed(more_blocks[i].start, 0, Model_GUARD_BYTES);
        above += count_changed(more_blocks[i].start, end, end + Model_GUARD_BYTES);
    }
#endif
    found->guards_below = below > found->guards_below ? below : found->guards_below;
    found->guards_above = above > found->guards_above ? above : found->guards_above;
}

static void run(Model_CTX *ctx, const request *asked, int file, report *found)
{
    for (uint32_t i = 0; i < asked->runs && found->invoke_result == 0; i++) {
        need(port_seek(file, sizeof *asked) == 0, "cannot seek in in.bin\n");
        for (int j = 0; j < Model_NUM_INPUTS; j++)
            need(port_read(file, Model_INPUT(ctx, j), input_bytes[j]) == 0, "in.bin is short\n");
        found->invoke_result = measured((function)Model_INVOKE, ctx);
        found->last_hash = hash_outputs(ctx);
        if (i == 0)
            found->first_hash = found->last_hash;
        examine_guards(found);
    }
}

static void examine(report *found)
{
    const unsigned char *block = (const unsigned char *)&memory;
    size_t arena = sizeof memory.pad, end = arena + Model_ARENA_BYTES;
    size_t last = end;
    while (last > arena && block[last - 1] == paint_at(last - 1))
        last--;
    found->arena_touched_bytes = (uint32_t)(last - arena);
    size_t lowest = 0;
    while (lowest < sizeof stack && stack[lowest] == paint_at(lowest))
        lowest++;
    found->stack_used_bytes = (uint32_t)(sizeof stack - lowest);
    found->stack_overflow = lowest < 16;
}

int main(void)
{
    request asked;
    report found = {MAGIC, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    Model_CTX ctx;
    int file = port_open("in.bin", 0);
    need(file >= 0 && port_read(file, &asked, sizeof asked) == 0, "cannot read in.bin\n");
    need(asked.magic == MAGIC, "in.bin is not a request\n");
    paint((unsigned char *)&memory, sizeof memory);
    paint(stack, sizeof stack);
#if defined(Model_MORE_BLOCKS)
    for (size_t i = 0; i < sizeof more_blocks / sizeof more_blocks[0]; i++)
        paint(more_blocks[i].start, more_blocks[i].bytes + 2 * Model_GUARD_BYTES);
#endif
    if (asked.trap_unaligned)
        port_trap_unaligned();
    uint32_t flash = port_hash_flash();
    found.init_result = start(&ctx);
    (void)measured(one_instruction, &ctx);
    if (found.init_result == 0)
        run(&ctx, &asked, file, &found);
    examine(&found);
    found.flash_changed = port_hash_flash() != flash;
    port_close(file);

    file = port_open("out.bin", 1);
    need(file >= 0, "cannot write out.bin\n");
    for (int i = 0; i < Model_NUM_OUTPUTS && found.init_result == 0; i++)
        need(port_write(file, Model_OUTPUT(&ctx, i), output_bytes[i]) == 0, "out.bin\n");
    port_close(file);
    file = port_open("report.bin", 1);
    need(file >= 0 && port_write(file, &found, sizeof found) == 0, "cannot write report.bin\n");
    port_close(file);
    return 0;
}
