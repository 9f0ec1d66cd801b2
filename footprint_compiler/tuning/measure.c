/* The measuring program of one trial: two kernels with the same task, the default and a candidate.
 *
 * Reads `job.bin` (struct job, then for each kernel its arguments, then the bytes of the inputs of
 * the first, then of the second), runs each kernel once on painted outputs, and writes `out.bin`
 * (the outputs of the first, then of the second). Then it times the two in turn, or runs each once
 * more between the markers that an instruction counter watches, and writes `report.bin`.
 * tuning/protocol.py is the other side. Needs nothing but a kernel of Linux.
 */
#include "port.h"

#include <stdint.h>

#define MAGIC 0x314D5046u
#define MOST_ARGUMENTS 24
#define MOST_SAMPLES 4096
#define GUARD_BYTES 256u
#define ALIGN 64u
#define EXIT_IO 71
#define EXIT_GUARD 72

enum { INPUT, OUTPUT, SCRATCH };
enum { TIME, COUNT };

typedef struct {
    uint32_t magic, mode, samples, least_sample_ns, budget_us, arguments[2];
} job_header;

typedef struct {
    uint32_t bytes, role;
} argument;

typedef struct {
    uint32_t magic, samples;
    uint32_t calls[2]; /* per sample */
} report_header;

typedef void (*kernel)(void);

typedef struct {
    kernel function;
    uint32_t count;
    argument arguments[MOST_ARGUMENTS];
    void *data[MOST_ARGUMENTS];
} side;

void fpc_default(void);
void fpc_candidate(void);

static side sides[2] = {{fpc_default, 0, {{0, 0}}, {0}}, {fpc_candidate, 0, {{0, 0}}, {0}}};
static uint64_t times[2][MOST_SAMPLES];

__attribute__((noinline)) void fpc_count_begin(void)
{
    __asm__ volatile("nop" ::: "memory");
}

__attribute__((noinline)) void fpc_count_end(void)
{
    __asm__ volatile("nop" ::: "memory");
}

static void need(int ok, const char *problem, int status)
{
    if (ok)
        return;
    port_say(problem);
    port_exit(status);
}

#define P void *
#define A(n) d[n]
#define CALL(n, types, values) \
    case n: \
        ((void(*) types)s->function) values; \
        break;

/* A kernel takes only pointers; its exact type is made here. */
__attribute__((noinline)) static void invoke(const side *s)
{
    void *const *d = s->data;
    switch (s->count) {
        CALL(1, (P), (A(0)))
        CALL(2, (P, P), (A(0), A(1)))
        CALL(3, (P, P, P), (A(0), A(1), A(2)))
        CALL(4, (P, P, P, P), (A(0), A(1), A(2), A(3)))
        CALL(5, (P, P, P, P, P), (A(0), A(1), A(2), A(3), A(4)))
        CALL(6, (P, P, P, P, P, P), (A(0), A(1), A(2), A(3), A(4), A(5)))
        CALL(7, (P, P, P, P, P, P, P), (A(0), A(1), A(2), A(3), A(4), A(5), A(6)))
        CALL(8, (P, P, P, P, P, P, P, P), (A(0), A(1), A(2), A(3), A(4), A(5), A(6), A(7)))
        CALL(9, (P, P, P, P, P, P, P, P, P),
            (A(0), A(1), A(2), A(3), A(4), A(5), A(6), A(7), A(8)))
        CALL(10, (P, P, P, P, P, P, P, P, P, P),
            (A(0), A(1), A(2), A(3), A(4), A(5), A(6), A(7), A(8), A(9)))
        CALL(11, (P, P, P, P, P, P, P, P, P, P, P),
            (A(0), A(1), A(2), A(3), A(4), A(5), A(6), A(7), A(8), A(9), A(10)))
        CALL(12, (P, P, P, P, P, P, P, P, P, P, P, P),
            (A(0), A(1), A(2), A(3), A(4), A(5), A(6), A(7), A(8), A(9), A(10), A(11)))
    default:
        need(0, "too many arguments\n", EXIT_IO);
    }
}

static void *place(uint32_t bytes)
{
    size_t whole = (bytes + ALIGN - 1) / ALIGN * ALIGN + 2 * GUARD_BYTES;
    unsigned char *block = port_map(whole);
    need(block != NULL, "no memory\n", EXIT_IO);
    for (size_t i = 0; i < whole; i++)
        block[i] = 0xA5;
    return block + GUARD_BYTES;
}

static void check_guards(const side *s)
{
    for (uint32_t i = 0; i < s->count; i++) {
        const unsigned char *data = s->data[i];
        for (uint32_t j = 1; j <= GUARD_BYTES; j++)
            need(data[-(ptrdiff_t)j] == 0xA5 && data[s->arguments[i].bytes + j - 1] == 0xA5,
                "writes outside of its arguments\n", EXIT_GUARD);
    }
}

static uint64_t time_calls(const side *s, uint32_t calls)
{
    uint64_t start = port_now_ns();
    for (uint32_t i = 0; i < calls; i++)
        invoke(s);
    return port_now_ns() - start;
}

/* As many calls as last `least_ns`, found by doubling. */
static uint32_t calls_per_sample(const side *s, uint64_t least_ns)
{
    uint32_t calls = 1;
    while (calls < (1u << 24) && time_calls(s, calls) < least_ns)
        calls *= 2;
    return calls;
}

static uint32_t measure(const job_header *job, uint32_t calls[2])
{
    for (int k = 0; k < 2; k++)
        calls[k] = calls_per_sample(&sides[k], job->least_sample_ns);
    enum { LEAST_SAMPLES = 3 };
    uint64_t end = port_now_ns() + 1000ull * job->budget_us;
    uint32_t done = 0;
    while (done < job->samples && done < MOST_SAMPLES
        && (done < LEAST_SAMPLES || port_now_ns() < end)) {
        for (int k = 0; k < 2; k++)
            times[k][done] = time_calls(&sides[k], calls[k]);
        done++;
    }
    return done;
}

/* The plugin tells the kernels apart by their first instructions. */
__attribute__((noinline)) static void count(void)
{
    fpc_count_begin();
    for (int k = 0; k < 2; k++)
        invoke(&sides[k]);
    fpc_count_end();
}

static void read_job(job_header *job)
{
    int file = port_open("job.bin", 0);
    const char *problem = "cannot read job.bin\n";
    need(file >= 0 && port_read(file, job, sizeof *job) == 0, problem, EXIT_IO);
    need(job->magic == MAGIC, "job.bin is no job\n", EXIT_IO);
    for (int k = 0; k < 2; k++) {
        side *s = &sides[k];
        s->count = job->arguments[k];
        need(s->count <= MOST_ARGUMENTS, "too many arguments\n", EXIT_IO);
        need(port_read(file, s->arguments, s->count * sizeof(argument)) == 0, problem, EXIT_IO);
    }
    for (int k = 0; k < 2; k++) {
        side *s = &sides[k];
        for (uint32_t i = 0; i < s->count; i++) {
            s->data[i] = place(s->arguments[i].bytes);
            if (s->arguments[i].role == INPUT)
                need(port_read(file, s->data[i], s->arguments[i].bytes) == 0, problem, EXIT_IO);
        }
    }
    port_close(file);
}

static void write_outputs(void)
{
    int file = port_open("out.bin", 1);
    need(file >= 0, "cannot write out.bin\n", EXIT_IO);
    for (int k = 0; k < 2; k++)
        for (uint32_t i = 0; i < sides[k].count; i++)
            if (sides[k].arguments[i].role == OUTPUT)
                need(port_write(file, sides[k].data[i], sides[k].arguments[i].bytes) == 0,
                    "cannot write out.bin\n", EXIT_IO);
    port_close(file);
}

int main(void)
{
    job_header job;
    report_header report = {MAGIC, 0, {1, 1}};
    read_job(&job);
    for (int k = 0; k < 2; k++) {
        invoke(&sides[k]);
        check_guards(&sides[k]);
    }
    write_outputs();
    if (job.mode == COUNT)
        count();
    else
        report.samples = measure(&job, report.calls);
    int file = port_open("report.bin", 1);
    need(file >= 0 && port_write(file, &report, sizeof report) == 0, "report.bin\n", EXIT_IO);
    for (int k = 0; k < 2; k++)
        need(port_write(file, times[k], report.samples * sizeof(uint64_t)) == 0, "report.bin\n",
            EXIT_IO);
    port_close(file);
    return 0;
}
