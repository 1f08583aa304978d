//! Protocols of the literature by name.
//!
//! What a request says itself is kept; a preset fills the rest. Names and figures: AstroCLIP, Parker et al. 2024
//! (2024MNRAS.531.4990P) and the code published with it; AION-1, Parker et al. 2025 (arXiv:2510.17960), section 7 and
//! appendices F to H.

use super::ProbeError;
use crate::wire::v1::{self, head};

/// Name and description of every preset.
pub const PRESETS: [(&str, &str); 7] = [
    ("astroclip-knn", "64 neighbours weighted by 1 / distance, Euclidean on standardised vectors"),
    (
        "astroclip-mlp",
        "perceptron of two hidden layers of 64, dropout 0.1, 10 epochs of batches of 64",
    ),
    (
        "astroclip-mlp-redshift",
        "perceptron of one hidden layer of 32, dropout 0.1, 10 epochs of batches of 64",
    ),
    ("aion-linear", "least squares with the whole path of strengths, 80/20"),
    ("aion-attentive", "attentive pooling over tokens, then a perceptron of 256, 80/20"),
    (
        "gz5",
        "perceptron of 256, dropout 0.2, 25 epochs, 80/20, as for one question of Galaxy Zoo DECaLS",
    ),
    ("gz10", "perceptron of 256 with GELU, dropout 0.1, 80/20, as for the ten classes of Galaxy10"),
];

/// Fills what a request leaves open by the preset that it names.
///
/// # Errors
/// [`ProbeError::BadSpec`] for a name that is none.
pub(super) fn fill(spec: &mut v1::ProbeSpec) -> Result<(), ProbeError> {
    let (head, standardize) = match spec.preset.as_str() {
        "" => return Ok(()),
        "astroclip-knn" => {
            let knn = v1::KnnHead { k: 64, by_distance: true, metric: v1::Metric::L2.into() };
            (head::Kind::Knn(knn), true)
        }
        "astroclip-mlp" => (head::Kind::Mlp(mlp(&[64, 64], 0.1, 10, 64)), true),
        "astroclip-mlp-redshift" => (head::Kind::Mlp(mlp(&[32], 0.1, 10, 64)), true),
        "aion-linear" => (head::Kind::Ridge(v1::RidgeHead::default()), true),
        "aion-attentive" => {
            let mlp = Some(mlp(&[256], 0.0, 25, 64));
            (head::Kind::Attention(v1::AttentionHead { heads: 4, mlp }), false)
        }
        "gz5" => (head::Kind::Mlp(mlp(&[256], 0.2, 25, 64)), true),
        "gz10" => {
            let mut gz10 = mlp(&[256], 0.1, 25, 64);
            gz10.set_activation(v1::Activation::Gelu);
            (head::Kind::Mlp(gz10), true)
        }
        other => {
            let known: Vec<&str> = PRESETS.iter().map(|(name, _)| *name).collect();
            let what = format!("no preset is called `{other}`");
            return Err(ProbeError::bad(what, format!("there are {}", known.join(", "))));
        }
    };
    if spec.head.as_ref().is_some_and(|head| head.kind.is_some()) {
        let what = format!("a head is given beside preset `{}`, which has one", spec.preset);
        return Err(ProbeError::bad(what, "leave --head or --preset out"));
    }
    spec.head = Some(v1::Head { kind: Some(head) });
    spec.standardize |= standardize;
    if spec.split.is_empty() {
        "random:0.2:0".clone_into(&mut spec.split);
    }
    Ok(())
}

/// Sets what a request leaves at zero to its default, so that a kept probe says all of it.
pub(super) fn complete(head: &mut head::Kind) {
    let network = |mlp: &mut v1::MlpHead| {
        if mlp.hidden.is_empty() {
            mlp.hidden = vec![256];
        }
        if mlp.learning_rate == 0.0 {
            mlp.learning_rate = 1e-3;
        }
        mlp.epochs = if mlp.epochs == 0 { 10 } else { mlp.epochs };
        mlp.batch = if mlp.batch == 0 { 64 } else { mlp.batch };
    };
    match head {
        head::Kind::Knn(knn) => {
            knn.k = if knn.k == 0 { 20 } else { knn.k };
            if knn.metric() == v1::Metric::Unspecified {
                knn.set_metric(v1::Metric::L2);
            }
        }
        head::Kind::Ridge(_) => {}
        head::Kind::Logistic(logistic) => {
            if logistic.alphas.is_empty() {
                logistic.alphas = vec![1.0];
            }
            if logistic.alphas.len() > 1 && logistic.folds == 0 {
                logistic.folds = 5;
            }
        }
        head::Kind::Mlp(mlp) => network(mlp),
        head::Kind::Attention(attention) => {
            attention.heads = if attention.heads == 0 { 4 } else { attention.heads };
            network(attention.mlp.get_or_insert_default());
        }
        head::Kind::Density(density) => {
            density.components = if density.components == 0 { 5 } else { density.components };
            network(density.mlp.get_or_insert_default());
        }
        head::Kind::Token(token) => {
            token.alpha = if token.alpha == 0.0 { 1.0 } else { token.alpha };
        }
    }
}

fn mlp(hidden: &[u32], dropout: f64, epochs: u32, batch: u32) -> v1::MlpHead {
    v1::MlpHead {
        hidden: hidden.to_vec(),
        dropout,
        learning_rate: 1e-3,
        epochs,
        batch,
        ..v1::MlpHead::default()
    }
}
