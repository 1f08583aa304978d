//! How large a probe will be when it is kept: known before anything is read or fitted, so that nobody waits for what cannot be
//! kept.

use super::ProbeError;
use super::spec::Spec;
use crate::engine::RECORD_BYTES_MAX;
use crate::learn::{Activation, AttentionShape, HeadOutput, HeadShape};
use crate::wire::v1::{MlpHead, head};

/// Bytes of what predicts that a record may hold beside what is told of it.
const MODEL_BYTES_MAX: usize = RECORD_BYTES_MAX / 8 * 7;

/// Bytes of training features that a probe of neighbours may hold: vectors in single precision, columns in both.
const NEIGHBOUR_BYTES_MAX: usize = 48 << 20;

/// Refuses a probe that could not be kept, by the number of its training examples and of its outputs.
///
/// # Errors
/// [`ProbeError::BadSpec`] that names the size and the limit.
pub(super) fn check(spec: &Spec, train: usize, outputs: usize) -> Result<(), ProbeError> {
    let tokens = spec.uses_tokens();
    let vectors: usize = spec.spaces.iter().map(|space| space.dimension).sum();
    let columns = spec.columns.len();
    check_head(&spec.head, (vectors + columns, columns), tokens, train, outputs)
}

/// `width` counts all features, `columns` those of them that are columns.
fn check_head(
    head: &head::Kind,
    (width, columns): (usize, usize),
    tokens: bool,
    train: usize,
    outputs: usize,
) -> Result<(), ProbeError> {
    let bytes = bytes_of(head, (width, columns), tokens, train, outputs);
    if let head::Kind::Knn(_) = head {
        if bytes <= NEIGHBOUR_BYTES_MAX {
            return Ok(());
        }
        let what = format!(
            "a probe of neighbours keeps its {train} training examples: {} MiB",
            bytes >> 20
        );
        let hint = format!(
            "at most {} MiB can be kept; give --train-limit, or leave --name out to measure only",
            NEIGHBOUR_BYTES_MAX >> 20
        );
        return Err(ProbeError::bad(what, hint));
    }
    if bytes <= MODEL_BYTES_MAX {
        return Ok(());
    }
    let what = format!("this head has {} MiB of weights for {width} features", bytes >> 20);
    let hint = format!(
        "at most {} MiB can be kept; use fewer features, classes or hidden units, or leave --name out to measure only",
        MODEL_BYTES_MAX >> 20
    );
    Err(ProbeError::bad(what, hint))
}

/// Bytes of what predicts.
fn bytes_of(
    head: &head::Kind,
    (width, columns): (usize, usize),
    tokens: bool,
    train: usize,
    outputs: usize,
) -> usize {
    let outputs = outputs.max(1);
    let network = |mlp: Option<&MlpHead>, heads: Option<u32>, output: HeadOutput| {
        let hidden = mlp.map_or(&[][..], |mlp| &mlp.hidden);
        let attention = heads.filter(|_| tokens);
        let shape = HeadShape {
            input: width,
            attention: attention.map(|heads| AttentionShape { heads: heads as usize, width }),
            hidden: hidden.iter().map(|width| *width as usize).collect(),
            activation: Activation::default(),
            output,
        };
        shape.parameters().saturating_mul(size_of::<f32>())
    };
    match head {
        head::Kind::Knn(_) => {
            let single = width.saturating_mul(size_of::<f32>());
            let each = single.saturating_add(columns.saturating_mul(size_of::<f64>()));
            let features = train.saturating_mul(each);
            features.saturating_add(train.saturating_mul(outputs).saturating_mul(size_of::<f64>()))
        }
        head::Kind::Ridge(_) | head::Kind::Logistic(_) | head::Kind::Token(_) => {
            (width + 1).saturating_mul(outputs).saturating_mul(size_of::<f64>())
        }
        head::Kind::Mlp(mlp) => network(Some(mlp), None, HeadOutput::Values(outputs)),
        head::Kind::Attention(attention) => {
            network(attention.mlp.as_ref(), Some(attention.heads), HeadOutput::Values(outputs))
        }
        head::Kind::Density(density) => {
            let components = density.components as usize;
            network(density.mlp.as_ref(), None, HeadOutput::Density { components })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::v1::{AttentionHead, DensityHead, KnnHead, LogisticHead, RidgeHead};

    #[test]
    fn what_could_not_be_kept_is_refused_with_its_size_and_the_limit() {
        let knn = head::Kind::Knn(KnnHead::default());
        let ridge = head::Kind::Ridge(RidgeHead::default());
        let logistic = head::Kind::Logistic(LogisticHead::default());
        let mlp = |width: u32| MlpHead { hidden: vec![width], ..MlpHead::default() };
        let wide = head::Kind::Mlp(mlp(2_048));
        let density = head::Kind::Density(DensityHead { components: 5, mlp: Some(mlp(1_000_000)) });
        let attention = head::Kind::Attention(AttentionHead { heads: 4, mlp: Some(mlp(256)) });
        for (head, width, tokens, train, outputs, word) in [
            (&knn, 768, false, 20_000, 1, "20000 training examples: 58 MiB"),
            (&knn, 12, false, 10_000, 1_000, "at most 48 MiB"),
            (&logistic, 16_384, false, 2_000, 1_000, "125 MiB of weights for 16384 features"),
            (&wide, 16_384, false, 2_000, 1, "128 MiB"),
            (&density, 768, false, 2_000, 1, "at most 56 MiB"),
            (&attention, 4_096, true, 2_000, 1, "at most 56 MiB"),
        ] {
            let refused = check_head(head, (width, 0), tokens, train, outputs).expect_err(word);
            assert!(refused.to_string().contains(word), "{refused}");
        }
        for (head, width, tokens, train, outputs) in [
            (&knn, 768, false, 16_000, 1),
            (&ridge, 16_384, false, 10_000_000, 1),
            (&logistic, 768, false, 10_000_000, 1_000),
            (&wide, 1_024, false, 10_000_000, 10),
            (&attention, 1_024, true, 10_000_000, 10),
        ] {
            check_head(head, (width, 0), tokens, train, outputs).expect("fits");
        }
        let endless = head::Kind::Mlp(mlp(u32::MAX));
        let endless_width = (usize::MAX / 2, 0);
        assert!(check_head(&endless, endless_width, false, usize::MAX, usize::MAX).is_err());
        // A column is kept in double precision, too.
        check_head(&knn, (12, 0), false, 500_000, 1).expect("fits");
        assert!(check_head(&knn, (12, 12), false, 500_000, 1).is_err());
    }
}
