//! Bridges of which the truth is known.

use super::*;
use crate::learn::Matrix;

/// Seeded numbers of a normal distribution.
pub(super) struct Normal(pub(super) u64);

impl Normal {
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    pub(super) fn next(&mut self) -> f64 {
        (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }

    pub(super) fn many(&mut self, count: usize) -> Vec<f64> {
        (0..count).map(|_| self.next()).collect()
    }

    /// Rows that are orthonormal, by Gram and Schmidt.
    fn orthonormal(&mut self, rows: usize, columns: usize) -> Vec<f64> {
        let mut found: Vec<Vec<f64>> = Vec::new();
        while found.len() < rows {
            let mut row = self.many(columns);
            for _ in 0..2 {
                for other in &found {
                    let along = map::dot(&row, other);
                    for (value, other) in row.iter_mut().zip(other) {
                        *value -= along * other;
                    }
                }
            }
            map::scale_to_unit(&mut row, columns);
            found.push(row);
        }
        found.concat()
    }
}

/// `W x + b` plus noise, for rows of x.
pub(super) fn linear(
    normal: &mut Normal,
    xs: &[f64],
    w: &[f64],
    b: &[f64],
    from: usize,
    noise: f64,
) -> Vec<f64> {
    let mut out = Vec::new();
    for x in xs.chunks_exact(from) {
        for (row, b) in w.chunks_exact(from).zip(b) {
            out.push(map::dot(row, x) + b + noise * normal.next());
        }
    }
    out
}

pub(super) fn paired(xs: &[f64], ys: &[f64], from: usize, to: usize) -> Matrix {
    let rows = xs.chunks_exact(from).zip(ys.chunks_exact(to));
    Matrix::new(from + to, rows.flat_map(|(x, y)| [x, y].concat()).collect()).expect("rows")
}

/// Five folds, and every fifth object held out.
pub(super) fn folds(count: usize) -> Vec<u8> {
    (0..count).map(|place| if place % 5 == 4 { HELD_OUT } else { (place / 5 % 5) as u8 }).collect()
}

pub(super) fn pairs<'a>(features: &'a Matrix, from: usize, folds: &'a [u8]) -> Pairs<'a> {
    Pairs { features, from_width: from, from_unit: false, to_unit: false, folds }
}

fn largest_difference(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

fn value(measured: &[Measured], name: &str) -> f64 {
    measured.iter().find(|each| each.name == name).expect(name).value
}

const BY_DISTANCE: Measuring = Measuring {
    from: Likeness::Euclidean,
    to: Likeness::Euclidean,
    across: Likeness::Euclidean,
    resamples: 200,
    seed: 3,
    threads: 2,
};

fn silent() -> Progress<'static> {
    Progress::silent()
}

#[test]
fn a_known_rotation_is_found() {
    let (from, to, count) = (7, 7, 2_000);
    let mut normal = Normal(11);
    let xs = normal.many(count * from);
    let (rotation, offset) = (normal.orthonormal(to, from), normal.many(to));
    let stretched: Vec<f64> = rotation.iter().map(|value| 2.5 * value).collect();
    let ys = linear(&mut normal, &xs, &stretched, &offset, from, 0.0);
    let (matrix, folds) = (paired(&xs, &ys, from, to), folds(count));
    let pairs = pairs(&matrix, from, &folds);
    let fitted = fit(&pairs, &Method::Procrustes { centre: true, scale: true }, 2, silent())
        .expect("a rotation");
    assert_eq!(fitted.trained_on, 1_600);
    assert!((fitted.scale.expect("a scale") - 2.5).abs() < 1e-9);
    let layer = &fitted.map.from.layers[0];
    assert!(largest_difference(&layer.weights, &stretched) < 1e-9);
    assert!(largest_difference(&layer.bias, &offset) < 1e-9);
    fitted.map.check().expect("whole");
    assert!(fitted.map.leads_into_target());
    let measured = evaluate(&pairs, &fitted.map, &BY_DISTANCE, silent()).expect("measured");
    for name in ["recall@1", "recall_back@1", "mutual_knn_after@10", "cosine"] {
        assert!((value(&measured, name) - 1.0).abs() < 1e-9, "{name}: {measured:?}");
    }
}

#[test]
fn spaces_of_different_dimensions_are_joined_by_orthonormal_rows_or_columns() {
    let count = 3_000;
    for (from, to) in [(4, 9), (9, 4)] {
        let mut normal = Normal(5);
        let xs = normal.many(count * from);
        // Orthonormal columns where TO is wider, rows where FROM is.
        let rotation = if from < to {
            let columns = normal.orthonormal(from, to);
            procrustes::transposed(&columns, from, to)
        } else {
            normal.orthonormal(to, from)
        };
        let ys = linear(&mut normal, &xs, &rotation, &vec![0.0; to], from, 0.0);
        let (matrix, folds) = (paired(&xs, &ys, from, to), folds(count));
        let method = Method::Procrustes { centre: false, scale: false };
        let fitted = fit(&pairs(&matrix, from, &folds), &method, 2, silent()).expect("a rotation");
        let layer = &fitted.map.from.layers[0];
        assert_eq!((layer.inputs, layer.outputs), (from, to));
        let product = if from < to {
            linear::product_tn(&layer.weights, &layer.weights, to)
        } else {
            linear::product_nt(&layer.weights, &layer.weights, from)
        };
        let smaller = from.min(to);
        let identity: Vec<f64> = (0..smaller * smaller)
            .map(|place| f64::from(u8::from(place / smaller == place % smaller)))
            .collect();
        assert!(largest_difference(&product.expect("fits"), &identity) < 1e-12);
        if from < to {
            assert!(largest_difference(&layer.weights, &rotation) < 1e-9);
        } else {
            // The sample's own correlations turn it a little.
            assert!(largest_difference(&layer.weights, &rotation) < 0.05);
        }
    }
}

#[test]
fn a_known_linear_map_is_found_and_noise_asks_for_strength() {
    let (from, to, count) = (6, 4, 2_000);
    let mut normal = Normal(23);
    let xs = normal.many(count * from);
    let (weights, offset) = (normal.many(to * from), normal.many(to));
    let ys = linear(&mut normal, &xs, &weights, &offset, from, 0.0);
    let (matrix, split) = (paired(&xs, &ys, from, to), folds(count));
    let fitted =
        fit(&pairs(&matrix, from, &split), &Method::Ridge { alphas: vec![0.0] }, 2, silent())
            .expect("a map");
    let layer = &fitted.map.from.layers[0];
    assert!(largest_difference(&layer.weights, &weights) < 1e-6);
    assert!(largest_difference(&layer.bias, &offset) < 1e-6);

    // Much noise and few objects: a strong penalty predicts better, and the folds say so.
    let ys = linear(&mut normal, &xs[..60 * from], &weights, &offset, from, 8.0);
    let (matrix, split) = (paired(&xs[..60 * from], &ys, from, to), folds(60));
    let fitted =
        fit(&pairs(&matrix, from, &split), &Method::Ridge { alphas: Vec::new() }, 2, silent())
            .expect("a map");
    let best = fitted.alpha_scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let chosen = fitted.alphas.iter().position(|alpha| Some(*alpha) == fitted.alpha);
    assert!((fitted.alpha_scores[chosen.expect("one of them")] - best).abs() < 1e-15);
    assert!(best > fitted.alpha_scores[0], "{:?}", fitted.alpha_scores);
}

/// Two noisy views of hidden variables, each turned by a mixing of its own: what CCA is for.
#[test]
fn cca_finds_what_both_sides_share() {
    let (hidden, from, to, count) = (3, 8, 6, 6_000);
    let mut normal = Normal(41);
    let zs = normal.many(count * hidden);
    let (a, b) = (normal.many(from * hidden), normal.many(to * hidden));
    let noise = 0.2;
    let xs = linear(&mut normal, &zs, &a, &vec![1.0; from], hidden, noise);
    let ys = linear(&mut normal, &zs, &b, &vec![-2.0; to], hidden, noise);
    let (matrix, split) = (paired(&xs, &ys, from, to), folds(count));
    let pairs = pairs(&matrix, from, &split);
    let method = Method::Cca { components: 3, regularisation: 0.0, power: 1.0 };
    let fitted = fit(&pairs, &method, 2, silent()).expect("components");
    assert_eq!(fitted.map.from.outputs(), 3);
    assert!(!fitted.map.leads_into_target());
    assert!(fitted.correlations.iter().all(|each| (0.9..=1.0).contains(each)));
    let measuring = Measuring { across: Likeness::Cosine, ..BY_DISTANCE };
    let measured = evaluate(&pairs, &fitted.map, &measuring, silent()).expect("measured");
    assert!(value(&measured, "recall@10") > 0.5, "{measured:?}");
    assert!(value(&measured, "cosine") > 0.9, "{measured:?}");
    let too_many = Method::Cca { components: 7, regularisation: 0.0, power: 1.0 };
    assert!(matches!(fit(&pairs, &too_many, 2, silent()), Err(LearnError::BadSetting { .. })));
}

/// With noise the best recall is that of the true map; a fitted one comes near it.
#[test]
fn recall_is_that_of_the_true_map_and_intervals_hold_it() {
    let (from, to, count) = (5, 5, 5_000);
    let mut normal = Normal(97);
    let xs = normal.many(count * from);
    let rotation = normal.orthonormal(to, from);
    let ys = linear(&mut normal, &xs, &rotation, &vec![0.0; to], from, 0.3);
    let (matrix, split) = (paired(&xs, &ys, from, to), folds(count));
    let pairs = pairs(&matrix, from, &split);
    let truth = BridgeMap {
        from: SideMap::affine(false, from, rotation, vec![0.0; to]).expect("a map"),
        to: SideMap::identity(to),
    };
    let best = evaluate(&pairs, &truth, &BY_DISTANCE, silent()).expect("measured");
    // By hand: the share of held-out objects whose own y is the nearest to their mapped x.
    let held: Vec<usize> = (0..count).filter(|place| split[*place] == HELD_OUT).collect();
    let mapped = truth.from.apply(&xs).expect("fits");
    let distance = |x: usize, y: usize| {
        let (x, y) = (&mapped[x * to..(x + 1) * to], &ys[y * to..(y + 1) * to]);
        x.iter().zip(y).map(|(a, b)| (a - b) * (a - b)).sum::<f64>()
    };
    let nearest =
        |x: usize| held.iter().copied().min_by(|a, b| distance(x, *a).total_cmp(&distance(x, *b)));
    let found = held.iter().filter(|x| nearest(**x) == Some(**x)).count();
    assert!((value(&best, "recall@1") - found as f64 / held.len() as f64).abs() < 1e-12);
    for method in [
        Method::Procrustes { centre: true, scale: true },
        Method::Procrustes { centre: false, scale: false },
        Method::Ridge { alphas: Vec::new() },
    ] {
        let fitted = fit(&pairs, &method, 2, silent()).expect("a map");
        let measured = evaluate(&pairs, &fitted.map, &BY_DISTANCE, silent()).expect("measured");
        for name in ["recall@1", "recall_back@1", "recall@10"] {
            let near = value(&measured, name) - value(&best, name);
            assert!(near.abs() < 0.05, "{method:?} {name} {near}");
        }
    }
    let recall = best.iter().find(|each| each.name == "recall@1").expect("there");
    assert!(recall.low < recall.value && recall.value < recall.high, "{recall:?}");
    assert_eq!(recall.chance, Some(1.0 / held.len() as f64));
}

#[test]
fn what_cannot_be_fitted_is_told() {
    let matrix = Matrix::new(4, vec![1.0; 40]).expect("rows");
    let none = vec![HELD_OUT; 10];
    let method = Method::Procrustes { centre: true, scale: true };
    let result = fit(&pairs(&matrix, 2, &none), &method, 2, silent());
    assert!(matches!(result, Err(LearnError::TooFew { given: 0, .. })), "{result:?}");
    let result = fit(&pairs(&matrix, 4, &none), &method, 2, silent());
    assert!(matches!(result, Err(LearnError::Shape { .. })), "{result:?}");
    let result = fit(&pairs(&matrix, 2, &none[..3]), &method, 2, silent());
    assert!(matches!(result, Err(LearnError::Shape { .. })), "{result:?}");
    // All vectors are equal.
    let split = folds(10);
    let same = pairs(&matrix, 2, &split);
    let result = fit(&same, &method, 2, silent());
    assert!(matches!(result, Err(LearnError::NoResult { .. })), "{result:?}");
    let cca = Method::Cca { components: 0, regularisation: 1e-3, power: 1.0 };
    assert!(matches!(fit(&same, &cca, 2, silent()), Err(LearnError::NoResult { .. })));
    let ridge = Method::Ridge { alphas: vec![-1.0] };
    assert!(matches!(fit(&same, &ridge, 2, silent()), Err(LearnError::BadSetting { .. })));
    let stop = std::sync::atomic::AtomicBool::new(true);
    let result = fit(&same, &cca, 2, Progress::new(&|_, _, _| {}, &stop));
    assert_eq!(result.map(|_| ()), Err(LearnError::Stopped));
}
