//! A plan made into operators over tables.

use std::cell::RefCell;
use std::sync::Arc;

use datafusion::common::{Result, plan_err};

use super::compiled::Input;
use super::dataflow::Operator;
use super::first::First;
use super::join::Join;
use super::keyed::{Arranged, Keyed};
use super::map::Map;
use super::operators::{Constant, EachRow, Grouped, Joined, Mapped, Scanned, Union};
use super::path::Of;
use super::plan::{Plan, partners};
use super::reading::Reading;
use super::relation::{Own, Relation, SharedOwn};
use super::shared::{Shared, SharedOperator, Tap};
use super::single::Single;
use super::timed::Timed;
use super::whole::{Kitchen, Whole};
use crate::store::Shape;

/// What operators are made of.
pub(super) struct Builder<'a> {
    pub(super) inputs: &'a [Input],
    pub(super) shapes: &'a [Arc<Shape>],
    pub(super) kitchen: &'a Kitchen,
    /// How often each input is read.
    pub(super) reads: RefCell<Vec<u64>>,
    /// What subplans have been made into that keep something: one that equals another reads the same.
    pub(super) operators: Known<'a, SharedOperator>,
    pub(super) relations: Known<'a, SharedOwn>,
}

type Known<'a, T> = RefCell<Vec<(&'a Plan, T)>>;

impl<'a> Builder<'a> {
    pub(super) fn build(&self, plan: &'a Plan) -> Result<Box<dyn Operator>> {
        if !plan.keeps_state() {
            return self.anew(plan);
        }
        let from = once(&self.operators, plan, || self.anew(plan))?;
        Ok(Box::new(Tap::new(from)))
    }

    fn anew(&self, plan: &'a Plan) -> Result<Box<dyn Operator>> {
        Ok(match plan {
            Plan::Scan { .. } => Box::new(Scanned(self.relation(plan, &[])?)),
            Plan::Map { .. } if plan.origins(&[]).is_some() => {
                Box::new(Scanned(self.relation(plan, &[])?))
            }
            Plan::Map { .. } => self.mapped(plan)?,
            Plan::Timed { input, key, bounds } => {
                let input = self.build(input)?;
                Box::new(Timed::new(input, key.clone(), bounds.clone())?)
            }
            Plan::Join { inputs, on, schema } => {
                let all: Vec<usize> = (0..schema.fields().len()).collect();
                self.join(inputs, on, &all)?
            }
            Plan::Union { inputs, schema } => {
                let inputs = inputs.iter().map(|input| self.build(input));
                Box::new(Union {
                    inputs: inputs.collect::<Result<_>>()?,
                    schema: schema.clone(),
                })
            }
            Plan::Group {
                input,
                sets,
                aggregates,
                schema,
            } => {
                let input = self.build(input)?;
                let sets = sets.iter().map(|set| {
                    let groups = set.groups(input.schema(), aggregates)?;
                    Ok((groups, set.output.clone()))
                });
                Box::new(Grouped {
                    sets: sets.collect::<Result<_>>()?,
                    input,
                    schema: schema.clone(),
                })
            }
            Plan::First {
                input,
                recipe,
                skip,
                fetch,
            } => {
                let input = self.relation(input, &[])?;
                let sorted = Whole::new(recipe, self.kitchen)?;
                Box::new(First::new(input, sorted, *skip, *fetch))
            }
            Plan::Keyed {
                inputs,
                recipe,
                remembers,
                ..
            } => {
                let inputs = inputs.iter().map(|(input, key)| {
                    let relation = self.relation(input, std::slice::from_ref(key))?;
                    Arranged::new(relation, key.clone())
                });
                let inputs = inputs.collect::<Result<_>>()?;
                let whole = Whole::new(recipe, self.kitchen)?;
                Box::new(Keyed::new(inputs, whole, remembers.clone())?)
            }
            Plan::EachRow {
                input,
                recipe,
                fed,
                schema,
            } => Box::new(EachRow {
                input: self.build(input)?,
                whole: Whole::new(recipe, self.kitchen)?,
                fed: fed.clone(),
                schema: schema.clone(),
            }),
            Plan::Single { input, schema } => Box::new(Single {
                input: self.own(input, &[])?,
                schema: schema.clone(),
            }),
            Plan::Constant(rows) => Box::new(Constant(rows.clone())),
        })
    }

    /// Maps, and the join below them without the columns that they do not read.
    fn mapped(&self, plan: &'a Plan) -> Result<Box<dyn Operator>> {
        let mut maps = Vec::new();
        let mut below = plan;
        while let Plan::Map { input, map } = below {
            maps.push(map.clone());
            below = input;
        }
        maps.reverse();
        let Plan::Join { inputs, on, .. } = below else {
            let input = self.build(below)?;
            return Ok(Box::new(Mapped { input, maps }));
        };
        for i in (0..maps.len()).rev() {
            let reads = maps[i].reads()?;
            let place = |column| reads.binary_search(&column).unwrap_or_default();
            maps[i] = maps[i].moved(&place)?;
            match i.checked_sub(1) {
                Some(before) => maps[before] = maps[before].only(&reads)?,
                None => {
                    let input = self.join(inputs, on, &reads)?;
                    return Ok(Box::new(Mapped { input, maps }));
                }
            }
        }
        self.build(below)
    }

    /// A join that gives some of its columns.
    fn join(
        &self,
        inputs: &'a [Plan],
        on: &[(Of, Of)],
        columns: &[usize],
    ) -> Result<Box<dyn Operator>> {
        let relations = inputs.iter().enumerate();
        let relations = relations.map(|(i, input)| self.relation(input, &partners(i, on)));
        let relations = relations.collect::<Result<Vec<_>>>()?;
        let mut all: Vec<Of> = Vec::new();
        for (i, input) in inputs.iter().enumerate() {
            all.extend((0..input.schema().fields().len()).map(|column| (i, column)));
        }
        let output: Vec<Of> = columns.iter().map(|&column| all[column]).collect();
        let readings = relations.iter().map(|relation| relation.reading.clone());
        let join = Join::over(readings.collect(), on, &output)?;
        Ok(Box::new(Joined {
            inputs: relations,
            join,
        }))
    }

    /// What can be looked up by each of some lists of columns.
    fn relation(&self, plan: &'a Plan, by: &[Vec<usize>]) -> Result<Relation> {
        if plan.lookups(by).is_some() {
            let mut maps: Vec<Map> = Vec::new();
            let mut below = plan;
            while let Plan::Map { input, map } = below {
                maps.push(map.clone());
                below = input;
            }
            maps.reverse();
            if let Plan::Scan {
                input,
                columns,
                schema,
            } = below
            {
                let shape = self.shapes[*input].clone();
                let names = columns.iter().map(|&i| &self.inputs[*input].columns[i]);
                let columns = names.zip(schema.fields()).map(|(name, field)| {
                    let found = shape.schema().column_with_name(name);
                    match found.filter(|(_, kept)| kept.data_type() == field.data_type()) {
                        Some((i, _)) => Ok(i),
                        None => {
                            let of = field.data_type();
                            plan_err!("table {} has no column {name} of {of}", shape.name())
                        }
                    }
                });
                let columns = columns.collect::<Result<Vec<usize>>>()?;
                self.reads.borrow_mut()[*input] += 1;
                return Ok(Relation::input(*input, Reading::new(shape, columns, maps)?));
            }
        }
        self.own(plan, by)
    }

    /// What has to be kept to be looked up.
    fn own(&self, plan: &'a Plan, by: &[Vec<usize>]) -> Result<Relation> {
        let own = once(&self.relations, plan, || Ok(Own::new(self.build(plan)?)))?;
        Relation::own(own, by)
    }

    pub(super) fn check(&self) -> Result<()> {
        match self.inputs.len() == self.shapes.len() {
            true => Ok(()),
            false => plan_err!("a view of {} tables is given others", self.inputs.len()),
        }
    }
}

/// A reader of what a plan has been made into, or is now.
fn once<'a, State, Given: Clone>(
    known: &Known<'a, Shared<State, Given>>,
    plan: &'a Plan,
    make: impl FnOnce() -> Result<State>,
) -> Result<Shared<State, Given>> {
    let equal = |(other, shared): &(&Plan, Shared<_, _>)| (*other == plan).then(|| shared.reader());
    if let Some(reader) = known.borrow().iter().find_map(equal) {
        return Ok(reader);
    }
    let shared = Shared::new(make()?);
    let reader = shared.reader();
    known.borrow_mut().push((plan, shared));
    Ok(reader)
}
