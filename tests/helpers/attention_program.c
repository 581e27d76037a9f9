/*
 * Attention of queries, keys and values (sequences, heads, tokens, 64) that follow each other on standard input; the
 * result goes to standard output. For processors that only an emulator can run: test_native.py compiles it.
 */
#include "../../endofm/kernels/_attention.c"

#include <stdio.h>

int main(int count, char **arguments) {
    if (count != 4) return 2;
    int64_t sequences = atoi(arguments[1]), heads = atoi(arguments[2]), tokens = atoi(arguments[3]);
    int64_t bytes = sequences * heads * tokens * HEAD_DIM * 4;
    char *memory = malloc((size_t)(4 * bytes));
    if (attention_lanes() != 4 || memory == NULL || fread(memory, 1, (size_t)(3 * bytes), stdin) != (size_t)(3 * bytes))
        return 1;
    attention_job job = {
        .queries = memory, .keys = memory + bytes, .values = memory + 2 * bytes, .out = memory + 3 * bytes,
        .heads = heads, .tokens = tokens,
        .sequence_stride = heads * tokens * HEAD_DIM * 4, .head_stride = tokens * HEAD_DIM * 4, .token_stride = HEAD_DIM * 4,
        .out_sequence_stride = heads * tokens * HEAD_DIM * 4, .out_head_stride = tokens * HEAD_DIM * 4,
        .out_token_stride = HEAD_DIM * 4,
    };
    attend_float32_4(0, sequences * heads, &job);
    return job.out_of_memory || fwrite(job.out, 1, (size_t)bytes, stdout) != (size_t)bytes;
}
