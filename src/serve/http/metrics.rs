//! What monitors ask for, in Prometheus' text format. Nothing is counted here: the engine and the servers do that anyway.

use std::fmt::Write;
use std::time::Instant;

use crate::engine::Figures;
use crate::serve::listen::Clients;

/// States of a view, as `system.views` has them.
const STATES: &[&str] = &["filling", "live", "failed", "blocked", "paused"];

pub(super) fn text(figures: &Figures, clients: &Clients, begun: Instant) -> String {
    let mut page = Page::default();
    page.family("belvedere_build_info", "gauge", "The version that runs.");
    page.value(
        "belvedere_build_info",
        &[("version", env!("CARGO_PKG_VERSION"))],
        1.0,
    );
    page.family(
        "belvedere_uptime_seconds",
        "gauge",
        "Since this server began.",
    );
    page.value(
        "belvedere_uptime_seconds",
        &[],
        begun.elapsed().as_secs_f64(),
    );
    if let Some(bytes) = resident_bytes() {
        let name = "process_resident_memory_bytes";
        page.family(name, "gauge", "Memory of the process.");
        page.value(name, &[], bytes as f64);
    }
    connections(&mut page, clients);
    statements(&mut page, figures);
    memory(&mut page, figures);
    results(&mut page, figures);
    sources(&mut page, figures);
    views(&mut page, figures);
    page.0
}

fn connections(page: &mut Page, clients: &Clients) {
    let counted = clients.counted();
    let name = "belvedere_connections";
    page.family(name, "gauge", "Connections of clients that are open.");
    for (protocol, open, _) in &counted {
        page.value(name, &[("protocol", protocol)], *open as f64);
    }
    let name = "belvedere_connections_accepted_total";
    page.family(name, "counter", "Connections of clients since the start.");
    for (protocol, _, accepted) in &counted {
        page.value(name, &[("protocol", protocol)], *accepted as f64);
    }
}

fn statements(page: &mut Page, figures: &Figures) {
    let statements = &figures.statements;
    let name = "belvedere_statements_running";
    page.family(name, "gauge", "Statements that run.");
    page.value(name, &[], statements.running as f64);
    let name = "belvedere_statements_total";
    page.family(name, "counter", "Statements that ended, by how.");
    for (outcome, count) in [
        ("finished", statements.finished),
        ("failed", statements.failed),
        ("cancelled", statements.cancelled),
    ] {
        page.value(name, &[("outcome", outcome)], count as f64);
    }
    let name = "belvedere_rows_total";
    page.family(name, "counter", "Rows that statements answered.");
    page.value(name, &[], statements.rows as f64);
    let name = "belvedere_statement_seconds";
    page.family(
        name,
        "histogram",
        "How long statements took, to their last row.",
    );
    let mut all = 0;
    for (bound, count) in &statements.took {
        let bound = bound.map_or("+Inf".to_string(), |bound| bound.to_string());
        page.value(&format!("{name}_bucket"), &[("le", &bound)], *count as f64);
        all = *count;
    }
    page.value(&format!("{name}_sum"), &[], statements.took_seconds);
    page.value(&format!("{name}_count"), &[], all as f64);
    let name = "belvedere_subscriptions";
    page.family(name, "gauge", "Clients that are told of changes.");
    page.value(name, &[], figures.subscriptions as f64);
}

fn memory(page: &mut Page, figures: &Figures) {
    let name = "belvedere_statement_memory_bytes";
    page.family(name, "gauge", "What statements hold.");
    page.value(name, &[], figures.statement_bytes as f64);
    let name = "belvedere_kept_memory_bytes";
    page.family(
        name,
        "gauge",
        "What is in memory for views that are kept by change.",
    );
    page.value(name, &[], figures.kept_bytes as f64);
    if let Some(limit) = figures.kept_limit {
        let name = "belvedere_kept_memory_limit_bytes";
        page.family(name, "gauge", "How much of it there may be.");
        page.value(name, &[], limit as f64);
    }
}

fn results(page: &mut Page, figures: &Figures) {
    let results = &figures.results;
    let name = "belvedere_result_cache_bytes";
    page.family(name, "gauge", "What answers take that may be told again.");
    page.value(name, &[], results.bytes as f64);
    let name = "belvedere_result_cache_results";
    page.family(name, "gauge", "How many there are.");
    page.value(name, &[], results.results as f64);
    let name = "belvedere_result_cache_total";
    page.family(
        name,
        "counter",
        "Statements that might be told what another was told, by whether they were.",
    );
    for (outcome, count) in [("hit", results.hits), ("miss", results.misses)] {
        page.value(name, &[("outcome", outcome)], count as f64);
    }
}

fn sources(page: &mut Page, figures: &Figures) {
    let sources = &figures.sources;
    let name = "belvedere_source_up";
    page.family(
        name,
        "gauge",
        "Whether a source answered when it was asked last.",
    );
    for source in sources {
        if let Some(is_up) = source.is_up {
            let labels = [
                ("source", source.name.as_str()),
                ("connector", source.connector),
            ];
            page.value(name, &labels, f64::from(u8::from(is_up)));
        }
    }
    let name = "belvedere_source_breaker_open";
    page.family(
        name,
        "gauge",
        "1: it is left alone; 0.5: one query tries; 0: it is asked.",
    );
    for source in sources {
        let open = match source.breaker {
            "open" => 1.0,
            "half-open" => 0.5,
            _ => 0.0,
        };
        page.value(name, &[("source", &source.name)], open);
    }
    let name = "belvedere_source_connections_in_use";
    page.family(name, "gauge", "Streams that are read from a source.");
    for source in sources {
        page.value(name, &[("source", &source.name)], source.running as f64);
    }
    let name = "belvedere_source_connections_limit";
    page.family(name, "gauge", "How many there may be.");
    for source in sources {
        if let Some(most) = source.max_connections {
            page.value(name, &[("source", &source.name)], most as f64);
        }
    }
    let name = "belvedere_source_waiting";
    page.family(name, "gauge", "Scans that wait for a place at a source.");
    for source in sources {
        page.value(name, &[("source", &source.name)], source.waiting as f64);
    }
}

fn views(page: &mut Page, figures: &Figures) {
    let views = &figures.views;
    let name = "belvedere_view_state";
    page.family(
        name,
        "gauge",
        "1 for the state that a materialized view is in.",
    );
    for view in views {
        for state in STATES {
            let is = f64::from(u8::from(view.state == *state));
            let labels = [
                ("schema", view.schema.as_str()),
                ("view", &view.name),
                ("state", state),
            ];
            page.value(name, &labels, is);
        }
    }
    let of = |page: &mut Page,
              name: &str,
              help: &str,
              get: &dyn Fn(&crate::engine::ViewFigures) -> Option<f64>| {
        page.family(name, "gauge", help);
        for view in views {
            if let Some(value) = get(view) {
                let labels = [
                    ("schema", view.schema.as_str()),
                    ("view", view.name.as_str()),
                ];
                page.value(name, &labels, value);
            }
        }
    };
    of(page, "belvedere_view_rows", "Rows that it has.", &|view| {
        Some(view.rows? as f64)
    });
    of(
        page,
        "belvedere_view_age_seconds",
        "How old they are, at most.",
        &|view| Some(view.age?.as_secs_f64()),
    );
    of(
        page,
        "belvedere_view_max_staleness_seconds",
        "How old they may be.",
        &|view| Some(view.max_staleness?.as_secs_f64()),
    );
    of(
        page,
        "belvedere_view_memory_bytes",
        "What is in memory for it.",
        &|view| Some(view.bytes? as f64),
    );
}

#[cfg(target_os = "linux")]
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes << 10)
}

#[cfg(not(target_os = "linux"))]
fn resident_bytes() -> Option<u64> {
    None
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn value(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.0.push_str(name);
        for (at, (label, text)) in labels.iter().enumerate() {
            self.0.push(if at == 0 { '{' } else { ',' });
            let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
            let _ = write!(self.0, "{label}=\"{}\"", escaped.replace('\n', "\\n"));
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::Page;

    #[test]
    fn labels_are_escaped() {
        let mut page = Page::default();
        page.value("m", &[("a", "x\"y\\z\n"), ("b", "é")], 1.5);
        assert_eq!(page.0, "m{a=\"x\\\"y\\\\z\\n\",b=\"é\"} 1.5\n");
    }
}
