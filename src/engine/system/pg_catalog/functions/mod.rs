//! The functions of PostgreSQL by which clients ask what there is. They know what a [`Context`] holds, which is of one
//! statement: so they are registered for the statements that name one, and not for all.
//!
//! | file | owns |
//! |---|---|
//! | `session.rs` | who asks, where, and under which settings |
//! | `describe.rs` | definitions, comments and types, written |
//! | `lookup.rs` | names → numbers and back, visibility, sizes |
//! | `rights.rs` | what somebody may do with something |
//! | `arrays.rs` | arrays and quoting |

mod arrays;
mod describe;
mod lookup;
mod rights;
mod session;

use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, Weak};

use datafusion::arrow::array::{ArrayRef, new_empty_array};
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};

use super::catalog::Catalog;
use super::server::OWNER_NAME;
use crate::engine::names::Names;
use crate::engine::settings::Settings;
use crate::engine::world::World;
use crate::federation::Asker;

/// What the functions of one statement know. Nothing of it keeps the engine.
#[derive(Debug)]
pub(super) struct Context {
    pub catalog: Arc<Catalog>,
    /// As who asks sees it.
    pub world: Arc<World>,
    pub settings: Arc<Settings>,
    pub asker: Asker,
    /// Who asks.
    pub user: Arc<str>,
    /// The session's settings, for `set_config`.
    pub session: Option<Weak<Mutex<Arc<Settings>>>>,
}

impl Context {
    pub fn new(names: &Names) -> Self {
        Self {
            catalog: names.world.pg_catalog().clone(),
            world: names.world.clone(),
            settings: names.settings.clone(),
            asker: names.caller.asker,
            user: match names.caller.identity.name() {
                Some(name) => name.clone(),
                None => OWNER_NAME.into(),
            },
            session: names.caller.session.clone(),
        }
    }
}

type Call = fn(&Context, &[ScalarValue]) -> Result<ScalarValue>;

/// A function: its name, what it answers, and how.
struct Known {
    name: &'static str,
    returns: Returns,
    call: Call,
}

#[derive(Debug, Clone, Copy)]
enum Returns {
    Text,
    Boolean,
    Integer,
    Long,
    Instant,
    Texts,
    Integers,
    /// `_pg_expandarray`: each item with its place.
    Numbered,
}

impl Returns {
    fn data_type(self) -> DataType {
        match self {
            Self::Text => DataType::Utf8,
            Self::Boolean => DataType::Boolean,
            Self::Integer => DataType::Int32,
            Self::Long => DataType::Int64,
            Self::Instant => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Texts => DataType::new_list(DataType::Utf8, true),
            Self::Integers => DataType::new_list(DataType::Int32, true),
            Self::Numbered => DataType::new_list(DataType::Struct(arrays::numbered_fields()), true),
        }
    }
}

const fn known(name: &'static str, returns: Returns, call: Call) -> Known {
    Known {
        name,
        returns,
        call,
    }
}

static FILES: &[&[Known]] = &[
    arrays::FUNCTIONS,
    describe::FUNCTIONS,
    lookup::FUNCTIONS,
    rights::FUNCTIONS,
    session::FUNCTIONS,
];

fn all() -> impl Iterator<Item = &'static Known> {
    FILES.iter().flat_map(|file| file.iter())
}

pub(super) fn names() -> impl Iterator<Item = &'static str> {
    all().map(|known| known.name)
}

pub(super) fn is_known(name: &str) -> bool {
    names().any(|known| known == name)
}

/// All of them, for a statement.
pub(super) fn of_statement(names: &Names) -> impl Iterator<Item = Arc<ScalarUDF>> {
    let context = Arc::new(Context::new(names));
    all().map(move |known| {
        let volatility = match known.name {
            "set_config" => Volatility::Volatile,
            _ => Volatility::Stable,
        };
        let any = vec![TypeSignature::VariadicAny, TypeSignature::Nullary];
        Arc::new(ScalarUDF::from(Function {
            known,
            context: context.clone(),
            signature: Signature::one_of(any, volatility),
        }))
    })
}

/// What `pg_backend_pid` is of a session.
pub(super) fn process_of(asker: Asker) -> i32 {
    i32::try_from(asker & 0x7fff_ffff).unwrap_or(i32::MAX)
}

/// A function with what it knows.
struct Function {
    known: &'static Known,
    context: Arc<Context>,
    signature: Signature,
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.known.name)
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.known.name == other.known.name && Arc::ptr_eq(&self.context, &other.context)
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.known.name.hash(state);
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.known.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.known.returns.data_type())
    }

    /// A row at a time: there are as many as a catalog has.
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = args
            .args
            .iter()
            .all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let row = |row: usize| -> Result<ScalarValue> {
            let values = args.args.iter().map(|arg| match arg {
                ColumnarValue::Scalar(value) => Ok(value.clone()),
                ColumnarValue::Array(array) => ScalarValue::try_from_array(array, row),
            });
            let value = (self.known.call)(&self.context, &values.collect::<Result<Vec<_>>>()?)?;
            match value {
                ScalarValue::Null => ScalarValue::try_from(&self.known.returns.data_type()),
                value => Ok(value),
            }
        };
        if constant {
            return Ok(ColumnarValue::Scalar(row(0)?));
        }
        let array: ArrayRef = match args.number_rows {
            0 => new_empty_array(&self.known.returns.data_type()),
            count => {
                let values = (0..count).map(row).collect::<Result<Vec<_>>>()?;
                ScalarValue::iter_to_array(values)?
            }
        };
        Ok(ColumnarValue::Array(array))
    }
}

/// An argument as text.
fn text(args: &[ScalarValue], at: usize) -> Option<String> {
    match args.get(at)? {
        ScalarValue::Utf8(text) | ScalarValue::LargeUtf8(text) | ScalarValue::Utf8View(text) => {
            text.clone()
        }
        value if value.is_null() => None,
        value => match value.cast_to(&DataType::Utf8).ok()? {
            ScalarValue::Utf8(text) => text,
            _ => None,
        },
    }
}

/// An argument as a number.
fn number(args: &[ScalarValue], at: usize) -> Option<i64> {
    match args.get(at)? {
        ScalarValue::Int64(number) => *number,
        value if value.is_null() => None,
        value => match value.cast_to(&DataType::Int64).ok()? {
            ScalarValue::Int64(number) => number,
            _ => None,
        },
    }
}

fn texted(text: impl Into<String>) -> Result<ScalarValue> {
    Ok(ScalarValue::Utf8(Some(text.into())))
}

fn maybe_text(text: Option<String>) -> Result<ScalarValue> {
    Ok(ScalarValue::Utf8(text))
}

fn truth(truth: bool) -> Result<ScalarValue> {
    Ok(ScalarValue::Boolean(Some(truth)))
}

fn integer(number: i32) -> Result<ScalarValue> {
    Ok(ScalarValue::Int32(Some(number)))
}

fn long(number: impl Into<Option<i64>>) -> Result<ScalarValue> {
    Ok(ScalarValue::Int64(number.into()))
}

fn nothing(_: &Context, _: &[ScalarValue]) -> Result<ScalarValue> {
    Ok(ScalarValue::Null)
}

fn always(_: &Context, _: &[ScalarValue]) -> Result<ScalarValue> {
    truth(true)
}

fn never(_: &Context, _: &[ScalarValue]) -> Result<ScalarValue> {
    truth(false)
}

fn failed(error: crate::error::Error) -> DataFusionError {
    error.into()
}
