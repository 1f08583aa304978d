#include "shim.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include <faiss/Clustering.h>
#include <faiss/IndexFlat.h>
#include <faiss/IndexIVF.h>
#include <faiss/IndexIVFFlat.h>
#include <faiss/IndexScalarQuantizer.h>
#include <faiss/impl/IDSelector.h>
#include <faiss/impl/io.h>
#include <faiss/index_io.h>
#include <faiss/invlists/InvertedLists.h>
#include <faiss/utils/utils.h>

// From libgomp, which FAISS links; declared here so that no OpenMP header is needed.
extern "C" void omp_set_num_threads(int);
extern "C" int omp_get_max_threads(void);

struct SidereusIvf {
    std::unique_ptr<faiss::IndexIVF> index;
};

struct SidereusBytes {
    std::vector<uint8_t> bytes;
};

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

// Gives OpenMP (per calling thread) and OpenBLAS (per process, so callers take turns) a number of threads, and takes it
// back. Another BLAS than OpenBLAS keeps its own setting.
class ThreadCount {
public:
    explicit ThreadCount(int threads)
            : omp_before_(omp_get_max_threads()),
              blas_set_(reinterpret_cast<Set>(dlsym(RTLD_DEFAULT, "openblas_set_num_threads"))),
              blas_get_(reinterpret_cast<Get>(dlsym(RTLD_DEFAULT, "openblas_get_num_threads"))) {
        const int at_least_one = std::max(1, threads);
        omp_set_num_threads(at_least_one);
        if (blas_set_ != nullptr && blas_get_ != nullptr) {
            blas_before_ = blas_get_();
            blas_set_(at_least_one);
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

class MemoryReader : public faiss::IOReader {
public:
    MemoryReader(const uint8_t* bytes, size_t count) : next_(bytes), left_(count) {}

    size_t operator()(void* to, size_t size, size_t items) override {
        if (size == 0 || items == 0) {
            return 0;
        }
        const size_t whole = std::min(items, left_ / size);
        if (whole > 0) {
            std::memcpy(to, next_, whole * size);
            next_ += whole * size;
            left_ -= whole * size;
        }
        return whole;
    }

    size_t left() const {
        return left_;
    }

private:
    const uint8_t* next_;
    size_t left_;
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

std::unique_ptr<faiss::IndexIVF> new_index(const SidereusTraining& training,
                                           std::unique_ptr<faiss::Index> quantizer) {
    const faiss::MetricType metric = metric_of(training.metric);
    std::unique_ptr<faiss::IndexIVF> index;
    switch (training.codes) {
        case SIDEREUS_FLAT:
            index = std::make_unique<faiss::IndexIVFFlat>(
                    quantizer.get(), training.dimension, training.lists, metric);
            break;
        case SIDEREUS_SQ8:
            index = std::make_unique<faiss::IndexIVFScalarQuantizer>(
                    quantizer.get(),
                    training.dimension,
                    training.lists,
                    faiss::ScalarQuantizer::QT_8bit,
                    metric);
            break;
        default:
            throw std::invalid_argument("unknown codes");
    }
    quantizer.release();
    index->own_fields = true;
    return index;
}

int32_t codes_of(const faiss::IndexIVF& index) {
    if (dynamic_cast<const faiss::IndexIVFFlat*>(&index) != nullptr) {
        return SIDEREUS_FLAT;
    }
    const auto* scalar = dynamic_cast<const faiss::IndexIVFScalarQuantizer*>(&index);
    require(scalar != nullptr && scalar->sq.qtype == faiss::ScalarQuantizer::QT_8bit,
            "the stored index is neither flat nor 8-bit scalar");
    return SIDEREUS_SQ8;
}

// What a reader of FAISS promises nowhere and a scan takes for granted.
void check_parts(const faiss::IndexIVF& index) {
    require(index.is_trained, "the stored index is not trained");
    require(dynamic_cast<const faiss::IndexFlat*>(index.quantizer) != nullptr,
            "the stored index has centroids of an unknown kind");
    require(static_cast<size_t>(index.quantizer->ntotal) == index.nlist && index.quantizer->d == index.d,
            "the stored centroids do not fit the lists");
    require(dynamic_cast<const faiss::ArrayInvertedLists*>(index.invlists) != nullptr,
            "the stored index has lists of an unknown kind");
    require(index.invlists->nlist == index.nlist && index.invlists->code_size == index.code_size,
            "the stored lists do not fit the codes");
    require(index.invlists->compute_ntotal() == static_cast<size_t>(index.ntotal),
            "the stored lists do not hold as many rows as the index says");
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

int sidereus_ivf_train(const SidereusTraining* training, SidereusIvf** out, SidereusMessage* message) {
    return guarded(message, [&] {
        require(training->dimension > 0 && training->lists > 0, "no dimension or no list");
        require(training->sample_rows >= training->lists, "fewer vectors than lists");
        const ThreadCount threads(training->threads);
        const bool inner_product = training->metric == SIDEREUS_INNER_PRODUCT;
        std::unique_ptr<faiss::Index> quantizer = std::make_unique<faiss::IndexFlat>(
                training->dimension, metric_of(training->metric));

        auto ivf = std::make_unique<SidereusIvf>();
        ivf->index = new_index(*training, std::move(quantizer));
        ivf->index->cp.niter = training->passes;
        ivf->index->cp.seed = training->seed;
        ivf->index->cp.spherical = inner_product;
        // The caller has drawn the sample already.
        ivf->index->cp.max_points_per_centroid = 1 << 24;
        ivf->index->train(training->sample_rows, training->sample);
        *out = ivf.release();
    });
}

int sidereus_ivf_add(SidereusIvf* ivf, const float* vectors, size_t rows, int32_t threads,
                     SidereusMessage* message) {
    return guarded(message, [&] {
        const ThreadCount count(threads);
        ivf->index->add(rows, vectors);
    });
}

int sidereus_ivf_shape(const SidereusIvf* ivf, SidereusShape* out, SidereusMessage* message) {
    return guarded(message, [&] {
        const faiss::IndexIVF& index = *ivf->index;
        SidereusShape shape;
        shape.dimension = index.d;
        shape.lists = index.nlist;
        shape.rows = index.ntotal;
        shape.code_bytes = index.code_size;
        shape.metric = index.metric_type == faiss::METRIC_L2 ? SIDEREUS_L2 : SIDEREUS_INNER_PRODUCT;
        shape.codes = codes_of(index);
        *out = shape;
    });
}

int sidereus_ivf_rank(const SidereusIvf* ivf, const float* query, int64_t* lists, float* distances,
                      SidereusMessage* message) {
    // One query never opens a parallel region with more than the calling thread.
    return guarded(message, [&] {
        ivf->index->quantizer->search(1, query, ivf->index->nlist, distances, lists);
    });
}

int sidereus_ivf_scan(const SidereusIvf* ivf, const SidereusScan* scan, int64_t* rows, float* distances,
                      SidereusScanCounts* counts, SidereusMessage* message) {
    return guarded(message, [&] {
        const faiss::IndexIVF& index = *ivf->index;
        SidereusScanCounts seen = {0, 0};
        const faiss::IDSelectorBitmap selector(scan->allowed_bytes, scan->allowed);
        std::vector<faiss::idx_t> keys(scan->lists, scan->lists + scan->list_count);
        for (faiss::idx_t& key : keys) {
            if (key < 0) {
                continue;
            }
            require(static_cast<size_t>(key) < index.nlist, "no such list");
            const size_t listed = index.invlists->list_size(key);
            size_t compared = listed;
            if (scan->allowed != nullptr) {
                faiss::InvertedLists::ScopedIds lent(index.invlists, key);
                const faiss::idx_t* ids = lent.get();
                compared = std::count_if(ids, ids + listed, [&](faiss::idx_t id) {
                    return selector.is_member(id);
                });
            }
            seen.rows_listed += listed;
            seen.rows_compared += compared;
            if (compared == 0) {
                key = -1;
            }
        }
        // Selector and parameters live on this stack frame only. The own statistics object keeps concurrent queries off
        // FAISS' unsynchronised global one.
        faiss::SearchParametersIVF parameters;
        parameters.nprobe = scan->list_count;
        parameters.sel = scan->allowed == nullptr ? nullptr : const_cast<faiss::IDSelectorBitmap*>(&selector);
        faiss::IndexIVFStats statistics;
        index.search_preassigned(
                1,
                scan->query,
                scan->k,
                keys.data(),
                scan->list_distances,
                distances,
                rows,
                false,
                &parameters,
                &statistics);
        *counts = seen;
    });
}

int sidereus_ivf_list(const SidereusIvf* ivf, size_t list, const int64_t** rows, size_t* count,
                      SidereusMessage* message) {
    return guarded(message, [&] {
        const auto* arrays = dynamic_cast<const faiss::ArrayInvertedLists*>(ivf->index->invlists);
        require(arrays != nullptr && list < arrays->nlist, "no such list");
        *count = arrays->list_size(list);
        *rows = arrays->get_ids(list);
    });
}

int sidereus_ivf_centroids(const SidereusIvf* ivf, const float** values, size_t* count, SidereusMessage* message) {
    return guarded(message, [&] {
        const auto* centroids = dynamic_cast<const faiss::IndexFlat*>(ivf->index->quantizer);
        require(centroids != nullptr, "the centroids are of an unknown kind");
        *count = centroids->ntotal * centroids->d;
        *values = centroids->get_xb();
    });
}

int sidereus_ivf_write(const SidereusIvf* ivf, SidereusBytes** out, SidereusMessage* message) {
    return guarded(message, [&] {
        faiss::VectorIOWriter writer;
        faiss::write_index(ivf->index.get(), &writer);
        auto bytes = std::make_unique<SidereusBytes>();
        bytes->bytes = std::move(writer.data);
        *out = bytes.release();
    });
}

int sidereus_ivf_read(const uint8_t* bytes, size_t count, SidereusIvf** out, SidereusMessage* message) {
    return guarded(message, [&] {
        MemoryReader reader(bytes, count);
        std::unique_ptr<faiss::Index> index(faiss::read_index(&reader));
        require(reader.left() == 0, "bytes are left over behind the stored index");
        auto* inverted = dynamic_cast<faiss::IndexIVF*>(index.get());
        require(inverted != nullptr, "the stored index has no lists");
        check_parts(*inverted);
        codes_of(*inverted);
        auto ivf = std::make_unique<SidereusIvf>();
        index.release();
        ivf->index.reset(inverted);
        *out = ivf.release();
    });
}

void sidereus_ivf_free(SidereusIvf* ivf) {
    delete ivf;
}

const uint8_t* sidereus_bytes_data(const SidereusBytes* bytes) {
    return bytes->bytes.data();
}

size_t sidereus_bytes_count(const SidereusBytes* bytes) {
    return bytes->bytes.size();
}

void sidereus_bytes_free(SidereusBytes* bytes) {
    delete bytes;
}

} // extern "C"
