use std::collections::BTreeMap;
use std::sync::OnceLock;

use arrow_flight::sql::metadata::{SqlInfoData, SqlInfoDataBuilder};
use arrow_flight::sql::{
    SqlInfo as Info, SqlNullOrdering, SqlOuterJoinsSupportLevel, SqlSupportedCaseSensitivity,
    SqlSupportedGroupBy, SqlSupportedResultSetConcurrency, SqlSupportedResultSetType,
    SqlSupportedSubqueries, SqlSupportedTransaction, SqlSupportedUnions, SqlSupportsConvert,
    SqlTransactionIsolationLevel, SupportedSqlGrammar,
};
use tonic::Status;

/// What this server says of itself.
pub(in crate::serve::flight) fn all() -> Result<&'static SqlInfoData, Status> {
    static ALL: OnceLock<SqlInfoData> = OnceLock::new();
    if let Some(all) = ALL.get() {
        return Ok(all);
    }
    let built = build()?;
    Ok(ALL.get_or_init(|| built))
}

/// Of the protocol's `SupportedAnsi92SqlGrammarLevel`, which `arrow-flight` does not export.
const ANSI92_ENTRY_SQL: i32 = 0;
/// Unknown, or without a limit.
const NO_LIMIT: i64 = 0;

fn build() -> Result<SqlInfoData, Status> {
    let mut info = SqlInfoDataBuilder::new();
    server(&mut info);
    names(&mut info);
    grammar(&mut info);
    limits(&mut info);
    transactions(&mut info);
    Ok(info.build()?)
}

fn server(info: &mut SqlInfoDataBuilder) {
    info.append(Info::FlightSqlServerName, "Belvedere");
    info.append(Info::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
    info.append(
        Info::FlightSqlServerArrowVersion,
        datafusion::arrow::ARROW_VERSION,
    );
    // Views are defined, and sources that allow it are written to.
    info.append(Info::FlightSqlServerReadOnly, false);
    info.append(Info::FlightSqlServerSql, true);
    info.append(Info::FlightSqlServerSubstrait, false);
    info.append(
        Info::FlightSqlServerTransaction,
        SqlSupportedTransaction::None as i32,
    );
    info.append(Info::FlightSqlServerCancel, true);
    info.append(Info::FlightSqlServerBulkIngestion, false);
    info.append(Info::FlightSqlServerIngestTransactionsSupported, false);
    // None unless the setting statement_timeout says so.
    info.append(Info::FlightSqlServerStatementTimeout, 0);
    info.append(Info::FlightSqlServerTransactionTimeout, 0);
}

fn names(info: &mut SqlInfoDataBuilder) {
    info.append(Info::SqlDdlCatalog, false);
    info.append(Info::SqlDdlSchema, true);
    info.append(Info::SqlDdlTable, false);
    info.append(
        Info::SqlIdentifierCase,
        SqlSupportedCaseSensitivity::SqlCaseSensitivityLowercase as i32,
    );
    info.append(Info::SqlIdentifierQuoteChar, "\"");
    // Quoted names are kept as they are, for which the protocol has no word.
    info.append(
        Info::SqlQuotedIdentifierCase,
        SqlSupportedCaseSensitivity::SqlCaseSensitivityUnknown as i32,
    );
    info.append(Info::SqlAllTablesAreSelectable, true);
    info.append(
        Info::SqlNullOrdering,
        SqlNullOrdering::SqlNullsSortedHigh as i32,
    );
    info.append(
        Info::SqlKeywords,
        words("COMMENT DESCRIBE EXPLAIN OWNS REFRESH SHOW SOURCE"),
    );
    info.append(Info::SqlNumericFunctions, words(
        "abs acos acosh asin asinh atan atan2 atanh cbrt ceil cos cosh cot degrees exp factorial floor gcd lcm ln log \
         log10 log2 mod nanvl pi power radians random round signum sin sinh sqrt tan tanh trunc",
    ));
    info.append(Info::SqlStringFunctions, words(
        "ascii bit_length btrim character_length chr concat concat_ws contains ends_with find_in_set initcap left \
         length levenshtein lower lpad ltrim octet_length overlay position regexp_count regexp_like regexp_match \
         regexp_replace repeat replace reverse right rpad rtrim split_part starts_with strpos substr substr_index \
         to_hex translate trim upper uuid",
    ));
    info.append(
        Info::SqlSystemFunctions,
        words("arrow_cast arrow_typeof coalesce greatest ifnull least nullif nvl version"),
    );
    info.append(Info::SqlDatetimeFunctions, words(
        "current_date current_time current_timestamp date_bin date_part date_trunc extract from_unixtime make_date now \
         to_char to_date to_timestamp to_unixtime",
    ));
    info.append(Info::SqlSearchStringEscape, "\\");
    info.append(Info::SqlExtraNameCharacters, "");
    info.append(Info::SqlSchemaTerm, "schema");
    info.append(Info::SqlProcedureTerm, "");
    info.append(Info::SqlCatalogTerm, "source");
    info.append(Info::SqlCatalogAtStart, true);
    // Names of schemas and catalogs stand in queries alone: there are no procedures, indexes or privileges.
    info.append(Info::SqlSchemasSupportedActions, 0);
    info.append(Info::SqlCatalogsSupportedActions, 0);
}

fn grammar(info: &mut SqlInfoDataBuilder) {
    for what in [
        Info::SqlSupportsColumnAliasing,
        Info::SqlNullPlusNullIsNull,
        Info::SqlSupportsTableCorrelationNames,
        Info::SqlSupportsExpressionsInOrderBy,
        Info::SqlSupportsOrderByUnrelated,
        Info::SqlSupportsLikeEscapeClause,
        Info::SqlSupportsNonNullableColumns,
        Info::SqlCorrelatedSubqueriesSupported,
    ] {
        info.append(what, true);
    }
    for what in [
        Info::SqlSupportsDifferentTableCorrelationNames,
        Info::SqlSupportsIntegrityEnhancementFacility,
        Info::SqlSelectForUpdateSupported,
        Info::SqlStoredProceduresSupported,
        Info::SqlBatchUpdatesSupported,
        Info::SqlNamedParametersSupported,
        Info::SqlLocatorsUpdateCopy,
        Info::SqlStoredFunctionsUsingCallSyntaxSupported,
    ] {
        info.append(what, false);
    }
    info.append(Info::SqlSupportsConvert, conversions());
    info.append(
        Info::SqlSupportedGroupBy,
        bits(&[
            SqlSupportedGroupBy::SqlGroupByUnrelated as i32,
            SqlSupportedGroupBy::SqlGroupByBeyondSelect as i32,
        ]),
    );
    info.append(
        Info::SqlSupportedGrammar,
        bits(&[
            SupportedSqlGrammar::SqlMinimumGrammar as i32,
            SupportedSqlGrammar::SqlCoreGrammar as i32,
        ]),
    );
    info.append(Info::SqlAnsi92SupportedLevel, bits(&[ANSI92_ENTRY_SQL]));
    info.append(
        Info::SqlOuterJoinsSupportLevel,
        bits(&[
            SqlOuterJoinsSupportLevel::SqlLimitedOuterJoins as i32,
            SqlOuterJoinsSupportLevel::SqlFullOuterJoins as i32,
        ]),
    );
    info.append(Info::SqlSupportedPositionedCommands, 0);
    info.append(
        Info::SqlSupportedSubqueries,
        bits(&[
            SqlSupportedSubqueries::SqlSubqueriesInComparisons as i32,
            SqlSupportedSubqueries::SqlSubqueriesInExists as i32,
            SqlSupportedSubqueries::SqlSubqueriesInIns as i32,
        ]),
    );
    info.append(
        Info::SqlSupportedUnions,
        bits(&[
            SqlSupportedUnions::SqlUnion as i32,
            SqlSupportedUnions::SqlUnionAll as i32,
        ]),
    );
}

fn limits(info: &mut SqlInfoDataBuilder) {
    for what in [
        Info::SqlMaxBinaryLiteralLength,
        Info::SqlMaxCharLiteralLength,
        Info::SqlMaxColumnNameLength,
        Info::SqlMaxColumnsInGroupBy,
        Info::SqlMaxColumnsInIndex,
        Info::SqlMaxColumnsInOrderBy,
        Info::SqlMaxColumnsInSelect,
        Info::SqlMaxColumnsInTable,
        Info::SqlMaxConnections,
        Info::SqlMaxCursorNameLength,
        Info::SqlMaxIndexLength,
        Info::SqlDbSchemaNameLength,
        Info::SqlMaxProcedureNameLength,
        Info::SqlMaxCatalogNameLength,
        Info::SqlMaxRowSize,
        Info::SqlMaxStatements,
        Info::SqlMaxTableNameLength,
        Info::SqlMaxTablesInSelect,
        Info::SqlMaxUsernameLength,
    ] {
        info.append(what, NO_LIMIT);
    }
    let longest = i64::try_from(belvedere_sql::MAX_TEXT_BYTES).unwrap_or(NO_LIMIT);
    info.append(Info::SqlMaxStatementLength, longest);
    info.append(Info::SqlMaxRowSizeIncludesBlobs, true);
}

fn transactions(info: &mut SqlInfoDataBuilder) {
    let none = SqlTransactionIsolationLevel::SqlTransactionNone as i32;
    info.append(Info::SqlDefaultTransactionIsolation, none);
    info.append(Info::SqlTransactionsSupported, false);
    info.append(Info::SqlSupportedTransactionsIsolationLevels, bits(&[none]));
    info.append(Info::SqlDataDefinitionCausesTransactionCommit, false);
    info.append(Info::SqlDataDefinitionsInTransactionsIgnored, false);
    info.append(Info::SqlSavepointsSupported, false);
    let forward = SqlSupportedResultSetType::SqlResultSetTypeForwardOnly as i32;
    info.append(Info::SqlSupportedResultSetTypes, bits(&[forward]));
    info.append(Info::SqlSupportedConcurrenciesForResultSetUnspecified, 0);
    let read_only = SqlSupportedResultSetConcurrency::SqlResultSetConcurrencyReadOnly as i32;
    info.append(
        Info::SqlSupportedConcurrenciesForResultSetForwardOnly,
        bits(&[read_only]),
    );
    info.append(
        Info::SqlSupportedConcurrenciesForResultSetScrollSensitive,
        0,
    );
    info.append(
        Info::SqlSupportedConcurrenciesForResultSetScrollInsensitive,
        0,
    );
}

/// A set of an enumeration's values.
fn bits(values: &[i32]) -> i32 {
    values.iter().fold(0, |set, value| set | 1 << value)
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_string).collect()
}

/// What CAST converts to what: everything has a text, and the numbers convert among each other.
fn conversions() -> BTreeMap<i32, Vec<i32>> {
    use SqlSupportsConvert::*;
    let numbers = [
        SqlConvertBigint,
        SqlConvertBit,
        SqlConvertDecimal,
        SqlConvertFloat,
        SqlConvertInteger,
        SqlConvertNumeric,
        SqlConvertReal,
        SqlConvertSmallint,
        SqlConvertTinyint,
    ];
    let times = [SqlConvertDate, SqlConvertTimestamp];
    let texts = [SqlConvertChar, SqlConvertVarchar, SqlConvertLongvarchar];
    let numbers = || numbers.iter().map(|c| *c as i32);
    let times = || times.iter().map(|c| *c as i32);
    let texts = || texts.iter().map(|c| *c as i32);
    let mut all = BTreeMap::new();
    for from in numbers() {
        all.insert(from, numbers().chain(texts()).collect());
    }
    for from in times() {
        all.insert(from, times().chain(texts()).collect());
    }
    for from in texts() {
        let binary = [SqlConvertVarbinary as i32];
        all.insert(
            from,
            numbers()
                .chain(times())
                .chain(texts())
                .chain(binary)
                .collect(),
        );
    }
    all
}
