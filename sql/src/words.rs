//! What PostgreSQL says of a query and sqlparser does not read, or not all of: put right before it is read.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Select, SelectFlavor, SelectItem, VisitMut, VisitorMut, WildcardAdditionalOptions,
};
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan, Word};

/// `WITH x AS [NOT] MATERIALIZED (…)` without its hint, which changes no answer; and `FROM t` for `TABLE t`, behind which sqlparser
/// passes over what follows.
pub(crate) fn in_known_words(tokens: &mut Vec<TokenWithSpan>) {
    let has_any = tokens.iter().any(|token| {
        matches!(
            keyword_of(&token.token),
            Keyword::TABLE | Keyword::MATERIALIZED
        )
    });
    if !has_any {
        return;
    }
    let is_blank = |token: &Token| matches!(token, Token::Whitespace(_));
    let written = (0..tokens.len()).filter(|at| !is_blank(&tokens[*at].token));
    let written: Vec<usize> = written.collect();
    let text = Text {
        tokens: &tokens[..],
        written: &written,
    };
    let mut statement = Statement::default();
    let (mut hints, mut tables) = (Vec::new(), Vec::new());
    for n in 0..written.len() {
        match text.keyword(n) {
            Keyword::TABLE if text.begins_query(n, &statement) => tables.push(written[n]),
            Keyword::MATERIALIZED => {
                let before = text.hint(n);
                hints.extend((before..n + 1).map(|n| written[n]));
            }
            _ => {}
        }
        statement.goes_on(&text, n);
    }
    for at in tables {
        tokens[at].token = Token::make_keyword("FROM");
    }
    for at in hints.into_iter().rev() {
        tokens.remove(at);
    }
}

fn keyword_of(token: &Token) -> Keyword {
    match token {
        Token::Word(Word {
            keyword,
            quote_style: None,
            ..
        }) => *keyword,
        _ => Keyword::NoKeyword,
    }
}

struct Text<'a> {
    tokens: &'a [TokenWithSpan],
    /// Where those are that are not blank.
    written: &'a [usize],
}

/// Of the statement, as far as it has been looked at.
#[derive(Default)]
struct Statement {
    creates: bool,
    /// The query of what it creates has begun.
    has_query: bool,
    is_inside: bool,
    /// It names queries, behind the last of which its own one stands.
    has_with: bool,
    depth: usize,
}

impl Statement {
    fn goes_on(&mut self, text: &Text<'_>, n: usize) {
        let is_first = !std::mem::replace(&mut self.is_inside, true);
        let keyword = text.keyword(n);
        self.has_with |= keyword == Keyword::WITH;
        match text.token(n) {
            Some(Token::SemiColon) => *self = Self::default(),
            Some(Token::LParen) => self.depth += 1,
            Some(Token::RParen) => self.depth = self.depth.saturating_sub(1),
            _ if is_first => self.creates = keyword == Keyword::CREATE,
            _ if self.depth == 0 => {
                let begins = matches!(keyword, Keyword::SELECT | Keyword::VALUES | Keyword::FROM);
                self.has_query |= begins || keyword == Keyword::TABLE;
            }
            _ => {}
        }
    }
}

impl Text<'_> {
    fn token(&self, n: usize) -> Option<&Token> {
        Some(&self.tokens[*self.written.get(n)?].token)
    }

    fn keyword(&self, n: usize) -> Keyword {
        self.token(n).map_or(Keyword::NoKeyword, keyword_of)
    }

    fn keyword_before(&self, n: usize, by: usize) -> Keyword {
        n.checked_sub(by)
            .map_or(Keyword::NoKeyword, |n| self.keyword(n))
    }

    /// Whether the rows of a table stand here.
    fn begins_query(&self, n: usize, statement: &Statement) -> bool {
        use Keyword as K;
        let before = |by| self.keyword_before(n, by);
        let is_set = |keyword| matches!(keyword, K::UNION | K::INTERSECT | K::EXCEPT);
        let is_name = matches!(self.token(n + 1), Some(Token::Word(_)))
            && !matches!(
                self.keyword(n + 1),
                K::AS | K::AND | K::OR | K::NOT | K::IS | K::IN | K::BETWEEN | K::LIKE | K::FROM
            );
        let is_place = match n.checked_sub(1).and_then(|before| self.token(before)) {
            None | Some(Token::SemiColon | Token::LParen) => true,
            Some(Token::RParen) => statement.has_with,
            Some(_) => match before(1) {
                K::ALL | K::DISTINCT => is_set(before(2)),
                K::FOR => matches!(before(2), K::CURSOR | K::HOLD),
                K::EXPLAIN => true,
                K::ANALYZE => before(2) == K::EXPLAIN,
                K::VERBOSE => matches!(before(2), K::EXPLAIN | K::ANALYZE),
                K::AS => statement.creates && !statement.has_query && statement.depth == 0,
                keyword => is_set(keyword),
            },
        };
        is_name && is_place
    }

    /// Where the hint begins that `MATERIALIZED` ends; behind it, if it is none.
    fn hint(&self, n: usize) -> usize {
        let is_before_query = matches!(self.token(n + 1), Some(Token::LParen));
        match (self.keyword_before(n, 1), self.keyword_before(n, 2)) {
            (Keyword::AS, _) if is_before_query => n,
            (Keyword::NOT, Keyword::AS) if is_before_query => n - 1,
            _ => n + 1,
        }
    }
}

/// `FROM t` has all columns, which sqlparser leaves out.
pub(crate) fn with_columns(node: &mut impl VisitMut) {
    struct Selects;
    impl VisitorMut for Selects {
        type Break = ();
        fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
            if select.flavor == SelectFlavor::FromFirstNoSelect {
                select.flavor = SelectFlavor::Standard;
                let all = WildcardAdditionalOptions::default();
                select.projection = vec![SelectItem::Wildcard(all)];
            }
            ControlFlow::Continue(())
        }
    }
    // Nothing breaks off.
    let _ = node.visit(&mut Selects);
}

#[cfg(test)]
mod tests {
    use crate::parse_one;

    #[test]
    fn a_table_is_its_rows() {
        for (sql, read) in [
            ("TABLE t", "SELECT * FROM t"),
            (
                "TABLE a.b.t ORDER BY x LIMIT 1",
                "SELECT * FROM a.b.t ORDER BY x LIMIT 1",
            ),
            (
                "TABLE \"T\" UNION ALL TABLE u",
                "SELECT * FROM \"T\" UNION ALL SELECT * FROM u",
            ),
            (
                "WITH x AS (TABLE t) TABLE x",
                "WITH x AS (SELECT * FROM t) SELECT * FROM x",
            ),
            (
                "SELECT count(*) FROM (TABLE t) AS x",
                "SELECT count(*) FROM (SELECT * FROM t) AS x",
            ),
            (
                // A view keeps its text.
                "CREATE VIEW v AS TABLE t",
                "CREATE VIEW v AS TABLE t",
            ),
            ("EXPLAIN TABLE t", "EXPLAIN SELECT * FROM t"),
            ("FROM t", "SELECT * FROM t"),
        ] {
            let parsed = parse_one(sql).unwrap();
            assert_eq!(parsed.statement.to_string(), read);
            assert_eq!(parsed.text, sql);
        }
        for sql in [
            "DROP TABLE t",
            "SELECT x AS table FROM t",
            "CREATE VIEW v AS SELECT x AS table FROM t",
        ] {
            assert_eq!(parse_one(sql).unwrap().statement.to_string(), sql);
        }
    }

    #[test]
    fn how_a_query_is_kept_is_no_part_of_it() {
        for sql in [
            "WITH x AS MATERIALIZED (SELECT 1) SELECT * FROM x",
            "WITH x AS NOT MATERIALIZED (SELECT 1) SELECT * FROM x",
        ] {
            let parsed = parse_one(sql).unwrap();
            assert_eq!(
                parsed.statement.to_string(),
                "WITH x AS (SELECT 1) SELECT * FROM x"
            );
            assert_eq!(parsed.text, sql);
        }
        let sql = "CREATE MATERIALIZED VIEW v AS SELECT 1 AS a";
        assert_eq!(parse_one(sql).unwrap().statement.to_string(), sql);
    }
}
