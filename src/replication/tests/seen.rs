/// How often things happened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    pub steps: usize,
    pub epochs: usize,
    pub restarts: usize,
    pub replayed: usize,
    pub snapshots: usize,
    pub losses: usize,
    pub late: usize,
    pub blocked: usize,
    pub disk_faults: usize,
    pub source_faults: usize,
    pub held: usize,
    pub rewritten: usize,
    pub renewed: usize,
}

impl Seen {
    pub fn and(self, other: Self) -> Self {
        Self {
            steps: self.steps + other.steps,
            epochs: self.epochs + other.epochs,
            restarts: self.restarts + other.restarts,
            replayed: self.replayed + other.replayed,
            snapshots: self.snapshots + other.snapshots,
            losses: self.losses + other.losses,
            late: self.late + other.late,
            blocked: self.blocked + other.blocked,
            disk_faults: self.disk_faults + other.disk_faults,
            source_faults: self.source_faults + other.source_faults,
            held: self.held + other.held,
            rewritten: self.rewritten + other.rewritten,
            renewed: self.renewed + other.renewed,
        }
    }

    pub fn is_all_there(&self) -> bool {
        let all = [
            self.epochs,
            self.restarts,
            self.replayed,
            self.snapshots,
            self.losses,
            self.late,
            self.blocked,
            self.disk_faults,
            self.source_faults,
            self.held,
            self.rewritten,
            self.renewed,
        ];
        all.iter().all(|count| *count > 0)
    }
}
