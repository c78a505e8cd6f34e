use std::collections::HashMap;

use tokio_postgres::Statement;

/// Statements that stay prepared on a connection; of more, the one that was not used for the longest goes.
const MOST: usize = 100;

/// What is prepared on one connection, by text: what is asked again and again with other values is parsed and planned by the
/// server once.
#[derive(Default)]
pub struct Statements {
    kept: HashMap<String, (Statement, u64)>,
    uses: u64,
}

impl Statements {
    pub fn get(&mut self, sql: &str) -> Option<Statement> {
        self.uses += 1;
        let (statement, used) = self.kept.get_mut(sql)?;
        *used = self.uses;
        Some(statement.clone())
    }

    pub fn keep(&mut self, sql: &str, statement: Statement) {
        if self.kept.len() >= MOST {
            let oldest = self.kept.iter().min_by_key(|(_, (_, used))| *used);
            if let Some(oldest) = oldest.map(|(sql, _)| sql.clone()) {
                self.kept.remove(&oldest);
            }
        }
        self.kept.insert(sql.to_string(), (statement, self.uses));
    }

    pub fn forget(&mut self, sql: &str) {
        self.kept.remove(sql);
    }
}
