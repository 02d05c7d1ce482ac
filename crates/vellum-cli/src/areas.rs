//! A map from ranges of addresses to values.

use std::collections::BTreeMap;
use std::ops::Range;

/// A map from disjoint, non-empty ranges of addresses to values.
///
/// Ranges are split where an operation begins or ends inside of one; a value that depends on where its range starts must
/// not be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Areas<T> {
    /// By start: the end, and the value.
    by_start: BTreeMap<u64, (u64, T)>,
}

impl<T> Default for Areas<T> {
    fn default() -> Areas<T> {
        Areas { by_start: BTreeMap::new() }
    }
}

impl<T: Clone> Areas<T> {
    /// Puts `value` at `range`, in place of what was there. An empty range changes nothing.
    pub fn insert(&mut self, range: Range<u64>, value: T) {
        if !range.is_empty() {
            self.remove(range.clone());
            self.by_start.insert(range.start, (range.end, value));
        }
    }

    /// Takes out what is in `range`, and returns it in order.
    pub fn remove(&mut self, range: Range<u64>) -> Vec<(Range<u64>, T)> {
        if range.is_empty() {
            return Vec::new();
        }
        self.split(range.start);
        self.split(range.end);
        let starts: Vec<u64> = self.by_start.range(range).map(|(start, _)| *start).collect();
        let taken = starts
            .into_iter()
            .filter_map(|start| self.by_start.remove(&start).map(|(end, value)| (start..end, value)));
        taken.collect()
    }

    /// Changes each value in `range`.
    pub fn update(&mut self, range: Range<u64>, mut change: impl FnMut(&mut T)) {
        if range.is_empty() {
            return;
        }
        self.split(range.start);
        self.split(range.end);
        for (_, (_, value)) in self.by_start.range_mut(range) {
            change(value);
        }
    }

    /// Returns the area that holds `at`.
    pub fn get(&self, at: u64) -> Option<(Range<u64>, &T)> {
        let (start, (end, value)) = self.by_start.range(..=at).next_back()?;
        (at < *end).then_some((*start..*end, value))
    }

    /// Returns the areas that meet `range`, cut down to it, in order.
    pub fn within(&self, range: Range<u64>) -> impl Iterator<Item = (Range<u64>, &T)> {
        let first = self.get(range.start).map_or(range.start, |(area, _)| area.start);
        let areas = self.by_start.range(first..range.end.max(first));
        areas.map(move |(start, (end, value))| ((*start).max(range.start)..(*end).min(range.end), value))
    }

    /// Returns the parts of `range` that no area holds, in order.
    pub fn gaps(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let mut gaps = Vec::new();
        let mut at = range.start;
        for (area, _) in self.within(range.clone()) {
            if at < area.start {
                gaps.push(at..area.start);
            }
            at = area.end;
        }
        if at < range.end {
            gaps.push(at..range.end);
        }
        gaps
    }

    /// Returns every area, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Range<u64>, &T)> {
        self.by_start.iter().map(|(start, (end, value))| (*start..*end, value))
    }

    fn split(&mut self, at: u64) {
        let Some((area, value)) = self.get(at) else { return };
        if area.start == at {
            return;
        }
        let value = value.clone();
        if let Some((end, _)) = self.by_start.get_mut(&area.start) {
            *end = at;
        }
        self.by_start.insert(at, (area.end, value));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn cuts_at_the_borders() {
        let mut areas = Areas::default();
        areas.insert(10..20, 'a');
        areas.insert(30..40, 'b');
        areas.insert(15..35, 'c');
        let all: Vec<_> = areas.iter().map(|(range, value)| (range, *value)).collect();
        assert_eq!(all, [(10..15, 'a'), (15..35, 'c'), (35..40, 'b')]);
        assert_eq!(areas.remove(12..16), [(12..15, 'a'), (15..16, 'c')]);
        assert_eq!(areas.gaps(0..50), [0..10, 12..16, 40..50]);
        assert_eq!(areas.get(12), None);
        assert_eq!(areas.get(39), Some((35..40, &'b')));
        assert_eq!(areas.within(17..36).map(|(range, _)| range).collect::<Vec<_>>(), [17..35, 35..36]);
    }

    #[derive(Clone, Debug)]
    enum Op {
        Insert(Range<u64>, u8),
        Remove(Range<u64>),
        Update(Range<u64>),
    }

    fn op() -> impl Strategy<Value = Op> {
        let range = || (0u64..64, 0u64..64).prop_map(|(a, b)| a.min(b)..a.max(b));
        prop_oneof![
            (range(), any::<u8>()).prop_map(|(range, value)| Op::Insert(range, value)),
            range().prop_map(Op::Remove),
            range().prop_map(Op::Update),
        ]
    }

    proptest! {
        #[test]
        fn is_what_an_array_of_addresses_is(ops in prop::collection::vec(op(), 1..40)) {
            let mut areas = Areas::default();
            let mut plain = [None; 64];
            for op in ops {
                match op {
                    Op::Insert(range, value) => {
                        areas.insert(range.clone(), value);
                        range.for_each(|at| plain[at as usize] = Some(value));
                    }
                    Op::Remove(range) => {
                        let taken = areas.remove(range.clone());
                        let flat: Vec<_> = taken.into_iter().flat_map(|(r, v)| r.map(move |at| (at, v))).collect();
                        let expected: Vec<_> = range.filter_map(|at| plain[at as usize].take().map(|v| (at, v))).collect();
                        prop_assert_eq!(flat, expected);
                    }
                    Op::Update(range) => {
                        areas.update(range.clone(), |v| *v = v.wrapping_add(1));
                        range.for_each(|at| if let Some(v) = &mut plain[at as usize] { *v = v.wrapping_add(1) });
                    }
                }
                for at in 0..64 {
                    prop_assert_eq!(areas.get(at).map(|(_, v)| *v), plain[at as usize]);
                }
                let gaps: Vec<_> = areas.gaps(3..61).into_iter().flatten().collect();
                let expected: Vec<_> = (3..61).filter(|at| plain[*at as usize].is_none()).collect();
                prop_assert_eq!(gaps, expected);
            }
        }
    }
}
