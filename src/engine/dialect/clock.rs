//! `now()`, in microseconds as PostgreSQL has it: DataFusion's is in nanoseconds, in which `9999-12-31` beside it is none.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

pub(super) fn functions() -> Vec<ScalarUDF> {
    vec![ScalarUDF::from(Now::new(None))]
}

/// When the statement runs, as a time of the session's zone.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Now {
    zone: Option<Arc<str>>,
    signature: Signature,
    aliases: Vec<String>,
}

impl Now {
    fn new(zone: Option<Arc<str>>) -> Self {
        Self {
            zone,
            signature: Signature::nullary(Volatility::Stable),
            aliases: vec!["current_timestamp".to_string()],
        }
    }
}

impl ScalarUDFImpl for Now {
    fn name(&self) -> &str {
        "now"
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn with_updated_config(&self, config: &ConfigOptions) -> Option<ScalarUDF> {
        let zone = config.execution.time_zone.as_deref().map(Arc::from);
        Some(ScalarUDF::from(Self::new(zone)))
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        let zone = self.zone.clone();
        Ok(DataType::Timestamp(TimeUnit::Microsecond, zone))
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs) -> Result<FieldRef> {
        let field = Field::new(self.name(), self.return_type(&[])?, false);
        Ok(Arc::new(field))
    }

    /// One moment for all of a statement. Where a view that is kept by change is compiled it is none, and the function stays.
    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        Ok(match info.query_execution_start_time() {
            Some(now) => {
                let micros = Some(now.timestamp_micros());
                let now = ScalarValue::TimestampMicrosecond(micros, self.zone.clone());
                ExprSimplifyResult::Simplified(Expr::Literal(now, None))
            }
            None => ExprSimplifyResult::Original(args),
        })
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        internal_err!("now() is known before a statement runs")
    }
}
