/* The measuring program as a function that TVM's RPC server can call: fpc_measure(folder) enters the
 * folder and runs `main` of measure.c there.
 *
 * Source of the types: the C interface of TVM's foreign function interface (tvm/ffi/c_api.h); a text
 * arrives as a pointer to characters, inside of the argument, or as a string object.
 */
#include "port.h"

#include <stdint.h>

enum { RAW_STRING = 8, SMALL_STRING = 11, STRING_OBJECT = 65 };

typedef struct {
    int32_t type;
    uint32_t small_length;
    union {
        int64_t integer;
        const char *text;
        const void *object;
        char small[8];
    } value;
} any;

typedef struct {
    uint64_t references;
    int32_t type;
    uint32_t padding;
    void (*deleter)(void *, int);
    const char *text;
    size_t length;
} string_object;

int main(void);

static const char *text_of(const any *argument)
{
    if (argument->type == RAW_STRING)
        return argument->value.text;
    if (argument->type == SMALL_STRING)
        return argument->value.small;
    if (argument->type == STRING_OBJECT)
        return ((const string_object *)argument->value.object)->text;
    return NULL;
}

__attribute__((visibility("default"))) int __tvm_ffi_fpc_measure(
    void *self, const any *arguments, int32_t count, any *result)
{
    (void)self;
    const char *folder = count == 1 ? text_of(&arguments[0]) : NULL;
    result->type = 1;
    result->small_length = 0;
    result->value.integer = folder != NULL && port_enter(folder) == 0 ? main() : -1;
    return 0;
}
