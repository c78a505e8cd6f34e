-- tables
SELECT c.relname, NULL::pg_catalog.text FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'S', 'v', 'm', 'f', 'p') AND (c.relname) LIKE 'av%' AND pg_catalog.pg_table_is_visible(c.oid)
UNION ALL
SELECT NULL::pg_catalog.text, n.nspname FROM pg_catalog.pg_namespace n WHERE n.nspname LIKE 'av%' AND n.nspname NOT LIKE E'pg\\_%'
LIMIT 1000

-- tables, as before 15
SELECT pg_catalog.quote_ident(c.relname) FROM pg_catalog.pg_class c WHERE c.relkind IN ('r','v') AND substring(pg_catalog.quote_ident(c.relname),1,2)='pr' AND pg_catalog.pg_table_is_visible(c.oid) AND c.relnamespace <> (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = 'pg_catalog')
UNION
SELECT pg_catalog.quote_ident(n.nspname) || '.' FROM pg_catalog.pg_namespace n WHERE substring(pg_catalog.quote_ident(n.nspname) || '.',1,2)='er' AND (SELECT pg_catalog.count(*) FROM pg_catalog.pg_namespace WHERE substring(pg_catalog.quote_ident(nspname) || '.',1,2) = substring('er',1,pg_catalog.length(pg_catalog.quote_ident(nspname))+1)) > 1
LIMIT 1000

-- tables of a schema
SELECT c.relname, n.nspname FROM pg_catalog.pg_class c, pg_catalog.pg_namespace n WHERE n.oid = c.relnamespace AND c.relkind IN ('r', 'v', 'm', 'f', 'p') AND (c.relname) LIKE 's%' AND n.nspname = 'erp'
UNION ALL
SELECT NULL::pg_catalog.text, n.nspname FROM pg_catalog.pg_namespace n WHERE n.nspname LIKE 'zz%'
LIMIT 1000

-- columns
SELECT attname FROM pg_catalog.pg_attribute a, pg_catalog.pg_class c WHERE c.oid = a.attrelid AND a.attnum > 0 AND NOT a.attisdropped AND (attname) LIKE 's%' AND (c.relname) = 'stock' AND pg_catalog.pg_table_is_visible(c.oid)
LIMIT 1000

-- columns of a table of a schema
SELECT attname FROM pg_catalog.pg_attribute a, pg_catalog.pg_class c, pg_catalog.pg_namespace n WHERE c.oid = a.attrelid AND n.oid = c.relnamespace AND a.attnum > 0 AND NOT a.attisdropped AND (attname) LIKE 's%' AND (c.relname) = 'stock' AND n.nspname = 'erp'
LIMIT 1000

-- settings
SELECT pg_catalog.lower(name) FROM pg_catalog.pg_settings WHERE context IN ('user', 'superuser') AND pg_catalog.lower(name) LIKE pg_catalog.lower('sea%') LIMIT 1000

-- schemas
SELECT n.nspname FROM pg_catalog.pg_namespace n WHERE n.nspname LIKE 's%' LIMIT 1000

-- databases
SELECT d.datname FROM pg_catalog.pg_database d WHERE d.datname LIKE '%' LIMIT 1000

