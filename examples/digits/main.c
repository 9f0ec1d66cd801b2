/* Classify one handwritten digit with the library that `fpc build` made.
 *
 *   fpc build examples/digits/digits.onnx -o build/digits
 *   cc -Ibuild/digits examples/digits/main.c build/digits/libdigits.a -lm -o build/classify
 */
#include <stdio.h>
#include <string.h>

#include "digits.h"

/* All the RAM that the model needs, apart from DIGITS_STACK_BYTES of stack. */
static unsigned char arena[DIGITS_ARENA_BYTES] DIGITS_ARENA_ATTRIBUTES;

/* A seven, as drawn: 8x8 pixels from 0 (paper) to 16 (ink). */
static const unsigned char pixels[64] = {
    0,  0,  2, 13, 16,  9,  0,  0,
    0,  0, 12, 12,  7, 16,  3,  0,
    0,  1, 14,  3,  0, 16,  4,  0,
    0,  0,  0,  4, 10, 16,  6,  0,
    0,  0,  0, 13, 16, 16,  9,  0,
    0,  0,  0,  5, 13,  1,  0,  0,
    0,  0,  0, 11,  9,  0,  0,  0,
    0,  0,  1, 16,  4,  0,  0,  0,
};

int main(void) {
    digits_ctx model;
    int code = digits_init(&model, arena, sizeof arena);
    if (code != DIGITS_OK) {
        fprintf(stderr, "%s\n", digits_error(code));
        return 1;
    }

    float image[64];
    for (int i = 0; i < 64; i++) image[i] = pixels[i] / 16.0f;
    memcpy(digits_input(&model, 0), image, DIGITS_INPUT_0_BYTES);
    digits_invoke(&model);

    const float *probabilities = digits_output(&model, 0);
    int best = 0;
    for (int i = 1; i < 10; i++) {
        if (probabilities[i] > probabilities[best]) best = i;
    }
    printf("digit %d (probability %.3f)\n", best, probabilities[best]);
    return 0;
}
