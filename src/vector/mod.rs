//! Vectors and their distances: what "near" means, computed once and the same way by every plan.

mod block;
mod code;
mod kernel;
mod max_sim;
mod metric;
mod rows;
mod simd;
mod topk;
mod view;

pub use block::{BlockError, VectorBlock};
pub use code::{CODE_BYTES_MAX, CODE_STEP, CONSTANT_BYTES, CodeWeights};
pub use kernel::{dot, l2_squared, norm, reference, rounding};
pub use max_sim::{MaxSim, MaxSimRoom};
pub use metric::{Distance, Metric, UnknownMetric};
pub use rows::{RowSet, VectorSource};
pub use simd::prefetch_all;
pub use topk::TopK;
pub use view::{RowBitmap, VectorView};
