/* The C face of the few FAISS calls that Sidereus makes. Mirrored by ffi.rs; change both together.
 *
 * Every function that can fail returns a status and never lets a C++ exception out. On a status other than
 * SIDEREUS_OK the message holds a zero-terminated reason and no output has been written whole.
 *
 * Matrices are row-major. All work is done by at most `threads` threads, each of which does its own matrix products.
 */
#ifndef SIDEREUS_INDEX_FAISS_SHIM_H
#define SIDEREUS_INDEX_FAISS_SHIM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { SIDEREUS_OK = 0, SIDEREUS_FAILED = 1, SIDEREUS_OUT_OF_MEMORY = 2 };
enum { SIDEREUS_L2 = 0, SIDEREUS_INNER_PRODUCT = 1 };

typedef struct {
    char text[512];
} SidereusMessage;

typedef struct {
    const float* values; /* rows x dimension */
    size_t rows;
    size_t dimension;
} SidereusMatrix;

/* What FAISS says of its own build, for example "OPTIMIZE AVX2 ". */
int sidereus_faiss_compile_options(char* text, size_t capacity, SidereusMessage* message);

/* Principal axes of a sample. `mean` takes dimension numbers, `axes` kept x dimension, orthonormal, strongest first. */
int sidereus_principal_axes(const SidereusMatrix* sample, size_t kept, int32_t threads, float* mean, float* axes,
                            SidereusMessage* message);

/* k-means. `centroids` takes lists x dimension numbers. */
int sidereus_train_centroids(const SidereusMatrix* sample, size_t lists, int32_t passes, int32_t seed, int32_t threads,
                             float* centroids, SidereusMessage* message);

/* The nearest `k` rows of `base` for each query, nearest first, by FAISS' own rounded distances; -1 fills up.
 * `rows` takes queries x k numbers. */
int sidereus_nearest(const SidereusMatrix* queries, const SidereusMatrix* base, int32_t metric, size_t k,
                     int32_t threads, int64_t* rows, SidereusMessage* message);

#ifdef __cplusplus
}
#endif

#endif
