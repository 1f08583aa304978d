//! One TOML table over another.

use toml::{Table, Value};

/// Puts the values of `over` in place of those of `base`, table by table.
pub(super) fn merge(base: &mut Table, over: Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => merge(below, above),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_replace_and_tables_join() {
        let mut base: Table = toml::from_str("a = 1\n[t]\nx = 1\ny = 2\n").expect("toml");
        let over: Table = toml::from_str("b = 3\n[t]\ny = 5\nz = 6\n").expect("toml");
        merge(&mut base, over);
        let expected: Table =
            toml::from_str("a = 1\nb = 3\n[t]\nx = 1\ny = 5\nz = 6\n").expect("toml");
        assert_eq!(base, expected);
    }
}
