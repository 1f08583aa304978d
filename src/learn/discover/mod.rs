//! Order out of a few examples and several opinions: what makes distances of different spaces comparable, rankings into one,
//! near repetitions apart, strange objects stand out, and the next examples worth a look.

mod batch;
mod calibration;
mod diversity;
mod even;
mod head;
mod outlier;
mod ranks;

pub use batch::{most_different, most_telling};
pub use calibration::Calibration;
pub use diversity::marginal_relevance;
pub use even::Even;
pub use head::{Examples, LinearHead};
pub use outlier::{Neighbours, local_outlier_factors};
pub use ranks::{RANK_CONSTANT, reciprocal_rank};
