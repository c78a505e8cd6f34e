-- version
SELECT version(), pg_catalog.version()

-- session
SELECT current_database(), current_catalog, current_schema(), current_schema, current_schemas(true), current_user, session_user, user

-- regclass
SELECT 'erp.stock'::regclass, 'erp.stock'::regclass::text, 'pg_class'::regclass::oid, 'prices'::regclass, to_regclass('nothing') IS NULL

-- regclass of nothing
SELECT 'nothing.there'::regclass

-- in a condition
SELECT relname FROM pg_class WHERE oid = 'erp.stock'::regclass

-- regtype
SELECT 'integer'::regtype::oid, 'timestamp with time zone'::regtype::oid, 1700::regtype, 'int4[]'::regtype::oid, 'text'::regtype

-- regnamespace
SELECT 'erp'::regnamespace::oid = oid, oid::regnamespace::text FROM pg_namespace WHERE nspname = 'erp'

-- types of columns
SELECT oid = 25, oid = '25', oid IN (25, 26), oid::text, oid::int4, typname::text, typname::"char" FROM pg_type WHERE typname = 'text'

-- names of types
SELECT format_type(1700, 655366), format_type(1043, 24), format_type(1042, NULL), format_type(1184, -1), format_type(1115, NULL), format_type(0, NULL), format_type(99999, 1), format_type(18, NULL)

-- quoting
SELECT quote_ident('plain'), quote_ident('Mixed Case'), quote_ident('select'), quote_literal('it''s'), quote_nullable(NULL)

-- settings
SELECT current_setting('search_path'), current_setting('server_version_num'), current_setting('none', true) IS NULL

-- an unknown setting
SELECT current_setting('no_such_setting')

-- sizes
SELECT pg_size_pretty(512), pg_size_pretty(20480), pg_size_pretty(123456789), pg_relation_size('erp.stock'::regclass)

-- rights
SELECT has_schema_privilege('erp', 'USAGE'), has_table_privilege('erp.stock', 'SELECT'), has_table_privilege('erp.stock', 'INSERT'), pg_has_role('belvedere', 'USAGE')

-- arrays
SELECT 'r' = ANY ('{r,v}'), 2 = ANY (ARRAY[1,2]), 'a' <> ALL ('{b,c}'::text[]), array_upper(ARRAY[1,2,3], 1), ARRAY(SELECT nspname FROM pg_namespace WHERE nspname LIKE 'p%' ORDER BY 1)

-- operators
SELECT 'abc' OPERATOR(pg_catalog.~) '^a' COLLATE pg_catalog.default, 'abc' !~~ 'b%', 'ABC' ~* 'abc'

-- rows of a list
SELECT * FROM unnest(current_schemas(true))

-- columns called alike
SELECT NULL, NULL, count(*), 1 + 1, 'a'::text FROM pg_am

-- definitions
SELECT pg_get_viewdef('prices'::regclass), pg_get_viewdef('prices'), obj_description('erp.stock'::regclass, 'pg_class'), col_description('erp.stock'::regclass, 3)

-- the default schema is the source
SELECT * FROM erp.stock s JOIN belvedere.erp.item i ON i.sku = s.sku WHERE s.site = 'B' ORDER BY 1

-- another schema of a source, in one name
SELECT count(*) AS n FROM "erp.main".item

-- with the database
SELECT count(*) AS n FROM belvedere."erp.main".item

-- ordinary queries keep their names
SELECT count(*), max(qty) FROM erp.stock

-- set_config
SELECT set_config('search_path', 'erp, public', false)

-- what it sets
SELECT current_setting('search_path'), 'stock'::regclass, pg_table_is_visible('erp.stock'::regclass), sku FROM item ORDER BY sku

-- names in texts
SELECT 'shop."Mixed Case"'::regclass::text, 'SHOP."mixed case"'::regclass::text, '"erp.main".stock'::regclass::text, 'erp.main.stock'::regclass::text, 'belvedere.erp.stock'::regclass::text

-- a list that begins at 0
SELECT indkey[0], indkey[1], i.indkey[0] FROM pg_index i WHERE indrelid = 'erp.stock'::regclass

-- what depends on a parameter of nothing
SELECT (SELECT adbin FROM pg_attrdef WHERE adrelid = c.oid) FROM pg_class c WHERE oid = 'erp.stock'::regclass

