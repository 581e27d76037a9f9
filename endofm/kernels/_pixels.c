/*
 * Pixels of a coded picture as RGB: only those that a smaller picture is computed from.
 *
 * A decoder gives luma for every pixel and two chroma values for each 2 x 2 of them. A pixel is converted in fixed point
 * as libswscale converts it with vectors: each value times 8, less its offset, times a coefficient in units of 2^-13, of
 * which the upper 16 bits are added and limited to bytes. picking.py computes the coefficients and compares the
 * result with libswscale's before it is used.
 *
 * The file depends on nothing but a C compiler; it is loaded with ctypes.
 */
#include <stdint.h>

enum { AT_ONCE = 32 };

/* Arguments of a call, the same structure as in picking.py. */
typedef struct {
    const uint8_t *luma, *blue, *red; /* planes: rows of bytes; chroma has half as many rows and columns */
    int64_t luma_stride, blue_stride, red_stride;
    const int64_t *rows, *columns; /* of the pixels */
    float *out;                    /* rows x (red, green, blue) x columns, integers from 0 to 255 */
    int64_t row_count, column_count;
    int64_t offset, gain, to_red, to_blue, green_of_red, green_of_blue;
} pick_job;

/* The upper half of a product of 16 bits each. */
static inline int16_t upper(int16_t a, int16_t b) { return (int16_t)(((int32_t)a * b) >> 16); }

static inline int16_t limited(int16_t value) {
    value = value < 0 ? 0 : value;
    return value > 255 ? 255 : value;
}

void pick_pixels(const pick_job *job) {
    const int16_t offset = (int16_t)job->offset, gain = (int16_t)job->gain;
    const int16_t to_red = (int16_t)job->to_red, to_blue = (int16_t)job->to_blue;
    const int16_t green_of_red = (int16_t)job->green_of_red, green_of_blue = (int16_t)job->green_of_blue;
    for (int64_t i = 0; i < job->row_count; i++) {
        const uint8_t *luma = job->luma + job->rows[i] * job->luma_stride;
        const uint8_t *blue = job->blue + job->rows[i] / 2 * job->blue_stride;
        const uint8_t *red = job->red + job->rows[i] / 2 * job->red_stride;
        for (int64_t start = 0; start < job->column_count; start += AT_ONCE) {
            const int64_t left = job->column_count - start;
            const int count = left < AT_ONCE ? (int)left : AT_ONCE;
            const int64_t *columns = job->columns + start;
            int16_t y[AT_ONCE] = {0}, u[AT_ONCE] = {0}, v[AT_ONCE] = {0};
            for (int k = 0; k < count; k++) {
                const uint64_t column = (uint64_t)columns[k];
                y[k] = luma[column], u[k] = blue[column / 2], v[k] = red[column / 2];
            }
            float *restrict r = job->out + i * 3 * job->column_count + start;
            float *restrict g = r + job->column_count, *restrict b = g + job->column_count;
            for (int k = 0; k < AT_ONCE; k++) {
                const int16_t grey = upper((int16_t)(y[k] * 8 - offset), gain);
                const int16_t cb = (int16_t)(u[k] * 8 - 1024), cr = (int16_t)(v[k] * 8 - 1024);
                y[k] = limited((int16_t)(grey + upper(cr, to_red)));
                u[k] = limited((int16_t)(grey + upper(cb, green_of_blue) + upper(cr, green_of_red)));
                v[k] = limited((int16_t)(grey + upper(cb, to_blue)));
            }
            for (int k = 0; k < count; k++) r[k] = y[k];
            for (int k = 0; k < count; k++) g[k] = u[k];
            for (int k = 0; k < count; k++) b[k] = v[k];
        }
    }
}
