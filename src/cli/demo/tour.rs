use std::time::Instant;

use arrow::array::{ArrayRef, AsArray};
use arrow::util::display::array_value_to_string;

use super::premises::Premises;
use crate::cli::failure::{Failure, Result};
use crate::cli::output::{Output, duration, say};
use crate::cli::table::{Table, width_of};
use crate::cli::target::{Rows, Target};

/// A question of the tour. `{today}` is the company's today, `{customer}` its best customer.
struct Stop {
    question: &'static str,
    sql: &'static str,
    /// What there is to see.
    remark: &'static str,
}

const BEST_CUSTOMER: &str = "\
SELECT customer_id FROM erp.invoice GROUP BY customer_id ORDER BY sum(amount) DESC, customer_id LIMIT 1";

const STOPS: &[Stop] = &[
    Stop {
        question: "What is connected?",
        sql: "\
SELECT source, count(*) AS tables, sum(row_estimate) AS rows
FROM system.tables WHERE kind <> 'SYSTEM' AND source <> 'belvedere'
GROUP BY source ORDER BY source",
        remark: "Three databases and a folder of files. All the engine knows is a table, too.",
    },
    Stop {
        question: "How much do customers owe us, and how late are they?",
        sql: "\
SELECT CASE WHEN due >= DATE '{today}' THEN '1 not due'
            WHEN due >= DATE '{today}' - INTERVAL '14 days' THEN '2 up to two weeks late'
            ELSE '3 later' END AS age,
       count(*) AS invoices, sum(amount - paid) AS owed
FROM erp.invoice WHERE paid < amount
GROUP BY 1 ORDER BY 1",
        remark: "One system knows the answer, so as much of the question as possible goes there.",
    },
    Stop {
        question: "Our best customer is on the phone. What do we know?",
        sql: "\
SELECT name, country, orders_90_days AS orders, invoiced, overdue, free_credit, open_complaints AS complaints
FROM customer_360 WHERE customer_id = {customer}",
        remark: "CRM, ERP and shop in one row: the view names the question, the filter reaches each system.",
    },
    Stop {
        question: "Which open orders are worth most, and may we ship them?",
        sql: "\
SELECT order_id, customer, country, value, promised, late, customer_blocked
FROM order_book ORDER BY value DESC, order_id LIMIT 8",
        remark: "Today's orders are in SQLite, older ones in Parquet files; the view joins them with CRM and ERP.",
    },
    Stop {
        question: "What have we promised that is not there?",
        sql: "\
SELECT sku, name, site, usable, ordered, arriving, available_in_14_days AS in_14_days
FROM available_to_promise
WHERE available_now < 0 AND available_in_14_days < 0
ORDER BY available_in_14_days, sku, site LIMIT 8",
        remark: "Stock and purchases from the ERP, demand from the shop, as they are now.",
    },
    Stop {
        question: "What did we earn, month by month?",
        sql: "\
SELECT month, sum(revenue) AS revenue, sum(margin) AS margin,
       round(100.0 * sum(margin) / sum(revenue), 1) AS percent
FROM margin_by_month GROUP BY month ORDER BY month",
        remark: "A third of a million order lines from files meet the ERP's costs.",
    },
    Stop {
        question: "Where does the shop sell at a price the ERP has changed?",
        sql: "\
SELECT p.sku, p.description, p.price AS shop_price, e.price AS erp_price, e.price - p.price AS lost
FROM history.price_list AS p
JOIN erp.price AS e ON e.sku = p.sku
WHERE e.valid_from = (SELECT max(valid_from) FROM erp.price AS newest WHERE newest.sku = e.sku)
  AND e.price <> p.price
ORDER BY lost DESC, p.sku LIMIT 8",
        remark: "A CSV file against a table: what nobody integrated is one join away.",
    },
];

/// Columns, where there is no terminal.
const WIDTH: usize = 120;

/// Show each question, its SQL, what the sources were asked, the answer and the time.
pub async fn walk(target: &dyn Target, premises: &Premises, output: &Output) -> Result<()> {
    let best = first_value(target.execute(BEST_CUSTOMER).await?).await?;
    let bold = |text: String| match output.color() {
        true => format!("\x1b[1m{text}\x1b[0m"),
        false => text,
    };
    for (stop, number) in STOPS.iter().zip(1..) {
        let sql = stop
            .sql
            .replace("{today}", &premises.today.to_string())
            .replace("{customer}", &best);
        let mut text = format!(
            "{}\n\n",
            bold(format!("{number}/{}  {}", STOPS.len(), stop.question))
        );
        sql.lines()
            .for_each(|line| text += &format!("    {line}\n"));
        say(&(text + "\n"))?;

        let started = Instant::now();
        let answer = target.execute(&sql).await?;
        let mut table = Table::new(&answer.schema);
        for batch in answer.collect().await? {
            table.add(&batch, batch.num_rows())?;
        }
        let elapsed = started.elapsed();
        let mut text = String::new();
        let width = output.look().width.unwrap_or(WIDTH);
        for line in sent(target.execute(&format!("EXPLAIN {sql}")).await?).await? {
            let indent = 2 + line.len() - line.trim_start().len();
            for part in folded(line.trim_start(), width.saturating_sub(indent + 2))
                .iter()
                .enumerate()
            {
                let hanging = if part.0 == 0 { indent } else { indent + 2 };
                text += &format!("{}{}\n", " ".repeat(hanging), part.1);
            }
        }
        if !text.is_empty() {
            text.push('\n');
        }
        let rows = if table.rows() == 1 { "row" } else { "rows" };
        text += &format!("{}\n", table.render(output.look()));
        text += &format!(
            "  {} {rows} in {}. {}\n\n",
            table.rows(),
            duration(elapsed),
            stop.remark
        );
        say(&text)?;
    }
    Ok(())
}

/// A line as several that are not wider, cut between words.
fn folded(line: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in line.split(' ') {
        match lines.last_mut() {
            Some(last) if width_of(last) + 1 + width_of(word) <= width => {
                *last += &format!(" {word}")
            }
            _ => lines.push(word.to_string()),
        }
    }
    lines
}

/// The first value of an answer, as text.
async fn first_value(answer: Rows) -> Result<String> {
    let row = first_row(answer).await?;
    Ok(row.into_iter().next().unwrap_or_default())
}

/// The values of an answer's first row, as text. None: it has no row.
pub(super) async fn first_row(answer: Rows) -> Result<Vec<String>> {
    for batch in answer.collect().await? {
        if batch.num_rows() > 0 {
            let text = |column: &ArrayRef| array_value_to_string(column, 0);
            let row: Result<Vec<String>, _> = batch.columns().iter().map(text).collect();
            return row.map_err(|e| Failure::new(format!("an answer cannot be shown: {e}")));
        }
    }
    Ok(Vec::new())
}

/// The lines of a plan that say what each source is sent.
async fn sent(plan: Rows) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    let mut inside = false;
    for batch in plan.collect().await? {
        let Some(texts) = batch.column(0).as_string_opt::<i32>() else {
            continue;
        };
        for line in texts.iter().flatten() {
            inside = ["Sent to", "Read from"]
                .iter()
                .any(|start| line.starts_with(start))
                || (inside && line.starts_with(' '));
            if inside {
                lines.push(line.to_string());
            }
        }
    }
    Ok(lines)
}
