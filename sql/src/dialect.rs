//! sqlparser's generic dialect, what DataFusion reads by default, with a bound on the work, and one correction.
//!
//! Where sqlparser cannot tell what it has before it, it tries one reading and then another, from the same place. Each
//! such place inside another doubles the work, so that `POSITION(POSITION(…` of one line would take years. A dialect is
//! asked before each expression, which is where an attempt can be stopped for good.

use std::any::TypeId;
use std::cell::Cell;

use sqlparser::ast::Expr;
use sqlparser::dialect::{Dialect, GenericDialect};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan};

/// As often may an expression be begun, for each token of the text. Ordinary text needs less than one.
const ATTEMPTS_PER_TOKEN: usize = 8;
/// So that a short text may be as odd as it likes.
const ATTEMPTS: usize = 20_000;

/// One per text that is read.
#[derive(Debug, Default)]
pub(crate) struct Bounded {
    left: Cell<usize>,
    has_versions: Cell<bool>,
}

impl Bounded {
    /// Sets the bound for a text.
    pub(crate) fn start(&self, tokens: &[TokenWithSpan]) {
        self.left
            .set(ATTEMPTS + tokens.len().saturating_mul(ATTEMPTS_PER_TOKEN));
        let words = tokens
            .iter()
            .filter(|token| !matches!(token.token, Token::Whitespace(_)))
            .map(|token| match &token.token {
                Token::Word(word) if word.quote_style.is_none() => word.keyword,
                _ => Keyword::NoKeyword,
            });
        let words: Vec<Keyword> = words.collect();
        let is_version = |words: &[Keyword]| {
            use Keyword::{AS, OF, TIMESTAMP, VERSION};
            matches!(words, [VERSION | TIMESTAMP, AS, OF])
        };
        self.has_versions.set(words.windows(3).any(is_version));
    }

    /// Whether the bound was reached.
    pub(crate) fn exhausted(&self) -> bool {
        self.left.get() == 0
    }
}

/// Hands each method over to the generic dialect.
macro_rules! generic {
    ($($name:ident)*) => { $(fn $name(&self) -> bool { GenericDialect.$name() })* };
}

/// The methods that sqlparser 0.62 defines for its generic dialect; all others have their defaults there too.
impl Dialect for Bounded {
    fn dialect(&self) -> TypeId {
        TypeId::of::<GenericDialect>()
    }

    /// Of all errors, only this one is not taken as a reason to try again.
    fn parse_prefix(&self, _: &mut Parser) -> Option<Result<Expr, ParserError>> {
        self.left.set(self.left.get().saturating_sub(1));
        self.exhausted()
            .then_some(Err(ParserError::RecursionLimitExceeded))
    }

    /// What stands behind `IS DISTINCT FROM` ends where an operator binds no tighter than `IS`: sqlparser takes all of it,
    /// `b OR c`, too.
    fn parse_infix(
        &self,
        parser: &mut Parser,
        left: &Expr,
        precedence: u8,
    ) -> Option<Result<Expr, ParserError>> {
        use Keyword::{DISTINCT, FROM, IS, NOT};
        let build: fn(Box<Expr>, Box<Expr>) -> Expr =
            if parser.parse_keywords(&[IS, DISTINCT, FROM]) {
                Expr::IsDistinctFrom
            } else if parser.parse_keywords(&[IS, NOT, DISTINCT, FROM]) {
                Expr::IsNotDistinctFrom
            } else {
                return None;
            };
        let right = parser.parse_subexpr(precedence);
        Some(right.map(|right| build(Box::new(left.clone()), Box::new(right))))
    }

    /// `FROM t VERSION AS OF 3`. Where none is written, words that sqlparser takes for one of its kinds (`at`, `changes`) are
    /// aliases.
    fn supports_table_versioning(&self) -> bool {
        self.has_versions.get()
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        GenericDialect.is_delimited_identifier_start(ch)
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        GenericDialect.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        GenericDialect.is_identifier_part(ch)
    }

    generic! {
        supports_unicode_string_literal supports_partition_by_after_order_by
        supports_array_join_syntax supports_group_by_expr supports_group_by_with_modifier
        supports_left_associative_joins_without_parens supports_connect_by
        supports_match_recognize supports_pipe_operator supports_start_transaction_modifier
        supports_window_function_null_treatment_arg supports_dictionary_syntax
        supports_window_clause_named_window_reference supports_parenthesized_set_variables
        supports_select_wildcard_except support_map_literal_syntax allow_extract_custom
        allow_extract_single_quotes supports_extract_comma_syntax
        supports_create_view_comment_syntax supports_parens_around_table_factor
        supports_values_as_table_factor supports_create_index_with_clause
        supports_explain_with_utility_options supports_limit_comma supports_update_order_by
        supports_from_first_select supports_projection_trailing_commas
        supports_asc_desc_in_column_definition supports_try_convert
        supports_bitwise_shift_operators supports_comment_on supports_load_extension
        supports_named_fn_args_with_assignment_operator supports_struct_literal
        supports_empty_projections supports_nested_comments supports_multiline_comment_hints
        supports_user_host_grantee supports_string_escape_constant
        supports_array_typedef_with_brackets supports_match_against supports_set_names
        supports_comma_separated_set_assignments supports_filter_during_aggregation
        supports_select_wildcard_exclude supports_data_type_signed_suffix
        supports_interval_options supports_quote_delimited_string supports_select_wildcard_replace
        supports_select_wildcard_ilike supports_select_wildcard_rename supports_optimize_table
        supports_install supports_detach supports_prewhere supports_with_fill supports_limit_by
        supports_interpolate supports_settings supports_select_format
        supports_comment_optimizer_hint supports_constraint_keyword_without_name
        supports_key_column_option supports_comma_separated_trim supports_cte_without_as
        supports_select_item_multi_column_alias supports_xml_expressions
    }
}
