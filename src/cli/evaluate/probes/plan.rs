//! What is fitted on what, for which target, on how many examples.

use anyhow::{Result, bail};
use clap::ValueEnum;

use super::ProbesArguments;
use crate::cli::evaluate::gallery::{column, spaces};
use crate::cli::probe::{HeadName, SettingArguments};
use crate::wire::v1::{CollectionSchema, ColumnType, ProbeSpec, Target};

/// One fit.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Run {
    pub(super) spaces: Vec<String>,
    pub(super) columns: Vec<String>,
    pub(super) target: Target,
    /// Unit of the target's column.
    pub(super) unit: String,
    pub(super) head: HeadName,
    /// Training examples; `None` for all.
    pub(super) shots: Option<u64>,
}

impl Run {
    /// What the features are.
    pub(super) fn features(&self) -> String {
        let all: Vec<&str> = self.spaces.iter().chain(&self.columns).map(String::as_str).collect();
        all.join("+")
    }

    /// What is predicted.
    pub(super) fn target_name(&self) -> String {
        if self.target.fractions.is_empty() {
            self.target.column.clone()
        } else {
            self.target.fractions.join(", ")
        }
    }

    pub(super) fn head_name(&self) -> String {
        self.head.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// All that tells it from other runs.
    pub(super) fn name(&self) -> String {
        let shots = self.shots.map_or_else(String::new, |shots| format!(" on {shots} examples"));
        format!("{} from {} by {}{shots}", self.target_name(), self.features(), self.head_name())
    }

    /// Whether only the number of examples differs.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        Self { shots: other.shots, ..self.clone() } == *other
    }

    /// As the server takes it.
    pub(super) fn spec(&self, arguments: &ProbesArguments) -> ProbeSpec {
        ProbeSpec {
            spaces: self.spaces.clone(),
            columns: self.columns.clone(),
            train_limit: self.shots.unwrap_or(0),
            ..arguments.settings.to_wire(self.target.clone(), Some(self.head))
        }
    }
}

/// Every head on every space for every target that it fits, on all examples first.
pub(super) fn plan(arguments: &ProbesArguments, schema: &CollectionSchema) -> Result<Vec<Run>> {
    arguments.settings.check(&arguments.head)?;
    let mut features: Vec<(Vec<String>, Vec<String>)> = Vec::new();
    for text in &arguments.space {
        features.push((spaces(schema, text)?, Vec::new()));
    }
    if !arguments.columns.is_empty() {
        let names = arguments.columns.iter().map(|name| Ok(column(schema, name)?.name.clone()));
        features.push((Vec::new(), names.collect::<Result<_>>()?));
    }
    let mut shots: Vec<Option<u64>> = arguments.few_shot.iter().copied().map(Some).collect();
    shots.sort_unstable();
    shots.dedup();
    shots.insert(0, None);
    let mut runs = Vec::new();
    for (target, unit, kind) in targets(arguments, schema)? {
        for (spaces, columns) in &features {
            for head in arguments.head.iter().filter(|head| fits(**head, kind, &arguments.settings))
            {
                runs.extend(shots.iter().map(|shots| Run {
                    spaces: spaces.clone(),
                    columns: columns.clone(),
                    target: target.clone(),
                    unit: unit.clone(),
                    head: *head,
                    shots: *shots,
                }));
            }
        }
    }
    if runs.is_empty() {
        bail!(
            "none of the heads fits the targets: ridge and density predict numbers, logistic and token classes, \
             knn, mlp and attention both"
        );
    }
    Ok(runs)
}

/// Targets, their units and the types of their columns; `None` for fractions of votes.
fn targets(
    arguments: &ProbesArguments,
    schema: &CollectionSchema,
) -> Result<Vec<(Target, String, Option<ColumnType>)>> {
    let mut targets = Vec::new();
    for name in &arguments.target {
        let column = column(schema, name)?;
        let target = Target { column: column.name.clone(), ..Target::default() };
        targets.push((target, column.unit.clone(), Some(column.r#type())));
    }
    if !arguments.fractions.is_empty() {
        let names = arguments.fractions.iter().map(|name| Ok(column(schema, name)?.name.clone()));
        let target = Target {
            fractions: names.collect::<Result<_>>()?,
            votes: arguments.votes.clone().unwrap_or_default(),
            ..Target::default()
        };
        targets.push((target, String::new(), None));
    }
    Ok(targets)
}

/// Whether a head can predict a target of this type; the server says so where the type alone does not.
fn fits(head: HeadName, kind: Option<ColumnType>, settings: &SettingArguments) -> bool {
    match (head, kind) {
        (HeadName::Token, kind) => kind == Some(ColumnType::FloatList),
        (_, Some(ColumnType::FloatList)) => false,
        (HeadName::Ridge | HeadName::Density, Some(kind)) => {
            !matches!(kind, ColumnType::Text | ColumnType::Boolean) && !settings.are_classes()
        }
        (HeadName::Logistic, Some(kind)) => {
            !matches!(kind, ColumnType::Float32 | ColumnType::Float64) || settings.are_classes()
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::wire::v1::{Column, EmbeddingSpace};

    #[derive(Debug, Parser)]
    struct Words {
        #[command(flatten)]
        arguments: ProbesArguments,
    }

    fn planned(words: &str) -> Result<Vec<String>> {
        let words = format!("probes galaxies {words}");
        let words = Words::try_parse_from(words.split_whitespace()).expect("words");
        let column = |name: &str, kind: ColumnType| Column {
            name: name.to_owned(),
            r#type: kind.into(),
            ..Column::default()
        };
        let space =
            |name: &str| EmbeddingSpace { name: name.to_owned(), ..EmbeddingSpace::default() };
        let schema = CollectionSchema {
            name: "galaxies".to_owned(),
            columns: vec![
                column("z", ColumnType::Float64),
                column("class", ColumnType::Text),
                column("g", ColumnType::Float32),
            ],
            spaces: vec![space("images"), space("spectra")],
            ..CollectionSchema::default()
        };
        Ok(plan(&words.arguments, &schema)?.iter().map(Run::name).collect())
    }

    #[test]
    fn heads_are_fitted_to_what_they_fit() {
        let found = planned("--space images --target z --target class --head ridge,logistic,knn");
        let wanted = [
            "z from images by ridge",
            "z from images by knn",
            "class from images by logistic",
            "class from images by knn",
        ];
        assert_eq!(found.expect("runs"), wanted);
        let error = planned("--space images --target class --head ridge").expect_err("none fits");
        assert!(error.to_string().contains("ridge and density predict numbers"), "{error}");
    }

    #[test]
    fn spaces_are_joined_and_columns_stand_beside_them() {
        let found =
            planned("--space IMAGES+spectra --columns g --target z --head knn --few-shot 30,10");
        let wanted = [
            "z from images+spectra by knn",
            "z from images+spectra by knn on 10 examples",
            "z from images+spectra by knn on 30 examples",
            "z from g by knn",
            "z from g by knn on 10 examples",
            "z from g by knn on 30 examples",
        ];
        assert_eq!(found.expect("runs"), wanted);
        let error = planned("--space radio --target z --head knn").expect_err("no such space");
        assert!(error.to_string().contains("images, spectra"), "{error}");
    }
}
