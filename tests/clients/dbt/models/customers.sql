select id, name, since from {{ source('shop', 'customer') }}
