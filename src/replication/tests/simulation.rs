//! One history: what happens, in an order that its seed says, and what has to hold after each step.

use std::collections::BTreeMap;

use belvedere_connector::{Code, Position};
use belvedere_memory::{Fault, Image, LogFault};
use fastrand::Rng;
use futures::FutureExt;

use super::disk::{DISK_FAULTS, Disk};
use super::flows::{Compiled, View};
use super::seen::Seen;
use super::world::{Bag, SPECS, Spec, World, bag};
use crate::replication::{Epoch, Positions, Published, Reader, Replication, State};

pub struct Simulation<'a> {
    rng: Rng,
    compiled: &'a Compiled,
    worlds: BTreeMap<&'static str, World>,
    disk: Disk,
    replication: Replication,
    reader: Reader,
    views: Vec<View>,
    /// What somebody has read.
    session: Session,
    /// Where epochs were published.
    published: BTreeMap<u64, Positions>,
    /// Losses by source up to which readers have been checked, and how many snapshots it may have made by now.
    restarted: BTreeMap<&'static str, Option<(usize, usize)>>,
    acknowledged: BTreeMap<&'static str, Position>,
    is_told: bool,
    pub seen: Seen,
}

#[derive(Default)]
struct Session {
    positions: Positions,
    epoch: u64,
}

impl<'a> Simulation<'a> {
    pub fn new(seed: u64, compiled: &'a Compiled, is_told: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let worlds = ["a", "b"].map(|name| (name, World::new(name, &mut rng)));
        let worlds = BTreeMap::from(worlds);
        // The engine's own files cost more time.
        let disk = match seed % 4 {
            3 => Disk::files(),
            _ => Disk::default(),
        };
        let replication = open(&disk, &worlds);
        let mut simulation = Self {
            rng,
            compiled,
            disk,
            reader: replication.reader(),
            replication,
            views: View::all(compiled),
            session: Session::default(),
            published: BTreeMap::new(),
            restarted: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            worlds,
            is_told,
            seen: Seen::default(),
        };
        for name in ["a", "b"] {
            simulation.set_log(name);
        }
        for spec in &SPECS {
            if simulation.rng.usize(0..3) > 0 {
                simulation.add(spec);
            }
        }
        simulation
    }

    /// `steps` of them, then all is well again, and everything comes to where the sources are.
    pub fn run(&mut self, steps: usize) {
        for _ in 0..steps {
            self.step();
            self.check();
            self.seen.steps += 1;
        }
        self.settle();
        let worlds = self.worlds.values();
        self.seen.snapshots = worlds.clone().map(|world| world.source.snapshots()).sum();
        self.seen.losses = worlds.clone().map(|world| world.losses).sum();
        self.seen.rewritten = worlds.map(|world| world.rewritten.len()).sum();
    }

    fn tell(&self, what: impl FnOnce() -> String) {
        if self.is_told {
            eprintln!("{:4} {}", self.seen.steps, what());
        }
    }

    fn step(&mut self) {
        let name = ["a", "b"][self.rng.usize(0..2)];
        let spec = &SPECS[self.rng.usize(0..SPECS.len())];
        match self.rng.usize(0..100) {
            0..=24 => {
                let (world, rng) = (self.worlds.get_mut(name), &mut self.rng);
                world.unwrap().commit(rng);
                self.tell(|| format!("commit {name}"));
            }
            25..=54 => {
                for _ in 0..self.rng.usize(1..6) {
                    self.advance(name);
                }
            }
            55..=74 => {
                self.cut();
            }
            75..=79 => self.checkpoint(),
            80 | 81 => self.restart(),
            82 | 83 => self.add(spec),
            84 | 85 => self.source_fault(name),
            86 | 87 => self.disk_fault(),
            88 | 89 => self.world(name).trim(),
            90 => {
                self.tell(|| format!("truncate {name}"));
                self.world(name).truncate();
            }
            91 => {
                self.tell(|| format!("rewind {name}"));
                let (world, rng) = (self.worlds.get_mut(name), &mut self.rng);
                world.unwrap().rewind(rng);
            }
            92 => {
                self.tell(|| format!("alter {name}"));
                let (world, rng) = (self.worlds.get_mut(name), &mut self.rng);
                world.unwrap().alter(rng);
            }
            93 | 94 => self.world(name).source.keep_alive(),
            95 => self.set_log(name),
            96 => self.remove(),
            97 => self.room(name),
            _ => {
                for name in ["a", "b"] {
                    self.world(name).source.inject(Fault::None);
                    self.world(name).source.inject_log(LogFault::None);
                }
                self.disk.heal();
            }
        }
    }

    fn world(&mut self, name: &str) -> &mut World {
        self.worlds.get_mut(name).unwrap()
    }

    fn set_log(&mut self, name: &str) {
        let image = [Image::Whole, Image::Key, Image::Difference][self.rng.usize(0..3)];
        let (rows, again) = (self.rng.usize(1..4), self.rng.u64(0..3));
        self.world(name).source.set_log(image, rows, again);
    }

    fn source_fault(&mut self, name: &str) {
        self.seen.source_faults += 1;
        let after = self.rng.usize(0..4);
        let code = Code::Unreachable;
        let (log, fault) = match self.rng.usize(0..6) {
            0 | 1 => (LogFault::CutAfter(after), Fault::None),
            2 => (LogFault::Stall, Fault::None),
            3 => (LogFault::AcknowledgeLost, Fault::None),
            4 => (LogFault::AcknowledgeUnheard, Fault::None),
            _ if after == 0 => (LogFault::None, Fault::Down(code)),
            _ => (
                LogFault::None,
                Fault::FailAt {
                    batch: after - 1,
                    code,
                },
            ),
        };
        self.tell(|| format!("{name}: {log:?} {fault:?}"));
        self.world(name).source.inject_log(log);
        self.world(name).source.inject(fault);
    }

    /// There is no room for what comes, or there is again.
    fn room(&mut self, name: &str) {
        let states = self.replication.states();
        let replica = states.keys().nth(self.rng.usize(0..states.len().max(1)));
        match (self.rng.usize(0..5), replica) {
            (4, Some(replica)) => {
                let renewed = self.replication.renew(replica);
                self.tell(|| format!("renew {replica}: {renewed}"));
                self.restarted.insert(spec_of(replica).0.source, None);
                self.seen.renewed += usize::from(renewed);
            }
            (0 | 1, Some(replica)) => {
                self.tell(|| format!("hold {replica}"));
                self.replication.hold(replica, true);
                self.seen.held += 1;
            }
            (2, Some(replica)) => self.replication.hold(replica, false),
            _ => {
                self.tell(|| format!("drop pieces of {name}"));
                self.replication.drop_pieces(name);
            }
        }
    }

    fn disk_fault(&mut self) {
        self.seen.disk_faults += 1;
        let fault = DISK_FAULTS[self.rng.usize(0..DISK_FAULTS.len())];
        let after = self.rng.usize(0..8);
        self.tell(|| format!("disk: {fault:?} after {after}"));
        self.disk.fail(after, fault);
    }

    /// Follow a table that is not followed: from the beginning, or late.
    fn add(&mut self, spec: &'static Spec) {
        let variant = self.worlds[spec.source].variant(spec);
        let name = replica(spec, variant);
        let states = self.replication.states();
        let is_followed = |(name, state): (&String, &State)| {
            spec_of(name).0.name == spec.name && !matches!(state, State::Blocked { .. })
        };
        if states.contains_key(&name) || states.iter().any(is_followed) {
            return;
        }
        let added = self.replication.add(&name, spec.wanted(variant));
        self.tell(|| format!("add {name}: {added:?}"));
        self.restarted.insert(spec.source, None);
        self.seen.late += usize::from(!self.published.is_empty());
        self.after_disk();
    }

    fn remove(&mut self) {
        let states = self.replication.states();
        let mut blocked = states
            .iter()
            .filter(|(_, state)| matches!(state, State::Blocked { .. }));
        if let Some((name, _)) = blocked.next() {
            let removed = self.replication.remove(name);
            self.tell(|| format!("remove {name}: {removed:?}"));
            // Another table of that name is none that a view was on.
            let fresh = View::all(self.compiled).into_iter();
            for (view, fresh) in self.views.iter_mut().zip(fresh) {
                if view.is_on(name) {
                    *view = fresh;
                }
            }
            self.after_disk();
        }
    }

    /// One step with a source, if it has something. Whether it has.
    fn advance(&mut self, name: &'static str) -> bool {
        let moved = self.replication.advance(name).now_or_never();
        self.tell(|| format!("advance {name}: {moved:?}"));
        matches!(moved, Some(Ok(true)))
    }

    /// All that a source has. Whether there was something.
    fn drain(&mut self, name: &'static str) -> bool {
        // A broken stream is an error, and so is what is asked for while it is not known to be broken.
        let (mut is_moved, mut idle) = (false, 0);
        for step in 0.. {
            assert!(step < 10_000, "{name} goes on without end");
            if idle == 3 {
                break;
            }
            match self.advance(name) {
                true => (is_moved, idle) = (true, 0),
                false => idle += 1,
            }
        }
        is_moved
    }

    /// An epoch, all the way. Whether there was one, or the one before is shown only now.
    fn cut(&mut self) -> bool {
        let was = self.replication.states();
        let cut = self.replication.cut();
        self.tell(|| {
            format!(
                "cut {:?}",
                cut.as_ref().map(|e| e.as_ref().map(|e| &e.boundary))
            )
        });
        let epoch = match cut {
            _ if self.disk.is_crashed() => None,
            Ok(epoch) => epoch,
            Err(_) => None,
        };
        if let Some(epoch) = &epoch {
            self.flow(epoch);
            self.seen.epochs += 1;
            let is_blocked = |(name, state): (&String, &State)| {
                matches!(state, State::Blocked { .. }) && was.get(name) != Some(state)
            };
            let states = self.replication.states();
            self.seen.blocked += states.iter().filter(|(n, s)| is_blocked((n, s))).count();
        }
        let mut is_shown = false;
        if !self.disk.is_crashed() {
            let shown = self.reader.published().boundary.epoch;
            let published = self.replication.publish();
            self.tell(|| format!("publish {published:?}"));
            if !self.disk.is_crashed() && published.is_ok() {
                let newest = self.reader.published();
                if newest.boundary.epoch != shown {
                    is_shown = true;
                    self.shown(&newest);
                }
            }
        }
        self.after_disk();
        epoch.is_some() || is_shown
    }

    fn checkpoint(&mut self) {
        let saved = self.replication.checkpoint();
        self.tell(|| format!("checkpoint {saved:?}"));
        self.after_disk();
    }

    fn after_disk(&mut self) {
        if self.disk.is_crashed() {
            self.restart();
        }
    }

    /// kill -9.
    fn restart(&mut self) {
        self.tell(|| "restart".into());
        self.seen.restarts += 1;
        self.disk.crash(&mut self.rng);
        self.replication = open(&self.disk, &self.worlds);
        // Whatever failed: what a checkpoint names is there.
        assert_eq!(self.replication.lost(), BTreeMap::new());
        self.reader = self.replication.reader();
        self.views = View::all(self.compiled);
        let (checkpoint, recorded) = self.disk.certain();
        self.seen.replayed += recorded.len();
        for (name, world) in &self.worlds {
            // What is in a checkpoint is not read again, as long as the log reaches back to it.
            let replicas = checkpoint.iter().flat_map(|c| c.replicas.values());
            let mut mine = replicas.filter(|kept| kept.wanted.source == *name);
            let is_whole = mine.all(|kept| kept.state != State::Asked)
                && (checkpoint.iter())
                    .filter_map(|c| c.boundary.positions.get(*name))
                    .all(|position| {
                        let is_told = |rewritten: &Position| rewritten <= position;
                        let is_there = world.source.tables_at(position).is_ok();
                        is_there && world.rewritten.iter().all(is_told)
                    });
            let frozen = is_whole.then(|| (world.losses, world.source.snapshots()));
            self.restarted.insert(name, frozen);
        }
        // What was durable is what it says it is.
        let published = self.reader.published();
        for (name, (state, content)) in &published.tables {
            self.is_as_it_was(name, state, &bag(content), &published.boundary.positions);
        }
        self.views_of(&published);
    }

    /// Views begin with what a checkpoint has.
    fn views_of(&mut self, published: &Published) {
        let changed = |(name, (state, content)): (&String, &(State, crate::store::Pinned))| {
            let changed = crate::replication::Changed {
                state: state.clone(),
                before: content.clone(),
                change: None,
                after: content.clone(),
                touched: crate::replication::Touched::No,
            };
            (name.clone(), changed)
        };
        let epoch = Epoch {
            boundary: published.boundary.clone(),
            replicas: published.tables.iter().map(changed).collect(),
            told: BTreeMap::new(),
        };
        if epoch.boundary.epoch > 0 {
            self.flow(&epoch);
        }
    }

    fn flow(&mut self, epoch: &Epoch) {
        let content = epoch.replicas.iter().filter_map(|(name, changed)| {
            let (spec, _) = spec_of(name);
            let at = epoch.boundary.positions.get(spec.source)?;
            let content = self.worlds[spec.source].was.get(at)?;
            changed
                .state
                .is_readable()
                .then(|| (name.clone(), content[spec.name].1.clone()))
        });
        let content: BTreeMap<String, Bag> = content.collect();
        for view in &mut self.views {
            view.step(self.compiled, epoch, &content);
            view.check();
        }
    }

    /// A replica has what its source had there: nothing is lost, nothing there twice, and no position ahead of it.
    fn is_as_it_was(&self, name: &str, state: &State, content: &Bag, positions: &Positions) {
        let (spec, variant) = spec_of(name);
        let at = match state {
            State::Blocked { at: Some(at), .. } => at,
            _ => &positions[spec.source],
        };
        let was = &self.worlds[spec.source].was[at][spec.name];
        assert_eq!(
            (variant, content),
            (was.0, &was.1),
            "{name} {state:?} at {at}"
        );
    }

    fn shown(&mut self, newest: &Published) {
        let Published {
            boundary,
            tables,
            behind,
        } = newest;
        for (name, (state, content)) in tables {
            self.is_as_it_was(name, state, &bag(content), &boundary.positions);
        }
        // A restart comes to it again.
        let (checkpoint, recorded) = self.disk.certain();
        let is_durable = checkpoint.is_some_and(|c| c.boundary.epoch >= boundary.epoch)
            || recorded.iter().any(|other| other.epoch == boundary.epoch);
        assert!(
            is_durable,
            "epoch {} is shown, and not durable",
            boundary.epoch
        );
        if let Some(before) = self.published.get(&boundary.epoch) {
            for (name, world) in &self.worlds {
                let (before, now) = (before.get(*name), boundary.positions.get(*name));
                assert!(
                    before == now || world.losses > 0,
                    "epoch {} was {before:?}, and is {now:?}",
                    boundary.epoch
                );
            }
        }
        self.published
            .insert(boundary.epoch, boundary.positions.clone());
        self.read(boundary.epoch, &boundary.positions, behind);
    }

    /// Somebody reads what may be read without a bound.
    fn read(&mut self, epoch: u64, positions: &Positions, behind: &[String]) {
        for (name, now) in positions.iter().filter(|(name, _)| !behind.contains(name)) {
            if let Some(before) = self.session.positions.insert(name.clone(), now.clone()) {
                let is_later = before <= *now || before.timeline() < now.timeline();
                assert!(is_later, "{name} was read at {before}, then at {now}");
            }
        }
        if behind.is_empty() {
            assert!(
                epoch >= self.session.epoch,
                "epoch {epoch} is read after a later one"
            );
            self.session.epoch = epoch;
        }
    }

    fn check(&mut self) {
        for (name, world) in &self.worlds {
            if let Some(acknowledged) = world.source.acknowledged()
                && self.acknowledged.get(name) != Some(&acknowledged)
            {
                let certain = self.disk.certain().0.expect("a checkpoint");
                let durable = &certain.boundary.positions[*name];
                assert!(
                    acknowledged <= *durable,
                    "{name} may forget up to {acknowledged}, durable is {durable}"
                );
                self.acknowledged.insert(name, acknowledged);
            }
            if let Some(Some((losses, snapshots))) = self.restarted.get(name)
                && *losses == world.losses
            {
                assert_eq!(*snapshots, world.source.snapshots(), "{name} is read again");
            }
        }
    }

    /// What went wrong is mended: everything comes to where its source is.
    fn settle(&mut self) {
        self.tell(|| "settle".into());
        for world in self.worlds.values() {
            world.source.inject(Fault::None);
            world.source.inject_log(LogFault::None);
        }
        self.disk.heal();
        for name in self.replication.states().into_keys() {
            self.replication.hold(&name, false);
        }
        for round in 0.. {
            assert!(round < 200, "it does not come to rest");
            let mut is_moved = false;
            for name in ["a", "b"] {
                is_moved |= self.drain(name);
            }
            is_moved |= self.cut();
            self.check();
            if !is_moved {
                break;
            }
        }
        let published = self.reader.published();
        for (name, state) in self.replication.states() {
            let (spec, variant) = spec_of(&name);
            let world = &self.worlds[spec.source];
            match &state {
                State::Live => {
                    let at = &published.boundary.positions[spec.source];
                    assert_eq!(*at, world.source.head(), "{name} is at rest");
                    let content = &published.tables[&name].1;
                    assert_eq!((variant, bag(content)), world.now()[spec.name]);
                }
                State::Blocked { .. } => {
                    let mut was = world.was.values().filter_map(|was| was.get(spec.name));
                    let is_altered = was.any(|(other, _)| *other != variant);
                    assert!(is_altered, "{name}: {state:?}");
                }
                _ => panic!("{name} is {state:?} at rest"),
            }
        }
        self.checkpoint();
        for name in ["a", "b"] {
            self.drain(name);
            self.check();
            let states = self.replication.states();
            let is_mine = |(replica, _): &(&String, &State)| spec_of(replica).0.source == name;
            // Else it may be that nobody is to come to where it stood.
            if states
                .iter()
                .filter(is_mine)
                .any(|(_, state)| *state == State::Live)
            {
                let reached = published.boundary.positions.get(name);
                assert_eq!(self.worlds[name].source.acknowledged().as_ref(), reached);
                assert!(
                    !published.behind.contains(&name.to_string()),
                    "{name} is behind"
                );
            }
        }
    }
}

fn open(disk: &Disk, worlds: &BTreeMap<&'static str, World>) -> Replication {
    let sources = worlds.iter().map(|(name, world)| {
        let source: std::sync::Arc<dyn belvedere_connector::Source> =
            std::sync::Arc::new(world.source.clone());
        (name.to_string(), source)
    });
    Replication::open(disk.open(), sources.collect()).unwrap()
}

/// A replica's name: views are on those of the tables as they were first.
fn replica(spec: &Spec, variant: u32) -> String {
    match variant {
        0 => spec.name.into(),
        _ => format!("{}.{variant}", spec.name),
    }
}

fn spec_of(replica: &str) -> (&'static Spec, u32) {
    let (name, variant) = replica.split_once('.').unwrap_or((replica, "0"));
    let spec = SPECS.iter().find(|spec| spec.name == name).unwrap();
    (spec, variant.parse().unwrap())
}
