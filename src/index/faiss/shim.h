/* The C face of the few FAISS calls that Sidereus makes. Mirrored by ffi.rs; change both together.
 *
 * Every function that can fail returns a status and never lets a C++ exception out. On a status other than
 * SIDEREUS_OK the message holds a zero-terminated reason and no output parameter has been written.
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
enum { SIDEREUS_FLAT = 0, SIDEREUS_SQ8 = 1 };

typedef struct SidereusIvf SidereusIvf;
typedef struct SidereusBytes SidereusBytes;

typedef struct {
    char text[512];
} SidereusMessage;

typedef struct {
    size_t dimension;
    size_t lists;
    size_t rows;
    size_t code_bytes;
    int32_t metric;
    int32_t codes;
} SidereusShape;

typedef struct {
    const float* sample; /* sample_rows x dimension */
    size_t sample_rows;
    size_t dimension;
    size_t lists;
    int32_t metric;
    int32_t codes;
    int32_t passes;
    int32_t seed;
    int32_t threads;
} SidereusTraining;

typedef struct {
    const float* query;          /* dimension */
    const int64_t* lists;        /* list_count list numbers, nearest first; negative ones are passed over */
    const float* list_distances; /* list_count, as sidereus_ivf_rank gave them */
    size_t list_count;
    const uint8_t* allowed; /* one bit a row, least significant first; null allows every row */
    size_t allowed_bytes;
    size_t k;
} SidereusScan;

typedef struct {
    size_t rows_listed;   /* rows of the lists */
    size_t rows_compared; /* those of them that are allowed */
} SidereusScanCounts;

/* What FAISS says of its own build, for example "OPTIMIZE AVX2 ". */
int sidereus_faiss_compile_options(char* text, size_t capacity, SidereusMessage* message);

/* Trains the coarse centroids and the codes; the new index holds no row. */
int sidereus_ivf_train(const SidereusTraining* training, SidereusIvf** out, SidereusMessage* message);

/* Appends rows x dimension numbers; row numbers go on from the last. */
int sidereus_ivf_add(SidereusIvf* ivf, const float* vectors, size_t rows, int32_t threads,
                     SidereusMessage* message);

int sidereus_ivf_shape(const SidereusIvf* ivf, SidereusShape* out, SidereusMessage* message);

/* Ranks all lists by their centroid's nearness. Both outputs hold as many places as there are lists; a list that has no
 * finite distance is given as -1. Runs on the calling thread only. */
int sidereus_ivf_rank(const SidereusIvf* ivf, const float* query, int64_t* lists, float* distances,
                      SidereusMessage* message);

/* Finds the k nearest allowed rows of the given lists by their codes, nearest first; -1 fills up. The bitmap is read
 * during the call only. Runs on the calling thread only. */
int sidereus_ivf_scan(const SidereusIvf* ivf, const SidereusScan* scan, int64_t* rows, float* distances,
                      SidereusScanCounts* counts, SidereusMessage* message);

/* Lends the row numbers of one list; valid until the next change of the index. */
int sidereus_ivf_list(const SidereusIvf* ivf, size_t list, const int64_t** rows, size_t* count,
                      SidereusMessage* message);

/* Lends the centroids, lists x dimension; valid until the next change of the index. */
int sidereus_ivf_centroids(const SidereusIvf* ivf, const float** values, size_t* count, SidereusMessage* message);

int sidereus_ivf_write(const SidereusIvf* ivf, SidereusBytes** out, SidereusMessage* message);

/* Only for bytes whose checksum was verified. */
int sidereus_ivf_read(const uint8_t* bytes, size_t count, SidereusIvf** out, SidereusMessage* message);

void sidereus_ivf_free(SidereusIvf* ivf);

const uint8_t* sidereus_bytes_data(const SidereusBytes* bytes);
size_t sidereus_bytes_count(const SidereusBytes* bytes);
void sidereus_bytes_free(SidereusBytes* bytes);

#ifdef __cplusplus
}
#endif

#endif
