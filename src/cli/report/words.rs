//! What numbers are called, and which way is better.

use super::fit::Kind;
use crate::cli::render::significant;
use crate::learn::metrics::Measured;

/// Digits of a value in a table of text, where values stand close.
const DIGITS: usize = 3;

/// Digits of the ends of an interval in a report.
const END_DIGITS: usize = 4;

/// The numbers that tell most about a kind of target, the most telling first.
pub(crate) fn headlines(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Number => &["r2", "sigma_nmad", "outliers_0.15", "rmse", "nll"],
        Kind::Class => &["accuracy", "macro_f1", "auc", "log_loss"],
        Kind::Fractions => &["r2", "rmse", "cross_entropy", "accuracy"],
    }
}

/// What a number is called in a report.
pub(super) fn title(name: &str) -> String {
    let known = match name {
        "r2" => "R²",
        "rmse" => "RMSE",
        "mae" => "MAE",
        "bias" => "bias",
        "nll" => "negative log likelihood",
        "dz_mean" => "mean Δz/(1+z)",
        "dz_median" => "median Δz/(1+z)",
        "sigma_nmad" => "σ NMAD",
        "sigma_nmad_brammer" => "σ NMAD (Brammer+08)",
        "outliers_0.15" => "outliers > 0.15",
        "outliers_0.05" => "outliers > 0.05",
        "macro_f1" => "macro F1",
        "weighted_f1" => "weighted F1",
        "auc" => "AUC",
        "brier" => "Brier score",
        "ece" => "calibration error",
        "mean_iou" => "mean IoU",
        _ => return known_with_place(name),
    };
    known.to_owned()
}

fn known_with_place(name: &str) -> String {
    match name.split_once('@') {
        Some(("ndcg_linear", k)) => format!("nDCG@{k}, linear gain"),
        Some(("ndcg_exponential", k)) => format!("nDCG@{k}, exponential gain"),
        Some(_) => name.to_owned(),
        None => match name.strip_prefix("iou_") {
            Some(class) => format!("IoU of {class}"),
            None => name.replace('_', " "),
        },
    }
}

/// How much better a value is than another of the same name: above 0 where it is better, `None` where neither is.
pub(super) fn better(name: &str, value: f64, than: f64) -> Option<f64> {
    let is_higher_better =
        ["r2", "auc", "accuracy", "balanced_accuracy", "macro_f1", "weighted_f1"].contains(&name)
            || ["mean_iou", "iou_", "ndcg_", "recall", "precision"]
                .iter()
                .any(|begin| name.starts_with(begin));
    let distance = match name {
        // Nearest to 0.
        "bias" | "dz_mean" | "dz_median" => than.abs() - value.abs(),
        _ if is_higher_better => value - than,
        _ => than - value,
    };
    (distance != 0.0).then_some(distance)
}

/// A value and its interval, for a table of text.
pub(crate) fn interval_text(measured: &Measured) -> String {
    let value = significant(measured.value, DIGITS);
    match (measured.low, measured.high) {
        (Some(low), Some(high)) => {
            format!("{value} [{}, {}]", significant(low, DIGITS), significant(high, DIGITS))
        }
        _ => value,
    }
}

/// The ends of an interval with the digits that they deserve.
pub(super) fn ends(measured: &Measured) -> Option<(String, String)> {
    let (low, high) = (measured.low?, measured.high?);
    Some((significant(low, END_DIGITS), significant(high, END_DIGITS)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_way_is_better() {
        assert!(better("r2", 0.9, 0.8).is_some_and(|by| by > 0.0));
        assert!(better("rmse", 0.9, 0.8).is_some_and(|by| by < 0.0));
        assert!(better("bias", -0.1, 0.2).is_some_and(|by| by > 0.0));
        assert!(better("recall@10", 0.2, 0.1).is_some_and(|by| by > 0.0));
        assert_eq!(better("auc", 0.5, 0.5), None);
    }

    #[test]
    fn intervals_are_written_behind_their_values() {
        let name = "r2".to_owned();
        let mut measured = Measured { name, value: 0.5, low: Some(0.25), high: Some(0.75) };
        assert_eq!(interval_text(&measured), "0.5 [0.25, 0.75]");
        measured.low = None;
        assert_eq!(interval_text(&measured), "0.5");
        assert_eq!(title("ndcg_linear@10"), "nDCG@10, linear gain");
        assert_eq!(title("iou_spiral"), "IoU of spiral");
    }
}
