//! For a change of one input: in which order the others are looked up, by which index, and what is carried along.

use datafusion::common::{Result, plan_err};

use super::reading::Reading;

/// A column of an input: the input's number, the column's.
pub(super) type Of = (usize, usize);

/// The way from a change of one input to rows of the join. What is carried is a list of columns, of which steps speak
/// by place.
#[derive(Debug)]
pub(super) struct Path {
    /// Columns of the change that are carried.
    pub(super) columns: Vec<usize>,
    pub(super) steps: Vec<Step>,
    /// The join's output, of what is carried in the end.
    pub(super) output: Vec<usize>,
}

/// A look-up in one more input.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) input: usize,
    /// None: all its rows, since nothing is to be equal.
    pub(super) index: Option<usize>,
    /// What is carried that is looked up, in the order of the index's columns.
    pub(super) keys: Vec<usize>,
    /// What is carried on, and the input's columns that come behind it.
    pub(super) kept: Vec<usize>,
    pub(super) taken: Vec<usize>,
    /// Pairs of what is then carried that must be equal, too.
    pub(super) equal: Vec<(usize, usize)>,
}

/// What is joined.
pub(super) struct Joined<'a> {
    pub(super) inputs: &'a [Reading],
    pub(super) on: &'a [(Of, Of)],
    pub(super) output: &'a [Of],
}

impl Joined<'_> {
    pub(super) fn path(&self, start: usize) -> Result<Path> {
        let mut bound = vec![start];
        let columns: Vec<usize> = self.needed(start, &bound).collect();
        let mut carried: Vec<Of> = columns.iter().map(|&column| (start, column)).collect();
        let mut steps = Vec::new();
        while bound.len() < self.inputs.len() {
            let (input, index) = self.next(&bound)?;
            let at = |of: &Of, carried: &[Of]| {
                let place = carried.iter().position(|carried| carried == of);
                place.expect("a column is carried until it is compared")
            };
            let links = self.links(input, &bound);
            let by: &[usize] = match index {
                Some(index) => self.inputs[input].shape.index_columns(index),
                None => &[],
            };
            // The links that the index has, and others: these are compared when both sides are there.
            let link = |&stored: &usize| {
                let link = self.link(input, stored, &links);
                *link.expect("the index was chosen by its links")
            };
            let used: Vec<(Of, usize)> = by.iter().map(link).collect();
            let keys: Vec<usize> = used.iter().map(|(from, _)| at(from, &carried)).collect();
            let rest: Vec<_> = links.iter().filter(|link| !used.contains(link)).collect();
            bound.push(input);
            let is_carried =
                |of: &Of| self.is_needed(*of, &bound) || rest.iter().any(|(from, _)| from == of);
            let kept: Vec<usize> = (0..carried.len())
                .filter(|&i| is_carried(&carried[i]))
                .collect();
            let mut then: Vec<Of> = kept.iter().map(|&i| carried[i]).collect();
            let is_taken = |column: &usize| {
                self.is_needed((input, *column), &bound) || rest.iter().any(|(_, to)| to == column)
            };
            let all = 0..self.width(input);
            let taken: Vec<usize> = all.filter(is_taken).collect();
            then.extend(taken.iter().map(|&column| (input, column)));
            let equal = rest
                .iter()
                .map(|(from, to)| (at(from, &then), at(&(input, *to), &then)));
            let equal = equal.collect();
            carried = then;
            steps.push(Step {
                input,
                index,
                keys,
                kept,
                taken,
                equal,
            });
        }
        let output = self
            .output
            .iter()
            .map(|of| carried.iter().position(|carried| carried == of));
        let output = output
            .collect::<Option<Vec<_>>>()
            .expect("output is carried to the end");
        Ok(Path {
            columns,
            steps,
            output,
        })
    }

    /// The input to look up next: the one that has an index with the most of what is known; at best its key.
    fn next(&self, bound: &[usize]) -> Result<(usize, Option<usize>)> {
        let mut best: Option<((bool, usize), usize, usize)> = None;
        let mut missing = None;
        let rest = || (0..self.inputs.len()).filter(|input| !bound.contains(input));
        for input in rest() {
            let links = self.links(input, bound);
            let shape = &self.inputs[input].shape;
            for index in 0..shape.index_count() {
                let columns = shape.index_columns(index);
                let is_known = |&stored: &usize| self.link(input, stored, &links).is_some();
                if columns.is_empty() || !columns.iter().all(is_known) {
                    continue;
                }
                let worth = (shape.is_unique(index), columns.len());
                if best.is_none_or(|(best, _, _)| worth > best) {
                    best = Some((worth, input, index));
                }
            }
            if !links.is_empty() {
                missing = Some((input, links[0].1));
            }
        }
        match (best, missing) {
            (Some((_, input, index)), _) => Ok((input, Some(index))),
            (None, Some((input, column))) => {
                let input = &self.inputs[input];
                let column = input.schema().field(column).name();
                plan_err!(
                    "a join needs an index of {} by {column}",
                    input.shape.name()
                )
            }
            (None, None) => Ok((rest().next().expect("not all are bound"), None)),
        }
    }

    /// The link by which a table's column is known.
    fn link<'l>(
        &self,
        input: usize,
        stored: usize,
        links: &'l [(Of, usize)],
    ) -> Option<&'l (Of, usize)> {
        let input = &self.inputs[input];
        let mut links = links.iter();
        links.find(|(_, to)| input.origin(*to) == Some(stored))
    }

    /// What an input's columns must equal, of those that are there already.
    fn links(&self, input: usize, bound: &[usize]) -> Vec<(Of, usize)> {
        let both = self.on.iter().flat_map(|&(a, b)| [(a, b), (b, a)]);
        let links = both.filter(|(from, to)| to.0 == input && bound.contains(&from.0));
        links.map(|(from, to)| (from, to.1)).collect()
    }

    /// Whether a column is output, or will be compared with an input that is not there yet.
    fn is_needed(&self, of: Of, bound: &[usize]) -> bool {
        let mut both = self.on.iter().flat_map(|&(a, b)| [(a, b), (b, a)]);
        self.output.contains(&of) || both.any(|(from, to)| from == of && !bound.contains(&to.0))
    }

    fn needed(&self, input: usize, bound: &[usize]) -> impl Iterator<Item = usize> {
        let all = 0..self.width(input);
        all.filter(move |&column| self.is_needed((input, column), bound))
    }
    fn width(&self, input: usize) -> usize {
        self.inputs[input].schema().fields().len()
    }
}
