use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Time64MicrosecondType,
    TimeUnit, TimestampMicrosecondType,
};
use arrow::util::display::array_value_to_string;

/// Rows of one INSERT.
const ROWS: usize = 250;

/// How a SQL system writes names, types and constants.
pub trait SqlNames: Send + Sync {
    fn quoted(&self, name: &str) -> String {
        format!("\"{}\"", name.replace('"', "\"\""))
    }

    /// The column type that holds every value of this one.
    fn type_name(&self, data_type: &DataType) -> String;

    fn text(&self, value: &str) -> String {
        format!("'{}'", value.replace('\'', "''"))
    }

    fn binary(&self, value: &[u8]) -> String {
        format!("X'{}'", hex(value))
    }

    fn boolean(&self, value: bool) -> String {
        if value { "true" } else { "false" }.to_string()
    }

    fn float(&self, value: f64) -> String {
        // Seventeen digits name a double.
        format!("{value:e}")
    }

    /// A date, time or timestamp from its ISO text.
    fn moment(&self, _data_type: &DataType, text: &str) -> String {
        format!("'{text}'")
    }
}

pub fn hex(value: &[u8]) -> String {
    value.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `CREATE TABLE` and `INSERT` for a batch.
pub(crate) fn statements(sql: &dyn SqlNames, table: &str, data: &RecordBatch) -> Vec<String> {
    let name = sql.quoted(table);
    let schema = data.schema();
    let columns: Vec<_> = schema
        .fields()
        .iter()
        .map(|f| {
            let null = if f.is_nullable() { "" } else { " NOT NULL" };
            format!(
                "{} {}{null}",
                sql.quoted(f.name()),
                sql.type_name(f.data_type())
            )
        })
        .collect();
    let mut statements = vec![
        format!("DROP TABLE IF EXISTS {name}"),
        format!("CREATE TABLE {name} ({})", columns.join(", ")),
    ];
    for start in (0..data.num_rows()).step_by(ROWS) {
        let rows: Vec<_> = (start..data.num_rows().min(start + ROWS))
            .map(|row| {
                let values: Vec<_> = data
                    .columns()
                    .iter()
                    .map(|c| constant(sql, c.as_ref(), row))
                    .collect();
                format!("({})", values.join(", "))
            })
            .collect();
        statements.push(format!("INSERT INTO {name} VALUES {}", rows.join(", ")));
    }
    statements
}

fn constant(sql: &dyn SqlNames, array: &dyn Array, row: usize) -> String {
    if array.is_null(row) {
        return "NULL".to_string();
    }
    let iso = |text: Option<String>| text.expect("a moment within the calendar");
    match array.data_type() {
        DataType::Utf8 => sql.text(array.as_string::<i32>().value(row)),
        DataType::Binary => sql.binary(array.as_binary::<i32>().value(row)),
        DataType::Boolean => sql.boolean(array.as_boolean().value(row)),
        DataType::Float32 => sql.float(f64::from(array.as_primitive::<Float32Type>().value(row))),
        DataType::Float64 => sql.float(array.as_primitive::<Float64Type>().value(row)),
        DataType::Decimal128(..) => array.as_primitive::<Decimal128Type>().value_as_string(row),
        data_type @ DataType::Date32 => {
            let day = array.as_primitive::<Date32Type>().value_as_date(row);
            sql.moment(
                data_type,
                &iso(day.map(|d| d.format("%Y-%m-%d").to_string())),
            )
        }
        data_type @ DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let moment = array
                .as_primitive::<TimestampMicrosecondType>()
                .value_as_datetime(row);
            let text = iso(moment.map(|m| m.format("%Y-%m-%d %H:%M:%S%.6f").to_string()));
            let offset = if zone.is_some() { "+00:00" } else { "" };
            sql.moment(data_type, &format!("{text}{offset}"))
        }
        data_type @ DataType::Time64(TimeUnit::Microsecond) => {
            let time = array
                .as_primitive::<Time64MicrosecondType>()
                .value_as_time(row);
            sql.moment(
                data_type,
                &iso(time.map(|t| t.format("%H:%M:%S%.6f").to_string())),
            )
        }
        _ => array_value_to_string(array, row).expect("an integer"),
    }
}
