/* The search of niche_search.py, statement for statement: same nodes in the same order, same result.
 * See there for what it does and why it is complete. All numbers are in units of the instance. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const int32_t *first, *end, *size, *align, *limit; /* per buffer */
    int32_t capacity, rule;
    int64_t nodes, max_nodes;
    int32_t *floor, *top, *slack, *options, *raised, *failures; /* per section */
    int32_t *offset, *lowest, *carried;                /* per buffer */
    int32_t *pool;                                     /* stack of lists */
    int64_t pool_at;
    int32_t *trail; /* stack of (section, floor, top) */
    int64_t trail_at, trail_size;
    int out_of_memory;
} search_t;

enum { FAILED = 0, SOLVED = 1, STOPPED = -1 };

static int solve_parts(search_t *s, const int32_t *list, int32_t count);

static int32_t round_up(int32_t value, int32_t align) {
    return align == 1 ? value : (value + align - 1) / align * align;
}

static void raise_section(search_t *s, int32_t section, int32_t floor, int32_t top) {
    if (s->trail_at + 3 > s->trail_size) {
        int64_t size = s->trail_size * 2;
        int32_t *bigger = realloc(s->trail, (size_t)size * sizeof *bigger);
        if (!bigger) {
            s->out_of_memory = 1;
            s->max_nodes = 0;
            return;
        }
        s->trail = bigger;
        s->trail_size = size;
    }
    int32_t *entry = s->trail + s->trail_at;
    entry[0] = section;
    entry[1] = s->floor[section];
    entry[2] = s->top[section];
    s->trail_at += 3;
    s->floor[section] = floor;
    s->top[section] = top;
}

static void undo(search_t *s, int64_t mark) {
    while (s->trail_at > mark) {
        s->trail_at -= 3;
        const int32_t *entry = s->trail + s->trail_at;
        s->floor[entry[0]] = entry[1];
        s->top[entry[0]] = entry[2];
    }
}

static int32_t last_end(const search_t *s, const int32_t *list, int32_t count) {
    int32_t end = 0;
    for (int32_t k = 0; k < count; k++)
        if (s->end[list[k]] > end) end = s->end[list[k]];
    return end;
}

static int may_fit(search_t *s, const int32_t *list, int32_t *by_offset, int32_t count) {
    int32_t *slack = s->slack;
    for (int32_t k = 0; k < count; k++) {
        int32_t j = list[k], high = 0, low = INT32_MAX, real = 0;
        for (int32_t q = s->first[j]; q < s->end[j]; q++) {
            if (s->floor[q] > high) high = s->floor[q];
            if (s->floor[q] < low) low = s->floor[q];
            if (s->top[q] > real) real = s->top[q];
        }
        if (round_up(real, s->align[j]) + s->size[j] <= low) return 0;
        s->lowest[j] = round_up(high, s->align[j]);
        s->carried[j] = round_up(real, s->align[j]) == s->lowest[j];
        if (s->lowest[j] > s->limit[j]) {
            s->failures[s->first[j]]++;
            return 0;
        }
    }
    for (int32_t k = 0; k < count; k++) {
        int32_t j = by_offset[k], value = s->lowest[j], at = k;
        for (; at > 0 && s->lowest[by_offset[at - 1]] < value; at--) by_offset[at] = by_offset[at - 1];
        by_offset[at] = j;
    }
    int32_t end = last_end(s, list, count);
    for (int32_t q = s->first[list[0]]; q < end; q++) slack[q] = s->capacity;
    for (int32_t k = 0; k < count; k++) {
        int32_t j = by_offset[k], value = s->lowest[j], size = s->size[j], sign = 0;
        for (int32_t q = s->first[j]; q < s->end[j]; q++) {
            slack[q] -= size;
            sign |= slack[q] - value;
        }
        if (sign < 0) {
            for (int32_t q = s->first[j]; q < s->end[j]; q++)
                if (slack[q] < value) s->failures[q]++;
            return 0;
        }
    }
    return 1;
}

typedef struct {
    int32_t section, start, stop, raised;
} choice_t;

static choice_t choose_section(search_t *s, const int32_t *list, int32_t count) {
    choice_t best = {-1, 0, 0, -1};
    int64_t best_key = INT64_MAX;
    int32_t begin = s->first[list[0]], end = last_end(s, list, count);
    for (int32_t start = begin, stop; start < end; start = stop) {
        int32_t floor = s->floor[start], smallest = INT32_MAX;
        for (stop = start + 1; stop < end && s->floor[stop] == floor; stop++) continue;
        int32_t left = start > begin ? s->floor[start - 1] : INT32_MAX;
        int32_t right = stop < end ? s->floor[stop] : INT32_MAX;
        if (left < floor || right < floor) continue;
        for (int32_t k = 0; k < count && s->first[list[k]] < stop; k++) {
            int32_t j = list[k];
            if (s->first[j] >= start && s->end[j] <= stop && s->size[j] < smallest)
                smallest = s->size[j];
        }
        int32_t rest = left < right ? left : right;
        if (smallest != INT32_MAX && floor + smallest < rest) rest = floor + smallest;
        for (int32_t q = start; q < stop; q++) {
            s->options[q] = 0;
            s->raised[q] = INT32_MAX;
        }
        for (int32_t k = 0; k < count && s->first[list[k]] < stop; k++) {
            int32_t j = list[k], first = s->first[j], last = s->end[j], at = s->lowest[j];
            if (last <= start) continue;
            if (first >= start && last <= stop) {
                at = round_up(rest, s->align[j]);
                for (int32_t q = first; s->carried[j] && q < last; q++) s->options[q]++;
            }
            for (int32_t q = first > start ? first : start; q < last && q < stop; q++)
                if (at < s->raised[q]) s->raised[q] = at;
        }
        for (int32_t q = start; q < stop; q++) {
            int leave = s->slack[q] >= s->raised[q];
            int64_t options = s->options[q] + leave, key = options << 40;
            if (s->rule == 0) key += floor;
            if (s->rule == 1) key /= 1 + s->failures[q];
            if (s->rule == 2) key += s->slack[q] - floor;
            if (key < best_key) {
                best_key = key;
                best = (choice_t){q, start, stop, leave ? s->raised[q] : -1};
            }
        }
    }
    return best;
}

static int is_twin(const search_t *s, const int32_t *candidates, int32_t at) {
    int32_t j = candidates[at];
    for (int32_t k = 0; k < at; k++) {
        int32_t i = candidates[k];
        if (s->first[i] == s->first[j] && s->end[i] == s->end[j] && s->size[i] == s->size[j] &&
            s->align[i] == s->align[j] && s->limit[i] == s->limit[j])
            return 1;
    }
    return 0;
}

static int solve_component(search_t *s, const int32_t *list, int32_t count) {
    if (count == 1) {
        int32_t j = list[0], at = 0;
        for (int32_t q = s->first[j]; q < s->end[j]; q++)
            if (s->top[q] > at) at = s->top[q];
        s->offset[j] = round_up(at, s->align[j]);
        return s->offset[j] <= s->limit[j] ? SOLVED : FAILED;
    }
    int64_t pool_mark = s->pool_at, trail_mark = s->trail_at;
    int32_t *by_offset = s->pool + s->pool_at, *candidates = by_offset + count;
    int32_t *rest = candidates + count;
    s->pool_at += 3 * (int64_t)count;
    memcpy(by_offset, list, (size_t)count * sizeof *list);
    while (may_fit(s, list, by_offset, count)) {
        choice_t choice = choose_section(s, list, count);
        int32_t q = choice.section, found = 0;
        for (int32_t k = 0; k < count && s->first[list[k]] <= q; k++) {
            int32_t j = list[k], at;
            if (s->first[j] < choice.start || s->end[j] > choice.stop || s->end[j] <= q) continue;
            if (!s->carried[j]) continue;
            for (at = found++; at > 0 && candidates[at - 1] > j; at--)
                candidates[at] = candidates[at - 1];
            candidates[at] = j;
        }
        int64_t mark = s->trail_at;
        for (int32_t c = 0; c < found; c++) {
            int32_t j = candidates[c], left = 0;
            if (is_twin(s, candidates, c)) continue;
            if (s->nodes >= s->max_nodes) return STOPPED;
            s->nodes++;
            s->offset[j] = round_up(s->floor[q], s->align[j]);
            int32_t top = s->offset[j] + s->size[j];
            for (int32_t x = s->first[j]; x < s->end[j]; x++) raise_section(s, x, top, top);
            for (int32_t k = 0; k < count; k++)
                if (list[k] != j) rest[left++] = list[k];
            int result = solve_parts(s, rest, left);
            if (result != FAILED) return result;
            undo(s, mark);
        }
        if (choice.raised < 0) break;
        if (s->nodes >= s->max_nodes) return STOPPED;
        s->nodes++;
        raise_section(s, q, choice.raised, s->top[q]);
    }
    undo(s, trail_mark);
    s->pool_at = pool_mark;
    return FAILED;
}

/* Buffers in order of their first section; components of those that share sections, small first. */
static int solve_parts(search_t *s, const int32_t *list, int32_t count) {
    if (count == 0) return SOLVED;
    int64_t mark = s->pool_at;
    int32_t *starts = s->pool + mark, *counts = starts + count, *order = counts + count;
    int32_t parts = 0, start = 0, end = s->end[list[0]];
    for (int32_t at = 1; at <= count; at++) {
        if (at == count || s->first[list[at]] >= end) {
            starts[parts] = start;
            counts[parts++] = at - start;
            start = at;
        }
        if (at < count && s->end[list[at]] > end) end = s->end[list[at]];
    }
    for (int32_t k = 0; parts > 1 && k < parts; k++) {
        memcpy(order, list + starts[k], (size_t)counts[k] * sizeof *list);
        if (!may_fit(s, list + starts[k], order, counts[k])) return FAILED;
    }
    for (int32_t k = 1; k < parts; k++) {
        int32_t a = starts[k], b = counts[k], at = k;
        for (; at > 0 && counts[at - 1] > b; at--) {
            starts[at] = starts[at - 1];
            counts[at] = counts[at - 1];
        }
        starts[at] = a;
        counts[at] = b;
    }
    int result = SOLVED;
    for (int32_t k = 0; result == SOLVED && k < parts; k++) {
        s->pool_at = mark + 2 * (int64_t)count;
        result = solve_component(s, list + starts[k], counts[k]);
    }
    s->pool_at = mark;
    return result;
}

/* 1 solved, 0 there is no solution, -1 stopped by max_nodes, -2 out of memory. */
int32_t fpc_niche_search(int32_t count, int32_t sections, int32_t capacity, int32_t rule,
                         const int32_t *first, const int32_t *end, const int32_t *size,
                         const int32_t *align, const int32_t *limit, const int32_t *by_first,
                         int32_t *offset, int64_t max_nodes, int64_t *nodes) {
    search_t s = {first, end, size, align, limit, capacity, rule, 0, max_nodes};
    int64_t lists = (int64_t)count * (count + 1) * 3 + 64;
    int32_t *numbers = calloc((size_t)sections * 6 + (size_t)count * 2, sizeof *numbers);
    s.pool = malloc((size_t)lists * sizeof *s.pool);
    s.trail_size = 4096;
    s.trail = malloc((size_t)s.trail_size * sizeof *s.trail);
    s.offset = offset;
    int32_t result = -2;
    if (numbers && s.pool && s.trail) {
        s.floor = numbers;
        s.top = s.floor + sections;
        s.slack = s.top + sections;
        s.options = s.slack + sections;
        s.raised = s.options + sections;
        s.failures = s.raised + sections;
        s.lowest = s.failures + sections;
        s.carried = s.lowest + count;
        result = solve_parts(&s, by_first, count);
        if (s.out_of_memory) result = -2;
    }
    *nodes = s.nodes;
    free(numbers);
    free(s.pool);
    free(s.trail);
    return result;
}
