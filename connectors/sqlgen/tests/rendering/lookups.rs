//! Joins that look rows up by a primary key: in which order the tables are read.

use std::sync::Arc;

use arrow::datatypes::Schema;
use belvedere_connector::{BinaryOp, JoinKind, PRIMARY_KEY, Rel};

use super::{col, filter, join, numbered, op, positional, project, scan, text};

/// With `id` as one of so many columns of the primary key.
fn keyed(name: &str, columns: usize) -> Rel {
    let Rel::Scan { table, schema } = scan(name) else {
        unreachable!("a scan")
    };
    let fields = schema.fields().iter().map(|field| {
        let mut field = field.as_ref().clone();
        if field.name() == "id" {
            let metadata = field.metadata_mut();
            metadata.insert(PRIMARY_KEY.to_string(), columns.to_string());
        }
        field
    });
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    Rel::Scan { table, schema }
}

fn only_codes(rel: Rel) -> Rel {
    let (left, right) = (rel.schema().index_of("code"), rel.schema().fields().len());
    let left = left.unwrap();
    let column = |i: usize| {
        let schema = rel.schema();
        let field = schema.field(i);
        belvedere_connector::Expr::column(i, field.data_type().clone(), field.is_nullable())
    };
    let columns = vec![column(left), column(right - 3)];
    project(rel.clone(), columns)
}

#[test]
fn what_is_looked_up_is_read_last() {
    let (a, b) = (scan("a"), keyed("b", 1));
    let both = |left: &Rel, right: &Rel| join(left.clone(), right.clone(), JoinKind::Inner, None);
    insta::assert_snapshot!(positional(only_codes(both(&a, &b))), @"SELECT t0.`code`, t1.`code` FROM `s`.`a` AS t0 STRAIGHT_JOIN `s`.`b` AS t1 ON t0.`id` = t1.`id`");
    // On whichever side it is written.
    insta::assert_snapshot!(positional(only_codes(both(&b, &a))), @"SELECT t0.`code`, t1.`code` FROM `s`.`a` AS t1 STRAIGHT_JOIN `s`.`b` AS t0 ON t1.`id` = t0.`id`");
    insta::assert_snapshot!(numbered(only_codes(both(&a, &b))), @r#"SELECT t0."code", t1."code" FROM "s"."a" AS t0 JOIN "s"."b" AS t1 ON t0."id" = t1."id""#);
    // A part of a key finds many rows.
    insta::assert_snapshot!(positional(only_codes(both(&a, &keyed("b", 2)))), @"SELECT t0.`code`, t1.`code` FROM `s`.`a` AS t0 JOIN `s`.`b` AS t1 ON t0.`id` = t1.`id`");
    // What is looked up in two tables.
    insta::assert_snapshot!(positional(only_codes(both(&both(&a, &b), &keyed("c", 1)))), @"SELECT t0.`code`, t2.`code` FROM `s`.`a` AS t0 STRAIGHT_JOIN `s`.`b` AS t1 ON t0.`id` = t1.`id` STRAIGHT_JOIN `s`.`c` AS t2 ON t0.`id` = t2.`id`");
}

#[test]
fn a_condition_may_be_a_better_beginning() {
    let (a, b) = (scan("a"), keyed("b", 1));
    let both = |left: &Rel, right: &Rel| join(left.clone(), right.clone(), JoinKind::Inner, None);
    let kept = |rel: &Rel| {
        let condition = op(BinaryOp::Eq, col(rel, "code"), text("x"));
        filter(rel.clone(), vec![condition])
    };
    insta::assert_snapshot!(positional(only_codes(both(&a, &kept(&b)))), @r#"SELECT t0.`code`, t1.`code` FROM `s`.`a` AS t0 JOIN `s`.`b` AS t1 ON t0.`id` = t1.`id` WHERE t1.`code` = ? -- Text("x")"#);
    insta::assert_snapshot!(positional(only_codes(kept(&both(&a, &b)))), @r#"SELECT t0.`code`, t1.`code` FROM `s`.`a` AS t0 JOIN `s`.`b` AS t1 ON t0.`id` = t1.`id` WHERE t0.`code` = ? -- Text("x")"#);
    insta::assert_snapshot!(positional(only_codes(both(&both(&a, &b), &scan("c")))), @"SELECT t0.`code`, t2.`code` FROM `s`.`a` AS t0 JOIN `s`.`b` AS t1 ON t0.`id` = t1.`id` JOIN `s`.`c` AS t2 ON t0.`id` = t2.`id`");
    let exists = join(both(&a, &b), scan("c"), JoinKind::LeftSemi, None);
    insta::assert_snapshot!(positional(only_codes(exists)), @"SELECT t0.`code`, t1.`code` FROM `s`.`a` AS t0 JOIN `s`.`b` AS t1 ON t0.`id` = t1.`id` WHERE EXISTS (SELECT 1 FROM `s`.`c` AS t2 WHERE t0.`id` = t2.`id`)");
    // Of what is not looked up it leaves fewer to begin with.
    insta::assert_snapshot!(positional(only_codes(both(&kept(&a), &b))), @r#"SELECT t0.`code`, t1.`code` FROM `s`.`a` AS t0 STRAIGHT_JOIN `s`.`b` AS t1 ON t0.`id` = t1.`id` WHERE t0.`code` = ? -- Text("x")"#);
}
