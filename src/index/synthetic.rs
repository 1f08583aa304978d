//! Seeded vectors that look like embeddings of catalogued objects: clustered, of low rank, anisotropic.
//!
//! Isotropic Gaussian vectors have no neighbours to speak of in hundreds of dimensions, and flatter or defeat an index
//! without telling anything. Here a few leading directions carry most of the variance, objects gather in clusters of
//! unequal size and shape, and a little noise fills the remaining dimensions.

use super::random::SplitMix64;
use crate::vector::{BlockError, VectorBlock};

/// What to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clustered {
    /// Vectors.
    pub count: usize,
    /// Components of each.
    pub dimension: usize,
    /// Clusters; sizes fall off as 1 / (rank of the cluster + 3).
    pub clusters: usize,
    /// Directions that carry the variance (besides the noise), at most the dimension.
    pub rank: usize,
    /// Decides every number.
    pub seed: u64,
}

/// Vectors and the cluster of each.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusteredVectors {
    /// The vectors, not normalised.
    pub vectors: VectorBlock,
    /// Cluster of each row, from 0; 0 is the largest.
    pub cluster_of: Vec<u32>,
}

/// Standard deviation of the noise in every component, where the strongest direction has about 1.
const NOISE: f64 = 0.01;

/// Extent of a cluster relative to the distance between clusters.
const CLUSTER_EXTENT: f64 = 0.6;

struct Shape {
    /// `rank x dimension`, rows of about unit length.
    basis: Vec<f64>,
    /// `clusters x rank`.
    centres: Vec<f64>,
    /// `clusters x rank`: standard deviations within a cluster.
    extents: Vec<f64>,
    /// Cumulative share of the clusters.
    shares: Vec<f64>,
}

/// Makes the vectors.
///
/// # Errors
/// [`BlockError::ZeroDimension`].
pub fn clustered(spec: &Clustered) -> Result<ClusteredVectors, BlockError> {
    let mut vectors = VectorBlock::empty(spec.dimension)?;
    let rank = spec.rank.clamp(1, spec.dimension);
    let shape = shape(spec, rank);
    let mut random = SplitMix64::new(spec.seed ^ 0x5eed_0f0b_1ec7_5eed);
    let mut cluster_of = Vec::with_capacity(spec.count);
    let mut sum = vec![0.0f64; spec.dimension];
    let mut row = vec![0.0f32; spec.dimension];
    for _ in 0..spec.count {
        let draw = random.uniform();
        let cluster =
            shape.shares.partition_point(|&share| share < draw).min(shape.shares.len() - 1);
        for value in &mut sum {
            *value = NOISE * random.normal();
        }
        for direction in 0..rank {
            let place = cluster * rank + direction;
            let latent = shape.centres[place] + shape.extents[place] * random.normal();
            let basis = &shape.basis[direction * spec.dimension..(direction + 1) * spec.dimension];
            sum.iter_mut().zip(basis).for_each(|(value, axis)| *value += latent * axis);
        }
        row.iter_mut().zip(&sum).for_each(|(to, &value)| *to = value as f32);
        vectors.push(&row)?;
        cluster_of.push(cluster as u32);
    }
    Ok(ClusteredVectors { vectors, cluster_of })
}

fn shape(spec: &Clustered, rank: usize) -> Shape {
    let mut random = SplitMix64::new(spec.seed);
    let clusters = spec.clusters.max(1);
    let unit = 1.0 / (spec.dimension as f64).sqrt();
    // Standard deviations fall as a power law, as those of trained encoders do.
    let spectrum: Vec<f64> = (0..rank).map(|place| 1.0 / (place as f64 + 1.0).sqrt()).collect();
    let basis = (0..rank * spec.dimension).map(|_| unit * random.normal()).collect();
    let centres =
        (0..clusters).flat_map(|_| spectrum.clone()).map(|scale| scale * random.normal()).collect();
    let extents = (0..clusters)
        .flat_map(|_| spectrum.clone())
        .map(|scale| scale * CLUSTER_EXTENT * (0.3 + 1.4 * random.uniform()))
        .collect();
    let weights: Vec<f64> = (0..clusters).map(|cluster| 1.0 / (cluster as f64 + 3.0)).collect();
    let total: f64 = weights.iter().sum();
    let shares = weights
        .iter()
        .scan(0.0, |sum, weight| {
            *sum += weight / total;
            Some(*sum)
        })
        .collect();
    Shape { basis, centres, extents, shares }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::reference;

    const SPEC: Clustered =
        Clustered { count: 2000, dimension: 24, clusters: 12, rank: 6, seed: 9 };

    #[test]
    fn the_seed_decides_every_number() {
        let first = clustered(&SPEC).expect("a dimension");
        assert_eq!(first, clustered(&SPEC).expect("a dimension"));
        let other = clustered(&Clustered { seed: 10, ..SPEC }).expect("a dimension");
        assert_ne!(first.vectors, other.vectors);
        let longer = clustered(&Clustered { count: 2100, ..SPEC }).expect("a dimension");
        assert_eq!(first.vectors.as_slice(), &longer.vectors.as_slice()[..2000 * 24]);
    }

    #[test]
    fn rows_of_a_cluster_are_nearer_than_rows_of_others() {
        let made = clustered(&SPEC).expect("a dimension");
        assert_eq!((made.vectors.count(), made.cluster_of.len()), (2000, 2000));
        let (mut within, mut across) = ((0.0, 0), (0.0, 0));
        for (row, left) in made.vectors.rows().enumerate().take(200) {
            for (other, right) in made.vectors.rows().enumerate().skip(row + 1) {
                let same = made.cluster_of[row] == made.cluster_of[other];
                let sum = if same { &mut within } else { &mut across };
                sum.0 += reference::l2_squared(left, right);
                sum.1 += 1;
            }
        }
        let mean = |sum: (f64, i32)| sum.0 / f64::from(sum.1);
        assert!(within.1 > 1000 && across.1 > 1000);
        assert!(mean(within) * 3.0 < mean(across), "{} {}", mean(within), mean(across));
    }
}
