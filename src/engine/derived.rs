//! Columns that are computed from vectors and columns when a query asks for them.

mod blocks;
mod cache;
mod compute;
mod formulas;

pub(super) use cache::DerivedCache;
pub(super) use compute::{Derivation, derive};
pub(super) use formulas::FormulaSlot;
pub use formulas::{DerivedValues, Formulas};

use crate::schema::SpaceId;

/// What a derived column holds.
#[derive(Debug, Clone, PartialEq)]
pub enum DerivedKind {
    /// Numbers.
    Real,
    /// One of these texts, given by its place.
    Label(Vec<String>),
}

/// One output of a [`Formula`].
#[derive(Debug, Clone, PartialEq)]
pub struct DerivedColumn {
    /// Name that predicates use, such as `probe.lens`.
    pub name: String,
    /// What it holds.
    pub kind: DerivedKind,
}

/// A function of an object's vectors and columns, such as a fitted probe.
///
/// Inputs are the vectors as they were given (not scaled to unit length), one space after the other, and then the columns,
/// as `f64`. An object that lacks one of them, or has NaN or an infinity in one of the columns, has null in every output.
pub trait Formula: std::fmt::Debug + Send + Sync {
    /// Spaces whose vectors are inputs, in their order.
    fn spaces(&self) -> &[SpaceId];

    /// Names of the columns that are inputs, in their order, after the vectors.
    fn columns(&self) -> &[String];

    /// What is computed.
    fn outputs(&self) -> &[DerivedColumn];

    /// Computes all outputs of `count` objects from their inputs, row-major: one vector for each output.
    fn compute(&self, count: usize, inputs: &[f64]) -> Vec<Vec<f64>>;
}
