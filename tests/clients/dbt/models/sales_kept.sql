{{ config(
    materialized = 'materialized_view',
    meta = {'belvedere': {'refresh': 'every 1 hour', 'key': 'id', 'owner': 'sales'}},
    indexes = [{'columns': ['name']}],
) }}
select id, name, total, orders from {{ ref('sales') }}
