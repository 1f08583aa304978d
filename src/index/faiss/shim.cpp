#include "shim.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include <faiss/Clustering.h>
#include <faiss/IndexFlat.h>
#include <faiss/VectorTransform.h>
#include <faiss/utils/Heap.h>
#include <faiss/utils/distances.h>
#include <faiss/utils/utils.h>

// From libgomp, which FAISS links; declared here so that no OpenMP header is needed.
extern "C" void omp_set_num_threads(int);
extern "C" int omp_get_max_threads(void);

namespace {

void set_message(SidereusMessage* message, const char* reason) noexcept {
    std::strncpy(message->text, reason, sizeof(message->text) - 1);
    message->text[sizeof(message->text) - 1] = '\0';
}

// The only way from Rust into FAISS: no exception passes.
template <typename Body>
int guarded(SidereusMessage* message, Body&& body) noexcept {
    try {
        body();
        return SIDEREUS_OK;
    } catch (const std::bad_alloc&) {
        set_message(message, "not enough memory");
        return SIDEREUS_OUT_OF_MEMORY;
    } catch (const std::exception& error) {
        set_message(message, error.what());
        return SIDEREUS_FAILED;
    } catch (...) {
        set_message(message, "unknown C++ exception");
        return SIDEREUS_FAILED;
    }
}

void require(bool holds, const char* reason) {
    if (!holds) {
        throw std::invalid_argument(reason);
    }
}

// Gives OpenMP (per calling thread) a number of threads and OpenBLAS (per process, so callers take turns) one, and takes
// it back. OpenBLAS has workers of its own that would not inherit the priority of the caller, so it gets none of them: the
// products are divided among the OpenMP threads instead. Another BLAS than OpenBLAS keeps its own setting.
class ThreadCount {
public:
    explicit ThreadCount(int threads)
            : omp_before_(omp_get_max_threads()),
              blas_set_(reinterpret_cast<Set>(dlsym(RTLD_DEFAULT, "openblas_set_num_threads"))),
              blas_get_(reinterpret_cast<Get>(dlsym(RTLD_DEFAULT, "openblas_get_num_threads"))) {
        omp_set_num_threads(std::max(1, threads));
        // Where it is one, to set it would begin the workers that the program has ended.
        if (blas_set_ != nullptr && blas_get_ != nullptr && blas_get_() != 1) {
            blas_before_ = blas_get_();
            blas_set_(1);
        }
    }

    ~ThreadCount() {
        omp_set_num_threads(omp_before_);
        if (blas_before_ > 0) {
            blas_set_(blas_before_);
        }
    }

    ThreadCount(const ThreadCount&) = delete;
    ThreadCount& operator=(const ThreadCount&) = delete;

private:
    using Set = void (*)(int);
    using Get = int (*)();

    int omp_before_;
    Set blas_set_;
    Get blas_get_;
    int blas_before_ = 0;
};

// Queries for each thread up to which all of them are one share.
constexpr faiss::idx_t QUERIES_EVENLY = 256;

// Queries of one share of the work: enough for a matrix product, few enough that every thread gets some.
faiss::idx_t share_of(faiss::idx_t queries) {
    const faiss::idx_t even = queries / (4 * omp_get_max_threads());
    return std::clamp<faiss::idx_t>(even, 32, 2048);
}

// An exact index that divides the queries of a search among the OpenMP threads.
class SharedFlat : public faiss::IndexFlat {
public:
    SharedFlat(faiss::idx_t dimension, faiss::MetricType metric) : faiss::IndexFlat(dimension, metric) {}

    void search(faiss::idx_t count, const float* queries, faiss::idx_t k, float* distances, faiss::idx_t* labels,
                const faiss::SearchParameters* parameters = nullptr) const override {
        const faiss::idx_t width = share_of(count);
        const faiss::idx_t shares = (count + width - 1) / width;
        std::vector<std::string> failures(shares);
#pragma omp parallel for schedule(dynamic)
        for (faiss::idx_t share = 0; share < shares; share++) {
            const faiss::idx_t start = share * width;
            const faiss::idx_t rows = std::min(width, count - start);
            try {
                faiss::IndexFlat::search(
                        rows, queries + start * d, k, distances + start * k, labels + start * k, parameters);
            } catch (const std::exception& error) {
                failures[share] = error.what();
            }
        }
        for (const std::string& failure : failures) {
            if (!failure.empty()) {
                throw std::runtime_error(failure);
            }
        }
    }
};

faiss::MetricType metric_of(int32_t metric) {
    switch (metric) {
        case SIDEREUS_L2:
            return faiss::METRIC_L2;
        case SIDEREUS_INNER_PRODUCT:
            return faiss::METRIC_INNER_PRODUCT;
        default:
            throw std::invalid_argument("unknown metric");
    }
}

} // namespace

extern "C" {

int sidereus_faiss_compile_options(char* text, size_t capacity, SidereusMessage* message) {
    return guarded(message, [&] {
        const std::string options = faiss::get_compile_options();
        require(options.size() < capacity, "the compile options do not fit");
        std::memcpy(text, options.c_str(), options.size() + 1);
    });
}

int sidereus_principal_axes(const SidereusMatrix* sample, size_t kept, int32_t threads, float* mean, float* axes,
                            SidereusMessage* message) {
    return guarded(message, [&] {
        require(kept > 0 && kept <= sample->dimension, "more axes than dimensions");
        require(sample->rows >= sample->dimension, "fewer vectors than dimensions");
        const ThreadCount count(threads);
        faiss::PCAMatrix transform(sample->dimension, kept);
        transform.train(sample->rows, sample->values);
        require(transform.mean.size() == sample->dimension, "the mean has another length");
        require(transform.A.size() == kept * sample->dimension, "the axes have another shape");
        std::copy(transform.mean.begin(), transform.mean.end(), mean);
        std::copy(transform.A.begin(), transform.A.end(), axes);
    });
}

int sidereus_train_centroids(const SidereusMatrix* sample, size_t lists, int32_t passes, int32_t seed, int32_t threads,
                             float* centroids, SidereusMessage* message) {
    return guarded(message, [&] {
        require(lists > 0 && sample->rows >= lists, "fewer vectors than lists");
        const ThreadCount count(threads);
        faiss::ClusteringParameters parameters;
        parameters.niter = passes;
        parameters.seed = seed;
        // The caller has drawn the sample already.
        parameters.max_points_per_centroid = 1 << 24;
        parameters.min_points_per_centroid = 1;
        faiss::Clustering clustering(sample->dimension, lists, parameters);
        SharedFlat assigner(sample->dimension, faiss::METRIC_L2);
        clustering.train(sample->rows, sample->values, assigner);
        require(clustering.centroids.size() == lists * sample->dimension, "the centroids have another shape");
        std::copy(clustering.centroids.begin(), clustering.centroids.end(), centroids);
    });
}

int sidereus_nearest(const SidereusMatrix* queries, const SidereusMatrix* base, int32_t metric, size_t k,
                     int32_t threads, int64_t* rows, SidereusMessage* message) {
    return guarded(message, [&] {
        require(queries->dimension == base->dimension, "queries of another dimension");
        const ThreadCount count(threads);
        std::vector<float> distances(queries->rows * k);
        // Compares in place: an index would copy the base. Few queries are divided evenly: every share reads the whole base.
        const faiss::idx_t threads_used = omp_get_max_threads();
        const faiss::idx_t even = (static_cast<faiss::idx_t>(queries->rows) + threads_used - 1) / threads_used;
        const faiss::idx_t share = even <= QUERIES_EVENLY ? std::max<faiss::idx_t>(even, 1) : share_of(queries->rows);
        const faiss::MetricType kind = metric_of(metric);
        const faiss::idx_t shares = (queries->rows + share - 1) / share;
        std::vector<std::string> failures(shares);
#pragma omp parallel for schedule(dynamic)
        for (faiss::idx_t place = 0; place < shares; place++) {
            const size_t start = place * share;
            const size_t amount = std::min<size_t>(share, queries->rows - start);
            const float* from = queries->values + start * queries->dimension;
            try {
                if (kind == faiss::METRIC_L2) {
                    faiss::float_maxheap_array_t heaps = {amount, k, rows + start * k, distances.data() + start * k};
                    faiss::knn_L2sqr(from, base->values, base->dimension, amount, base->rows, &heaps);
                } else {
                    faiss::float_minheap_array_t heaps = {amount, k, rows + start * k, distances.data() + start * k};
                    faiss::knn_inner_product(from, base->values, base->dimension, amount, base->rows, &heaps);
                }
            } catch (const std::exception& error) {
                failures[place] = error.what();
            }
        }
        for (const std::string& failure : failures) {
            require(failure.empty(), failure.c_str());
        }
    });
}

} // extern "C"
