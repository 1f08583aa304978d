//! The error function and the normal distribution, to 1e-11.

use std::f64::consts::{FRAC_1_SQRT_2, PI};
use std::sync::LazyLock;

/// Steps of the table in one unit.
const STEPS: f64 = 256.0;

/// From here on it is 1 to the last bit but one.
const LIMIT: f64 = 6.0;

/// Values and slopes at every step, the slopes for the width of a step.
static TABLE: LazyLock<Vec<(f64, f64)>> = LazyLock::new(|| {
    let points = (LIMIT * STEPS) as usize + 2;
    let point = |place: usize| {
        let x = place as f64 / STEPS;
        (by_series(x), 2.0 / PI.sqrt() * (-x * x).exp() / STEPS)
    };
    (0..points).map(point).collect()
});

/// Sum of a series whose terms are all positive (Abramowitz & Stegun 7.1.6), so that nothing cancels.
fn by_series(x: f64) -> f64 {
    let (mut term, mut sum, mut n) = (x, x, 0.0);
    while term > 1e-17 * sum {
        n += 1.0;
        term *= 2.0 * x * x / (2.0 * n + 1.0);
        sum += term;
    }
    2.0 / PI.sqrt() * (-x * x).exp() * sum
}

/// The error function: cubic between the table's points, which is off by less than h^4 / 384 times the fourth derivative.
pub(super) fn erf(x: f64) -> f64 {
    let at = x.abs() * STEPS;
    if at >= LIMIT * STEPS {
        return x.signum();
    }
    let place = at as usize;
    let t = at - place as f64;
    let (Some((y0, s0)), Some((y1, s1))) = (TABLE.get(place), TABLE.get(place + 1)) else {
        // Only what is not a number comes here.
        return x;
    };
    let (rise, t2) = (y1 - y0, t * t);
    let value = y0 + t * s0 + t2 * (3.0 * rise - 2.0 * s0 - s1) + t2 * t * (s0 + s1 - 2.0 * rise);
    value.copysign(x)
}

/// Probability that a standard normal number is below `x`.
pub(in crate::learn) fn normal_cdf(x: f64) -> f64 {
    0.5 * (1.0 + erf(x * FRAC_1_SQRT_2))
}
