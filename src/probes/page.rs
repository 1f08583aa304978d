//! Lists of what is kept, page by page: one message holds so much and no more.

use prost::Message;

/// Most bytes of one page: gRPC clients take 4 MiB unless they are told otherwise.
const PAGE_BYTES: usize = 2 << 20;

/// Some of a list that is ordered by names without regard to case.
#[derive(Debug)]
pub struct Page<T> {
    /// What is on the page.
    pub items: Vec<T>,
    /// The last name of the page where others follow; empty where this is the end.
    pub next: String,
    after: String,
    last: String,
    bytes: usize,
}

impl<T: Message> Page<T> {
    /// The page behind a name; the first one where it is empty.
    pub(super) fn after(name: &str) -> Self {
        let (after, last) = (name.to_lowercase(), String::new());
        Self { items: Vec::new(), next: String::new(), after, last, bytes: 0 }
    }

    /// Whether what has this name, the next in the order, can be on this page: it is behind the page's beginning, and the page
    /// is not at its end.
    pub(super) fn wants(&self, name: &str) -> bool {
        self.next.is_empty() && name.to_lowercase() > self.after
    }

    /// Takes what has this name, or ends the page. One that is larger than a page has one for itself.
    pub(super) fn push(&mut self, name: &str, item: T) {
        if !self.wants(name) {
            return;
        }
        let bytes = item.encoded_len();
        if !self.items.is_empty() && self.bytes + bytes > PAGE_BYTES {
            self.next = std::mem::take(&mut self.last);
            return;
        }
        self.bytes += bytes;
        name.clone_into(&mut self.last);
        self.items.push(item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_pages_hold_everything_once_and_none_is_too_large() {
        let sizes = [900_000, 900_000, 900_000, 3 << 20, 10, 2 << 20, 5];
        let (mut after, mut found) = (String::new(), Vec::new());
        loop {
            let mut page = Page::after(&after);
            for (number, size) in sizes.into_iter().enumerate() {
                page.push(&format!("Probe{number}"), "x".repeat(size));
            }
            let bytes: usize = page.items.iter().map(String::len).sum();
            assert!(page.items.len() == 1 || bytes <= PAGE_BYTES, "{bytes}");
            found.extend(page.items.iter().map(String::len));
            if page.next.is_empty() {
                break;
            }
            after = page.next;
        }
        assert_eq!(found, sizes);
        assert!(Page::<String>::after("").items.is_empty());
    }
}
