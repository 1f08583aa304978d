//! Vectors and their distances: what "near" means, computed once and the same way by every plan.

mod block;
mod kernel;
mod metric;
mod topk;
mod view;

pub use block::{BlockError, VectorBlock};
pub use kernel::{dot, l2_squared, norm, reference};
pub use metric::{Distance, Metric, UnknownMetric};
pub use topk::TopK;
pub use view::{RowBitmap, VectorView};
