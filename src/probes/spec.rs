//! What is asked for, with the gaps filled and the contradictions refused.

use std::collections::HashSet;

use super::ProbeError;
use crate::engine::CollectionView;
use crate::learn::split::SplitSpec;
use crate::schema::{self, EmbeddingSpace, SpaceForm};
use crate::wire::v1::{self, head};

use super::table::{Column, find_column};
use super::{heads, presets};

/// Split where none is named.
const SPLIT_DEFAULT: &str = "random:0.2:0";

/// Resamples behind an interval where nothing is said, and at most.
const RESAMPLES_DEFAULT: u32 = 1_000;
const RESAMPLES_MAX: u32 = 100_000;

/// Most features of an example.
const WIDTH_MAX: usize = 16_384;

/// Most features of a head that decomposes the square of them: LAPACK does it at one stretch, during which nobody can end the
/// fit. So many take it most of a minute.
const DECOMPOSED_WIDTH_MAX: usize = 5_000;

/// Most classes of a target.
pub(super) const CLASSES_MAX: usize = 1_000;

/// What is predicted.
#[derive(Debug, Clone)]
pub(super) enum TargetSpec {
    /// A number.
    Number(Column),
    /// One of several classes.
    Class(Column),
    /// A class for each token, in a list.
    Tokens,
    /// Fractions of votes for several classes, and how many votes there were.
    Fractions(Vec<Column>, Option<Column>),
}

/// A resolved request.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    /// As it is kept: nothing left to be filled in.
    pub(super) wire: v1::ProbeSpec,
    pub(super) spaces: Vec<EmbeddingSpace>,
    pub(super) columns: Vec<Column>,
    pub(super) target: TargetSpec,
    pub(super) head: head::Kind,
    pub(super) split: SplitSpec,
    pub(super) split_column: Option<Column>,
    pub(super) weight: Option<Column>,
    pub(super) predicate: Option<String>,
    pub(super) is_redshift: bool,
}

impl Spec {
    /// Finds everything that a request names in a collection.
    ///
    /// # Errors
    /// [`ProbeError::BadSpec`], [`ProbeError::UnknownColumn`], [`ProbeError::UnknownSpace`], and those of the split.
    pub(super) fn resolve(
        view: &CollectionView,
        mut wire: v1::ProbeSpec,
    ) -> Result<Self, ProbeError> {
        presets::fill(&mut wire)?;
        if wire.split.is_empty() {
            SPLIT_DEFAULT.clone_into(&mut wire.split);
        }
        wire.resamples = match wire.resamples {
            0 => RESAMPLES_DEFAULT,
            given => given.min(RESAMPLES_MAX),
        };
        let mut head = wire.head.take().and_then(|head| head.kind).ok_or_else(|| {
            let hint = "name one: knn, ridge, logistic, mlp, attention, density or token";
            ProbeError::bad("no head is given", hint)
        })?;
        presets::complete(&mut head);
        heads::check_alphas(&head)?;
        wire.head = Some(v1::Head { kind: Some(head.clone()) });
        refuse_twice("feature column", &wire.columns)?;
        check_tokens(&head, &wire)?;
        let Inputs { spaces, columns } = Inputs::find(view, &wire, &head)?;
        check_width(
            &head,
            spaces.iter().map(|space| space.dimension).sum::<usize>() + columns.len(),
        )?;
        let target = find_target(view, wire.target.as_ref(), &head)?;
        refuse_target_as_feature(&target, &columns)?;
        let split = SplitSpec::parse(&wire.split)?;
        wire.split = split.to_string();
        let split_column = split.column().map(|name| find_column(view, name)).transpose()?;
        let weight = match wire.weight.as_str() {
            "" => None,
            name => Some(find_column(view, name)?),
        };
        if let Some(column) = weight.as_ref().filter(|column| !column.is_number()) {
            return Err(ProbeError::bad(
                format!("weight column `{}` is of type {}", column.name, column.kind),
                "weights are numbers, not negative",
            ));
        }
        let is_redshift = is_redshift(view, &target);
        let predicate = Some(wire.predicate.trim().to_owned()).filter(|text| !text.is_empty());
        Ok(Self {
            wire,
            spaces,
            columns,
            target,
            head,
            split,
            split_column,
            weight,
            predicate,
            is_redshift,
        })
    }

    /// Whether the features are tokens of one space.
    pub(super) fn uses_tokens(&self) -> bool {
        are_tokens(&self.spaces)
    }
}

/// Whether features are tokens of one space.
pub(super) fn are_tokens(spaces: &[EmbeddingSpace]) -> bool {
    spaces.iter().any(|space| !space.holds_vectors())
}

/// What a probe reads of each object: all that must still be there to apply it.
#[derive(Debug, Clone)]
pub(super) struct Inputs {
    pub(super) spaces: Vec<EmbeddingSpace>,
    pub(super) columns: Vec<Column>,
}

impl Inputs {
    /// Those of a kept probe. Its target, weights and split are not asked for, and may be gone.
    ///
    /// # Errors
    /// [`ProbeError::BadSpec`], [`ProbeError::UnknownColumn`], [`ProbeError::UnknownSpace`].
    pub(super) fn of_kept(view: &CollectionView, kept: &v1::ProbeSpec) -> Result<Self, ProbeError> {
        let head = kept.head.as_ref().and_then(|head| head.kind.as_ref());
        let missing = || ProbeError::bad("the probe does not say its head", "fit it again");
        Self::find(view, kept, head.ok_or_else(missing)?)
    }

    fn find(
        view: &CollectionView,
        wire: &v1::ProbeSpec,
        head: &head::Kind,
    ) -> Result<Self, ProbeError> {
        let spaces = find_spaces(view, &wire.spaces, head)?;
        let find = |name: &String| find_column(view, name);
        let columns = wire.columns.iter().map(find).collect::<Result<Vec<_>, _>>()?;
        if let Some(column) = columns.iter().find(|column| !column.is_number()) {
            let what = format!("column `{}` is of type {}", column.name, column.kind);
            return Err(ProbeError::bad(what, "features are numbers or flags"));
        }
        let width = spaces.iter().map(|space| space.dimension).sum::<usize>() + columns.len();
        if width == 0 {
            let hint = "name an embedding space (--space) or feature columns (--columns)";
            return Err(ProbeError::bad("there are no features", hint));
        }
        if width > WIDTH_MAX {
            let what = format!("{width} features of each object");
            return Err(ProbeError::bad(what, format!("at most {WIDTH_MAX} can be used at once")));
        }
        Ok(Self { spaces, columns })
    }
}

fn find_spaces(
    view: &CollectionView,
    names: &[String],
    head: &head::Kind,
) -> Result<Vec<EmbeddingSpace>, ProbeError> {
    let schema = view.schema();
    let mut spaces: Vec<EmbeddingSpace> = Vec::with_capacity(names.len());
    for name in names {
        let space = schema.space(name).ok_or_else(|| {
            let known: Vec<&str> = schema.spaces.iter().map(|space| space.name.as_str()).collect();
            ProbeError::UnknownSpace {
                collection: schema.name.clone(),
                space: name.clone(),
                known: if known.is_empty() { "none".to_owned() } else { known.join(", ") },
            }
        })?;
        if spaces.iter().any(|other| other.id == space.id) {
            let what = format!("space `{}` is named twice", space.name);
            return Err(ProbeError::bad(what, "name each space once"));
        }
        spaces.push(space.clone());
    }
    let wants_tokens = matches!(head, head::Kind::Attention(_) | head::Kind::Token(_));
    for space in &spaces {
        let fits = match space.form {
            SpaceForm::Vector => !wants_tokens,
            SpaceForm::Tokens => wants_tokens,
            SpaceForm::TokenIds => false,
        };
        if !fits {
            let hint = if wants_tokens {
                "the attention and token heads read token states: name a space that holds tokens"
            } else {
                "this head reads one vector of each object: name a space of vectors, or use the attention head"
            };
            let what = format!("space `{}` holds {}", space.name, space.form.plural());
            return Err(ProbeError::bad(what, hint));
        }
    }
    if wants_tokens && spaces.len() != 1 {
        let what = format!("{} spaces for a head that reads tokens", spaces.len());
        return Err(ProbeError::bad(what, "name exactly one space of tokens"));
    }
    Ok(spaces)
}

fn find_target(
    view: &CollectionView,
    target: Option<&v1::Target>,
    head: &head::Kind,
) -> Result<TargetSpec, ProbeError> {
    let missing = || ProbeError::bad("no target is given", "name the column to predict (--target)");
    let target = target.ok_or_else(missing)?;
    if !target.fractions.is_empty() {
        check_fractions(&target.fractions)?;
        let find = |name: &String| find_column(view, name);
        let columns = target.fractions.iter().map(find).collect::<Result<Vec<_>, _>>()?;
        if let Some(column) = columns.iter().find(|column| !column.is_number()) {
            let what = format!("column `{}` is of type {}", column.name, column.kind);
            return Err(ProbeError::bad(what, "vote fractions are numbers from 0 to 1"));
        }
        let votes = match target.votes.as_str() {
            "" => None,
            name => Some(find_column(view, name)?),
        };
        if let Some(column) = votes.as_ref().filter(|column| !column.is_number()) {
            let what = format!("column of votes `{}` is of type {}", column.name, column.kind);
            return Err(ProbeError::bad(what, "numbers of votes are numbers, not negative"));
        }
        if matches!(head, head::Kind::Density(_)) {
            let what = "vote fractions for a density head";
            return Err(ProbeError::bad(what, "use knn, ridge, logistic, mlp or attention"));
        }
        return Ok(TargetSpec::Fractions(columns, votes));
    }
    if target.column.is_empty() {
        return Err(missing());
    }
    if matches!(head, head::Kind::Token(_)) {
        return Ok(TargetSpec::Tokens);
    }
    let column = find_column(view, &target.column)?;
    let numbers_only = matches!(head, head::Kind::Ridge(_) | head::Kind::Density(_));
    let classes_only = matches!(head, head::Kind::Logistic(_));
    let as_class = match target.kind() {
        v1::TargetKind::Class => true,
        v1::TargetKind::Number => false,
        v1::TargetKind::Fractions => {
            let hint = "name the columns of fractions (--fractions)";
            return Err(ProbeError::bad("fractions are wanted and none are named", hint));
        }
        v1::TargetKind::Unspecified => classes_only || !column.is_number(),
    };
    match (as_class, numbers_only, classes_only) {
        (true, true, _) => Err(ProbeError::bad(
            format!("column `{}` holds classes", column.name),
            "this head predicts numbers: use logistic, knn, mlp or attention",
        )),
        (false, _, true) => Err(ProbeError::bad(
            format!("column `{}` is to be predicted as a number", column.name),
            "logistic predicts classes: use ridge, knn, mlp or density",
        )),
        (false, ..) if !column.is_number() => Err(ProbeError::bad(
            format!("column `{}` is of type {}", column.name, column.kind),
            "only numbers can be predicted as numbers; predict it as a class",
        )),
        (true, ..) => Ok(TargetSpec::Class(column)),
        (false, ..) => Ok(TargetSpec::Number(column)),
    }
}

/// Refuses what a head that reads tokens does not use.
fn check_tokens(head: &head::Kind, wire: &v1::ProbeSpec) -> Result<(), ProbeError> {
    let is_token = matches!(head, head::Kind::Token(_));
    if !is_token && !matches!(head, head::Kind::Attention(_)) {
        return Ok(());
    }
    if !wire.columns.is_empty() {
        let hint = "leave --columns out, or use a head that reads vectors";
        return Err(ProbeError::bad("columns beside tokens, which alone are read", hint));
    }
    if is_token && !wire.weight.is_empty() {
        let hint = "leave --weight out: every token counts the same";
        return Err(ProbeError::bad("weights of objects for a token head", hint));
    }
    if is_token && wire.train_limit > 0 {
        let hint = "leave --train-limit out, and choose fewer objects (--where)";
        return Err(ProbeError::bad("a limit of training objects for a token head", hint));
    }
    Ok(())
}

/// Refuses more features than a head decomposes in a time that can be waited for.
fn check_width(head: &head::Kind, width: usize) -> Result<(), ProbeError> {
    let decomposes =
        matches!(head, head::Kind::Ridge(_) | head::Kind::Logistic(_) | head::Kind::Token(_));
    if !decomposes || width <= DECOMPOSED_WIDTH_MAX {
        return Ok(());
    }
    let what = format!("{width} features for a linear head");
    let hint = format!(
        "ridge, logistic and token take at most {DECOMPOSED_WIDTH_MAX}: use fewer, or knn or mlp"
    );
    Err(ProbeError::bad(what, hint))
}

/// Refuses too few or too many answers, and one that is named twice.
fn check_fractions(names: &[String]) -> Result<(), ProbeError> {
    if names.len() < 2 {
        let hint = "name the columns of at least two answers";
        return Err(ProbeError::bad("one column of vote fractions", hint));
    }
    if names.len() > CLASSES_MAX {
        let what = format!("{} columns of vote fractions", names.len());
        let hint = format!("at most {CLASSES_MAX} answers can be told apart: name fewer columns");
        return Err(ProbeError::bad(what, hint));
    }
    refuse_twice("column of vote fractions", names)
}

/// Refuses a name that is given twice, without regard to case.
fn refuse_twice(what: &str, names: &[String]) -> Result<(), ProbeError> {
    let mut seen = HashSet::with_capacity(names.len());
    match names.iter().find(|name| !seen.insert(name.to_lowercase())) {
        None => Ok(()),
        Some(name) => {
            let what = format!("{what} `{name}` is named twice");
            Err(ProbeError::bad(what, "name each column once"))
        }
    }
}

fn refuse_target_as_feature(target: &TargetSpec, columns: &[Column]) -> Result<(), ProbeError> {
    let targets: Vec<&Column> = match target {
        TargetSpec::Tokens => Vec::new(),
        TargetSpec::Number(column) | TargetSpec::Class(column) => vec![column],
        TargetSpec::Fractions(columns, _) => columns.iter().collect(),
    };
    for column in columns {
        if targets.iter().any(|target| target.name == column.name) {
            let what = format!("column `{}` is the target and a feature", column.name);
            return Err(ProbeError::bad(what, "take it out of the features"));
        }
    }
    Ok(())
}

/// Whether a target is a redshift, so that the errors of redshifts are measured.
fn is_redshift(view: &CollectionView, target: &TargetSpec) -> bool {
    let TargetSpec::Number(target) = target else { return false };
    let column = view.schema().columns.iter().find(|column| column.name == target.name);
    column.is_some_and(says_redshift)
}

/// By its UCD, or by a usual name where it has no unit: `z` is a magnitude, too.
fn says_redshift(column: &schema::Column) -> bool {
    const NAMES: [&str; 8] =
        ["z", "redshift", "zspec", "z_spec", "zphot", "z_phot", "specz", "z_desi"];
    let has_name = NAMES.contains(&column.name.to_lowercase().as_str());
    column.ucd.to_lowercase().contains("src.redshift") || has_name && column.unit.trim().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::v1::{KnnHead, LogisticHead, RidgeHead, TokenHead};

    #[test]
    fn a_magnitude_called_z_is_no_redshift() {
        let named = |name: &str| schema::Column::new(name, schema::ColumnType::Float64);
        assert!(says_redshift(&named("Z")) && says_redshift(&named("z_spec")));
        let magnitude = schema::Column { unit: "mag".to_owned(), ..named("z") };
        assert!(!says_redshift(&magnitude) && !says_redshift(&named("y")));
        let told = schema::Column { ucd: "src.redshift;meta.main".to_owned(), ..named("y") };
        assert!(says_redshift(&told));
    }

    #[test]
    fn what_heads_of_tokens_do_not_use_is_refused() {
        let attention = head::Kind::Attention(v1::AttentionHead::default());
        let token = head::Kind::Token(TokenHead::default());
        let columns = v1::ProbeSpec { columns: vec!["mag".to_owned()], ..Default::default() };
        let weight = v1::ProbeSpec { weight: "w".to_owned(), ..Default::default() };
        let few = v1::ProbeSpec { train_limit: 5, ..Default::default() };
        for (head, wire, word) in [
            (&attention, &columns, "--columns"),
            (&token, &columns, "--columns"),
            (&token, &weight, "--weight"),
            (&token, &few, "--train-limit"),
        ] {
            let refused = check_tokens(head, wire).expect_err(word).to_string();
            assert!(refused.contains(word), "{refused}");
        }
        for wire in [&weight, &few] {
            check_tokens(&attention, wire).expect("used");
        }
    }

    #[test]
    fn more_features_than_can_be_decomposed_in_time_are_refused() {
        let ridge = head::Kind::Ridge(RidgeHead::default());
        let logistic = head::Kind::Logistic(LogisticHead::default());
        for head in [ridge, logistic, head::Kind::Token(TokenHead::default())] {
            check_width(&head, DECOMPOSED_WIDTH_MAX).expect("fits");
            let refused = check_width(&head, DECOMPOSED_WIDTH_MAX + 1).expect_err("too wide");
            assert!(refused.to_string().contains("at most 5000"), "{refused}");
        }
        check_width(&head::Kind::Knn(KnnHead::default()), WIDTH_MAX).expect("fits");
    }

    #[test]
    fn answers_that_could_not_be_told_apart_are_refused() {
        let names =
            |count: usize| -> Vec<String> { (0..count).map(|at| format!("f{at}")).collect() };
        check_fractions(&names(CLASSES_MAX)).expect("as many as there may be");
        let refused = |names: &[String]| check_fractions(names).expect_err("refused").to_string();
        assert!(refused(&names(1)).contains("at least two"));
        assert!(refused(&names(100_000)).contains("at most 1000 answers"));
        let twice = ["f1".to_owned(), "f2".to_owned(), "F1".to_owned()];
        assert!(refused(&twice).contains("`F1` is named twice"), "{}", refused(&twice));
    }
}
