//! A queue in chunks behind `Arc`: a copy shares all but the chunk that is written next.
//!
//! Items are added and changed at the back and leave at the front. A chunk is dropped once all its
//! items have left.

use std::collections::VecDeque;
use std::sync::Arc;

const CHUNK_ITEMS: usize = 64;

/// A queue whose copies are cheap.
#[derive(Clone, Debug)]
pub(crate) struct Chunks<T> {
    chunks: VecDeque<Arc<Vec<T>>>,
    /// Items at the front of the first chunk that have left.
    left: usize,
}

impl<T> Default for Chunks<T> {
    fn default() -> Self {
        Self { chunks: VecDeque::new(), left: 0 }
    }
}

impl<T: Clone> Chunks<T> {
    /// Oldest first.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        // No chunk is empty, and only the first has items that left.
        self.chunks.iter().enumerate().flat_map(|(place, chunk)| {
            let left = if place == 0 { self.left } else { 0 };
            chunk.iter().skip(left)
        })
    }

    pub(crate) fn front(&self) -> Option<&T> {
        self.chunks.front()?.get(self.left)
    }

    pub(crate) fn back(&self) -> Option<&T> {
        self.chunks.back()?.last()
    }

    pub(crate) fn back_mut(&mut self) -> Option<&mut T> {
        Arc::make_mut(self.chunks.back_mut()?).last_mut()
    }

    pub(crate) fn push_back(&mut self, item: T) {
        match self.chunks.back_mut() {
            Some(chunk) if chunk.len() < CHUNK_ITEMS => Arc::make_mut(chunk).push(item),
            _ => self.chunks.push_back(Arc::new(vec![item])),
        }
    }

    pub(crate) fn pop_front(&mut self) {
        self.left += 1;
        if self.chunks.front().is_none_or(|chunk| chunk.len() <= self.left) {
            self.chunks.pop_front();
            self.left = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_leave_in_the_order_they_came() {
        let mut queue = Chunks::default();
        let mut expected = VecDeque::new();
        for item in 0..1_000u32 {
            queue.push_back(item);
            expected.push_back(item);
            let copy = queue.clone();
            if item % 3 != 0 {
                queue.pop_front();
                expected.pop_front();
            }
            assert!(queue.iter().eq(expected.iter()), "{item}");
            assert!(queue.iter().rev().eq(expected.iter().rev()), "{item}");
            assert_eq!((queue.front(), queue.back()), (expected.front(), expected.back()));
            assert_eq!(copy.back(), Some(&item));
        }
    }

    #[test]
    fn an_emptied_queue_goes_on() {
        let mut queue = Chunks::default();
        queue.push_back(1);
        queue.pop_front();
        queue.pop_front();
        assert_eq!((queue.front(), queue.back()), (None, None));
        queue.push_back(2);
        queue.back_mut().into_iter().for_each(|item| *item += 1);
        assert_eq!(queue.front(), Some(&3));
    }
}
