use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, BooleanArray, Float64Array};
use datafusion::common::Result;
use datafusion::common::cast::as_float64_array;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion_functions_aggregate_common::aggregate::groups_accumulator::accumulate::accumulate;
use datafusion_functions_aggregate_common::aggregate::groups_accumulator::nulls::filtered_null_mask;

use super::moments::{Moments, States, Statistic, each_state};

/// A statistic of each group.
pub(super) struct ExactGroups<const SUMS: usize> {
    statistic: Statistic,
    groups: Vec<Moments<SUMS>>,
    /// Bytes of all groups on the heap: they are too many to be asked.
    heap: usize,
}

impl<const SUMS: usize> ExactGroups<SUMS> {
    pub(super) fn new(statistic: Statistic) -> Self {
        Self {
            statistic,
            groups: Vec::new(),
            heap: 0,
        }
    }

    fn take(&mut self, emit_to: EmitTo) -> Vec<Moments<SUMS>> {
        let taken = emit_to.take_needed(&mut self.groups);
        self.heap -= taken.iter().map(Moments::size).sum::<usize>();
        taken
    }
}

impl<const SUMS: usize> GroupsAccumulator for ExactGroups<SUMS> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.groups.resize_with(total_num_groups, Moments::default);
        let values = as_float64_array(&values[0])?;
        accumulate(group_indices, values, opt_filter, |group, x| {
            self.heap += self.groups[group].add(x);
        });
        Ok(())
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.groups.resize_with(total_num_groups, Moments::default);
        each_state(values, |row, moments| {
            self.heap += self.groups[group_indices[row]].merge(&moments);
        })
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let groups = self.take(emit_to);
        let values = groups.iter().map(|group| self.statistic.of(group));
        Ok(Arc::new(values.collect::<Float64Array>()))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let groups = self.take(emit_to);
        let mut states = States::with_capacity(groups.len());
        groups.iter().for_each(|group| states.push(group));
        Ok(states.finish())
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let values = as_float64_array(&values[0])?;
        let nulls = filtered_null_mask(opt_filter, values);
        let mut states = States::<SUMS>::with_capacity(values.len());
        for (row, &x) in values.values().iter().enumerate() {
            let mut moments = Moments::default();
            if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
                moments.add(x);
            }
            states.push(&moments);
        }
        Ok(states.finish())
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.groups.capacity() * size_of::<Moments<SUMS>>() + self.heap
    }
}
