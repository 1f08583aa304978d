//! Answers of searches, cut into messages.

use prost::Message;

use super::object::{object_id_of, position_of, value_of};
use crate::query::{Answer, Beside, Hit, QueryStats, TermScale};
use crate::wire::v1;

/// Bytes that a hit costs in a message beside its own: its tag and length.
const HIT_OVERHEAD: usize = 6;

/// Cuts an answer into messages of about `chunk_bytes`, the last of which has the statistics. A message holds at
/// least one hit, however large.
pub(in crate::service) fn chunks(
    answer: Answer,
    chunk_bytes: usize,
) -> impl Iterator<Item = v1::SearchResponse> + Send {
    let mut stats = Some(stats_of(answer.stats));
    let mut hits = answer.hits.into_iter().map(hit_of).peekable();
    std::iter::from_fn(move || {
        // The statistics go out last and once.
        stats.as_ref()?;
        let mut chunk = Vec::new();
        let mut bytes = 0;
        while let Some(hit) = hits.peek() {
            bytes += hit.encoded_len() + HIT_OVERHEAD;
            if bytes > chunk_bytes && !chunk.is_empty() {
                return Some(v1::SearchResponse { hits: chunk, stats: None });
            }
            chunk.extend(hits.next());
        }
        Some(v1::SearchResponse { hits: chunk, stats: stats.take() })
    })
}

fn hit_of(hit: Hit) -> v1::Hit {
    v1::Hit {
        id: Some(object_id_of(hit.id)),
        position: Some(position_of(hit.position)),
        distance: hit.distance,
        score: hit.score,
        columns: hit
            .columns
            .into_iter()
            .filter_map(|(name, value)| Some((name, value_of(value)?)))
            .collect(),
        vectors: hit
            .vectors
            .into_iter()
            .map(|(name, values)| (name, v1::Vector { values }))
            .collect(),
        beside: hit.beside.into_iter().map(beside_of).collect(),
    }
}

fn beside_of(beside: Beside) -> v1::Beside {
    v1::Beside {
        id: Some(object_id_of(beside.id)),
        position: Some(position_of(beside.position)),
        distance: beside.distance,
        separation_arcsec: beside.separation_deg * 3_600.0,
    }
}

fn stats_of(stats: QueryStats) -> v1::QueryStats {
    v1::QueryStats {
        plan: stats.plan,
        exact: stats.exact,
        estimated_recall: stats.estimated_recall,
        rows_total: stats.rows_total,
        rows_in_cover: stats.rows_in_cover,
        rows_surviving: stats.rows_surviving,
        survivors_are_counted: stats.survivors_are_counted,
        rows_scanned: stats.rows_scanned,
        lists_probed: stats.lists_probed,
        bytes_read: stats.bytes_read,
        tail_rows: stats.tail_rows,
        elapsed_ms: stats.elapsed_ms,
        explanation: stats.explanation,
        version: stats.version,
        candidates_reranked: stats.candidates_reranked,
        candidates_without_tokens: stats.candidates_without_tokens,
        method: stats.method,
        fusion: stats.fusion,
        scales: stats.scales.into_iter().map(scale_of).collect(),
    }
}

fn scale_of(scale: TermScale) -> v1::TermScale {
    let TermScale { space, mean, spread, sampled } = scale;
    v1::TermScale { space, mean, spread, sampled: sampled as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{ObjectId, Value};
    use crate::sky::{Degrees, Position};

    fn answer(sizes: &[usize]) -> Answer {
        let hits = sizes.iter().enumerate().map(|(place, &size)| Hit {
            id: ObjectId::Number(place as i64),
            position: Position::new(Degrees(1.0), Degrees(2.0)).expect("on the sphere"),
            distance: Some(0.5),
            score: Some(0.5),
            columns: vec![
                ("text".to_owned(), Value::Text("x".repeat(size))),
                ("none".to_owned(), Value::Null),
            ],
            vectors: vec![("space".to_owned(), vec![1.0])],
            beside: Vec::new(),
        });
        Answer { hits: hits.collect(), stats: QueryStats::default() }
    }

    fn lengths(sizes: &[usize]) -> Vec<usize> {
        let messages: Vec<_> = chunks(answer(sizes), 1_000).collect();
        let (last, others) = messages.split_last().expect("at least one message");
        assert!(last.stats.is_some() && others.iter().all(|message| message.stats.is_none()));
        for message in &messages {
            assert!(message.encoded_len() <= 1_100 || message.hits.len() == 1);
        }
        messages.iter().map(|message| message.hits.len()).collect()
    }

    #[test]
    fn messages_keep_to_their_size_and_statistics_come_last() {
        assert_eq!(lengths(&[]), [0]);
        assert_eq!(lengths(&[10]), [1]);
        assert_eq!(lengths(&[400, 400, 400, 5_000, 10]), [2, 1, 1, 1]);
        assert_eq!(lengths(&[10; 100]).iter().sum::<usize>(), 100);
    }

    #[test]
    fn nulls_are_left_out_of_hits() {
        let message = chunks(answer(&[1]), 1_000).next().expect("one message");
        assert_eq!(message.hits[0].columns.len(), 1);
        assert_eq!(message.hits[0].vectors["space"].values, [1.0]);
    }
}
